"""How B calls each operation with what is A's. An operation that is not in here fails the walk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.isolation.estate import AGENT, CAPABILITY, OTHER_AGENT, REPEATED, SILENCE, TASK_TYPE, A, B, Estate


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


def _registrations(*_: Any) -> Sequence[Visit]:
    body = {"agent_id": OTHER_AGENT, "capabilities": [CAPABILITY], "model": "m"}
    return [Visit(json=body), Visit(json=body)]


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
    "cancel_task": _their_tasks(),
    "retry_task": _their_tasks(),
    "complete_task": _reports(result={"mine": 1}),
    "fail_task": _reports(message="mine", retryable=False),
    "report_progress": _reports(percent=99, message="mine"),
    "register_agent": _registrations,
    "list_agents": _agent_lists,
    "get_agent": _their_agents(),
    "heartbeat": _heartbeats,
    "drain_agent": _their_agents(),
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
