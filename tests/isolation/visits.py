"""How B calls each operation with what is A's. An operation that is not in here fails the walk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.isolation.estate import (
    AGENT,
    BUDGET,
    CAPABILITY,
    COMMON_FLAG,
    FLAG,
    OTHER_AGENT,
    POLICY,
    REPEATED,
    SILENCE,
    TASK_TYPE,
    A,
    B,
    Estate,
)


@dataclass(frozen=True)
class Visit:
    """One request. `refused`: whatever the role, it must be; else B may get an answer, which must tell nothing of A."""

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    refused: bool = False


@dataclass(frozen=True)
class Own:
    """What B has itself."""

    session: str
    task_id: str


Visits = Callable[[Estate, Own], Sequence[Visit]]


def _anything(_: Estate, __: Own) -> Sequence[Visit]:
    return [Visit()]


def _their_tasks(**more: Any) -> Visits:
    return lambda estate, _: [Visit({"task_id": each}, refused=True, **more) for each in estate.task_ids.values()]


def _their_agents(**more: Any) -> Visits:
    return lambda *_: [Visit({"agent_id": AGENT}, refused=True, **more)]


def _their_token(**more: Any) -> Visits:
    return lambda estate, _: [Visit({"token_id": estate.token_id}, refused=True, **more)]


def _their_workspace(**more: Any) -> Visits:
    return lambda *_: [Visit({"workspace": A}, refused=True, **more)]


def _their_budget(**more: Any) -> Visits:
    return lambda *_: [Visit({"name": BUDGET}, refused=True, **more)]


def _reports(**body: Any) -> Visits:
    """With B's own session and with A's; with A's lease."""

    def visits(estate: Estate, own: Own) -> Iterator[Visit]:
        for session in (own.session, estate.session):
            for task_id in estate.task_ids.values():
                given = {"session": session, "attempt": 1, "lease": f"lease-{task_id}", **body}
                yield Visit({"task_id": task_id}, json=given, refused=True)

    return lambda estate, own: list(visits(estate, own))


def _submits(*_: Any) -> Sequence[Visit]:
    plain = {name: REPEATED[name] for name in ("task_type", "payload", "required_capabilities")}
    header = {"Idempotency-Key": REPEATED["idempotency_key"]}
    return [
        Visit(json={**plain, "cache_ttl": 600}),
        Visit(json={**plain, "payload": {"canary": "waits"}}, headers=header),
        Visit(json={**plain, "payload": {"canary": "another body"}}, headers={"Idempotency-Key": "canary-key"}),
        Visit(json={**plain, "agent_id": AGENT}, refused=True),
    ]


def _heartbeats(estate: Estate, own: Own) -> Sequence[Visit]:
    running = [{"task_id": task_id, "attempt": 1, "lease": f"lease-{task_id}"} for task_id in estate.task_ids.values()]
    return [
        Visit({"agent_id": AGENT}, json={"session": estate.session, "running": []}, refused=True),
        Visit({"agent_id": AGENT}, json={"session": own.session, "running": []}, refused=True),
        Visit({"agent_id": "own-1"}, json={"session": estate.session, "running": []}, refused=True),
        Visit({"agent_id": "own-1"}, json={"session": own.session, "running": running}),
        Visit(
            {"agent_id": "own-1"},
            json={"session": own.session, "running": [each | {"workspace": A} for each in running]},
            refused=True,
        ),
    ]


def _task_lists(estate: Estate, _: Own) -> Sequence[Visit]:
    queries: list[dict[str, Any]] = [
        {"limit": 200},
        {"cursor": estate.cursor},
        {"status": "RUNNING"},
        {"task_type": TASK_TYPE},
        {"agent_id": AGENT},
    ]
    return [Visit(query=query) for query in queries]


def _agent_lists(*_: Any) -> Sequence[Visit]:
    queries: list[dict[str, Any]] = [
        {"limit": 200},
        {"cursor": AGENT[:-1]},
        {"capability": CAPABILITY},
        {"status": "IDLE"},
    ]
    return [Visit(query=query) for query in queries]


def _audit(**more: Any) -> Visits:
    """B's own trail; A's entries have ids and times that B may know."""
    return lambda *_: [
        Visit(query=more),
        Visit(query={"cursor": "0-1"}),
        Visit(query={"platform": "true"}, refused=True),
    ]


def _flag(**more: Any) -> Visits:
    """A's flag by its name; and the platform's, which names A."""
    return lambda *_: [
        Visit({"name": FLAG}, **more),
        Visit({"name": COMMON_FLAG}, **more),
        Visit({"name": COMMON_FLAG}, query={"platform": "true"}, refused=True, **more),
    ]


def _registrations(*_: Any) -> Sequence[Visit]:
    body = {"agent_id": OTHER_AGENT, "capabilities": [CAPABILITY], "model": "m"}
    return [Visit(json=body), Visit(json=body)]


def _their_policy(**more: Any) -> Visits:
    """In B's own scope there is none of that name, and the platform's are not B's to see or change."""
    return lambda *_: [
        Visit({"name": POLICY}, refused=True, **more),
        Visit({"name": POLICY}, query={"platform": "true"}, refused=True, **more),
    ]


_RULES = '@id("all") permit(principal, action, resource);'
_REQUEST = {"action": "read", "principal": {"role": "viewer"}, "context": {"kind": "tasks"}}

#: By operation id.
VISITS: Mapping[str, Visits] = {
    "health": _anything,
    "livez": _anything,
    "readyz": lambda *_: [Visit(), Visit(query={"exclude": "leader"})],
    "metrics": _anything,
    "list_alerts": lambda *_: [Visit(query={"state": state, "limit": 200}) for state in ("open", "ended")],
    "list_silences": _anything,
    "set_silence": lambda *_: [Visit({"name": "mine"}, json={"subject": AGENT, "duration": 60})],
    "remove_silence": lambda *_: [Visit({"name": SILENCE}, refused=True)],
    "list_deliveries": lambda *_: [Visit(query={"state": "waiting", "limit": 200}, refused=True)],
    "test_alerts": lambda *_: [Visit(refused=True)],
    "submit_task": _submits,
    "list_tasks": _task_lists,
    "get_task": lambda estate, own: [
        *_their_tasks()(estate, own),
        *_their_tasks(query={"wait": 0.01})(estate, own),
        *_their_tasks(headers={"Prefer": "wait=1"})(estate, own),
    ],
    "explain_task": _their_tasks(),
    "cancel_task": _their_tasks(),
    "retry_task": _their_tasks(),
    "complete_task": _reports(result={"mine": 1}),
    "fail_task": _reports(message="mine", retryable=False),
    "report_progress": _reports(percent=99, message="mine"),
    "register_agent": _registrations,
    "list_queues": _anything,
    "list_agents": _agent_lists,
    "get_agent": _their_agents(),
    "heartbeat": _heartbeats,
    "drain_agent": _their_agents(),
    "get_breaker": _their_agents(),
    "force_breaker": lambda estate, own: [
        *_their_agents(json={"state": "open", "reason": "mine", "expires_in": 60})(estate, own),
        *_their_agents(json={"state": "auto"})(estate, own),
    ],
    "resume_agent": _their_agents(),
    "remove_agent": _their_agents(),
    "create_token": lambda *_: [
        Visit(json={"role": "viewer", "name": "mine"}),
        Visit(json={"role": "viewer", "name": "mine", "platform": True}, refused=True),
    ],
    "list_tokens": lambda estate, _: [
        Visit(query={"limit": 200}),
        Visit(query={"cursor": estate.token_id}),
        Visit(query={"platform": "true"}, refused=True),
    ],
    "revoke_token": _their_token(),
    "rotate_token": _their_token(json={"overlap": 0}),
    "list_audit": lambda estate, own: [
        *_audit(limit=200)(estate, own),
        Visit(query={"actor": f"agent:{AGENT}"}),
        Visit(query={"action": "task.submit"}),
        Visit(query={"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}),
    ],
    "verify_audit": _audit(),
    "export_audit": _audit(),
    "list_flags": lambda *_: [Visit(), Visit(query={"platform": "true"}, refused=True)],
    "get_flag": _flag(),
    "evaluate_flag": lambda *_: [Visit(json={"name": name}) for name in (FLAG, COMMON_FLAG)],
    "roll_back_flag": _flag(json={"version": 1}),
    "delete_flag": _flag(),
    "set_flag": _flag(json={"state": "ENABLED", "variants": {"on": True}, "defaultVariant": "on"}),
    "list_limits": _anything,
    "list_budgets": _anything,
    "get_budget": _their_budget(),
    "delete_budget": _their_budget(),
    "put_budget": lambda *_: [Visit({"name": "mine"}, json={"limit": "1.00", "period": "day"})],
    "get_usage": lambda *_: [
        Visit(query={"group_by": each, "from": "2026-01-01T00:00:00Z", "to": "2026-12-31T00:00:00Z"})
        for each in ("day", "task_type", "model", "token")
    ],
    "get_prices": lambda *_: [
        Visit(),
        Visit(query={"version": 1}),
        Visit(query={"platform": "true"}, refused=True),
    ],
    "put_prices": lambda *_: [
        Visit(json={"prices": {"mine": {"input": "1", "output": "1"}}}),
        Visit(query={"platform": "true"}, json={"prices": {}}, refused=True),
    ],
    "approve_task": _their_tasks(),
    "reject_task": _their_tasks(json={"reason": "mine"}),
    "list_approvals": lambda estate, _: [Visit(query={"limit": 200}), Visit(query={"cursor": estate.cursor})],
    "list_policies": lambda *_: [Visit(), Visit(query={"platform": "true"}, refused=True)],
    "get_policy": _their_policy(),
    "publish_policy": lambda *_: [
        Visit({"name": POLICY}, json={"source": _RULES, "tests": [{"request": _REQUEST, "expect": "allow"}]}),
        Visit(
            {"name": POLICY},
            query={"platform": "true"},
            json={"source": _RULES, "tests": [{"request": _REQUEST, "expect": "allow"}]},
            refused=True,
        ),
        Visit({"name": POLICY}, json={"source": _RULES, "tests": []}, refused=True),
    ],
    "delete_policy": lambda *_: [
        Visit({"name": POLICY}),
        Visit({"name": POLICY}, query={"platform": "true"}, refused=True),
    ],
    "test_policy": lambda *_: [
        Visit(json={"request": _REQUEST}),
        Visit(json={"request": _REQUEST, "source": _RULES}),
        Visit(json={"request": {**_REQUEST, "workspace": A}}, refused=True),
    ],
    "list_policy_versions": lambda *_: [
        Visit({"name": POLICY}),
        Visit({"name": POLICY}, query={"platform": "true"}, refused=True),
    ],
    "rollback_policy": lambda *_: [
        Visit({"name": POLICY}, json={}),
        Visit({"name": POLICY}, json={"version": 1}, query={"platform": "true"}, refused=True),
    ],
    "replay_policy": lambda *_: [
        Visit({"name": POLICY}, json={"source": _RULES, "last": 10}),
        Visit({"name": POLICY}, json={"source": _RULES}, query={"platform": "true"}, refused=True),
    ],
    "create_workspace": lambda *_: [Visit(json={"workspace": A}, refused=True)],
    "list_workspaces": lambda *_: [
        Visit(query={"limit": 200}, refused=True),
        Visit(query={"cursor": "a"}, refused=True),
    ],
    "get_workspace": _their_workspace(),
    "change_workspace": _their_workspace(json={"name": "mine"}),
    "delete_workspace": _their_workspace(),
}

__all__ = ["VISITS", "B", "Own", "Visit"]
