"""What workspace A has, so that B can try to get at it; and all of A's data in the store, to see that B did not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from aragora_cp.health.rules import Signal
from aragora_cp.model import AgentSpec, Claim, Hold, Role
from aragora_cp.tenancy.tokens import TokenIssuer
from aragora_cp.wiring import ControlPlane
from tests.api.conftest import Caller

A, B = "acme", "beta"
#: Stands in everything that A says, so that it can be looked for.
CANARY = "canary"
POLICY = "canary-policy"
AGENT, OTHER_AGENT = "canary-agent", "canary-other"
TASK_TYPE, CAPABILITY = "canary.review", "canary"
BUDGET = "canary-budget"
#: Serves both; what it does for A, B must not see.
SHARED_AGENT, COMMON = "shared-1", "common"
#: A's own flag, and one of the platform's, whose rules name A.
FLAG, COMMON_FLAG = "canary-flag", "common-flag"
SILENCE = "canary-silence"
#: What A submits as its last task, and B submits again word by word.
REPEATED: Mapping[str, Any] = {
    "task_type": TASK_TYPE,
    "payload": {"canary": "payload"},
    "required_capabilities": [CAPABILITY],
    "idempotency_key": "canary-key",
    "cache_ttl": 600,
}
#: Fields of records that change by themselves.
TIMED = frozenset({b"used_at", b"last_used", b"last_used_at"})


@dataclass(frozen=True)
class Estate:
    """Ids, secrets and cursors of A. `task_ids` by the state that each task is in."""

    task_ids: Mapping[str, str]
    session: str
    lease: str
    token_id: str
    cursor: str

    @property
    def marks(self) -> tuple[str, ...]:
        """What tells a thing of A's, wherever it stands."""
        return (A, self.token_id, *self.task_ids.values())


def settle(plane: ControlPlane, operator: Caller) -> Estate:
    """Make A's possessions: tasks in every state, private agents, tokens, keys, a cached result, events, audit."""
    spec = AgentSpec(AGENT, (CAPABILITY,), workspace=A)
    session = operator.register(AGENT, [CAPABILITY], model="canary-model", labels={"canary": "label"})["session"]
    for default in ("canary-one", "canary-two"):
        variants = {"canary-one": "canary 1", "canary-two": "canary 2"}
        answer = operator.put(f"/flags/{FLAG}", {"state": "ENABLED", "variants": variants, "defaultVariant": default})
        assert answer.status_code == 200, answer.json
    operator.register(OTHER_AGENT, [CAPABILITY], version="canary-1")

    rules = {
        "source": '@id("canary-all") permit(principal, action, resource);',
        "tests": [
            {
                "request": {"action": "read", "principal": {"role": "viewer"}, "context": {"kind": "tasks"}},
                "expect": "allow",
            }
        ],
    }
    answer = operator.call("PUT", f"/policies/{POLICY}", json=rules)
    assert answer.status_code == 200, answer.json

    def submit(**more: Any) -> str:
        body = {**REPEATED, "idempotency_key": None, "cache_ttl": None, "metadata": {"canary": "note"}, **more}
        given = {name: value for name, value in body.items() if value is not None}
        return operator.post("/tasks/submit", given, headers={"X-Correlation-ID": "canary-corr"}).json["task_id"]

    money = {"limit": "100.00", "period": "day", "default_estimate": "0.01"}
    assert operator.call("PUT", f"/budgets/{BUDGET}", json=money).status_code == 201
    prices = {"canary-model": {"input": "1.00", "output": "2.00"}}
    assert operator.call("PUT", "/prices", json={"prices": prices}).status_code == 200

    def claim(task_id: str) -> Claim:
        found = plane.scheduler.claim(Hold(A, task_id, 1, f"lease-{task_id}"), spec)
        assert isinstance(found, Claim), found
        return found

    def report(task_id: str, word: str, **body: Any) -> None:
        given = {"session": session, "attempt": 1, "lease": f"lease-{task_id}", **body}
        answer = operator.post(f"/tasks/{task_id}/{word}", given)
        assert answer.status_code == 200, answer.json

    failure = {"message": "canary failed", "code": "handler-error"}
    states = ("completed", "failed", "retrying", "running", "cancelled")
    ids = {state: submit(cache_ttl=600 if state == "completed" else None) for state in states}
    for state in states[:4]:
        claim(ids[state])
        used = {"input_tokens": 5, "model": "canary-model", "cost": "0.001"}
        report(ids[state], "progress", percent=5, message="canary progress", usage=used)
    report(ids["completed"], "complete", result={"canary": "result"})
    report(ids["failed"], "fail", retryable=False, **failure)
    report(ids["retrying"], "fail", retryable=True, **failure)
    operator.post(f"/tasks/{ids['cancelled']}/cancel")
    ids |= _served_by_all(plane, submit)
    ids["direct"] = submit(agent_id=AGENT)
    ids["delayed"] = submit(delay=3600, queue_timeout=7200)
    ids["pending"] = submit(idempotency_key=REPEATED["idempotency_key"], payload={"canary": "waits"})
    page = operator.get("/tasks?limit=2").json
    operator.call("PUT", f"/alerts/silences/{SILENCE}", json={"subject": "canary-subject", "duration": 3600})
    alert = Signal("breaker-open", AGENT, "canary alert", A)
    plane.watch().alerts.judge({"breaker-open": [alert]})
    # An id before all others: B's own tokens come after it, as a cursor.
    token = TokenIssuer(plane.tokens, new_id=lambda: "0" * 16).issue(workspace=A, role=Role.AGENT, name="canary-token")
    return Estate(ids, session, f"lease-{ids['running']}", token.record.token_id, page["next_cursor"])


def _served_by_all(plane: ControlPlane, submit: Callable[..., str]) -> dict[str, str]:
    """Two of A's tasks in the shared agent's hands: it runs one, and has completed the other."""
    agent = plane.registry.get(SHARED_AGENT, None)
    spec = AgentSpec(SHARED_AGENT, (COMMON,))
    ids = {f"shared-{state}": submit(required_capabilities=[COMMON]) for state in ("running", "completed")}
    running, completed = (Hold(A, task_id, 1, f"lease-{task_id}") for task_id in ids.values())
    for hold in (running, completed):
        assert isinstance(plane.scheduler.claim(hold, spec), Claim)
    plane.scheduler.finish(completed, b"{}", spec)
    plane.registry.heartbeat(agent.handle, agent.session, [running], completed=1)
    return ids


def belongings(client: Any, prefix: str, marks: tuple[str, ...]) -> dict[str, Mapping[bytes, Any]]:
    """Everything in the store that bears one of `marks`: whole keys by name, with their ends of life, and single
    entries of what workspaces share."""

    def marked(text: bytes) -> bool:
        return any(mark.encode() in text for mark in marks)

    found: dict[str, Mapping[bytes, Any]] = {}
    for key in client.scan_iter(match=f"{prefix}*", count=1000):
        name, entries = key.decode().removeprefix(prefix), dict(_entries(client, key))
        if marked(key):
            found[name] = {**entries, b"ends": client.pexpiretime(key)}
        elif own := {entry: value for entry, value in entries.items() if marked(entry + b" " + value)}:
            found[f"entries of {name}"] = own
    return found


def changed(before: Mapping[str, Mapping[bytes, Any]], after: Mapping[str, Mapping[bytes, Any]]) -> list[str]:
    """What of A's is not as it was."""
    told = []
    for name in {*before, *after}:
        was, now = before.get(name, {}), after.get(name, {})
        # What B does may be told in the fleet's own trail, A's name in it.
        entries = {*was} if name.startswith("entries of") else {*was, *now}
        told += [
            f"{name} {entry!r}: {was.get(entry)} → {now.get(entry)}"
            for entry in entries
            if was.get(entry) != now.get(entry)
        ]
    return told


def _entries(client: redis.Redis, key: bytes) -> Iterator[tuple[bytes, bytes]]:
    """A key's value as pairs, whatever its type."""
    store: Any = client
    kind = store.type(key)
    if kind == b"hash":
        yield from ((name, value) for name, value in store.hgetall(key).items() if name not in TIMED)
    elif kind == b"zset":
        yield from ((member, repr(score).encode()) for member, score in store.zrange(key, 0, -1, withscores=True))
    elif kind == b"stream":
        yield from ((entry, repr(fields).encode()) for entry, fields in store.xrange(key))
    elif kind == b"set":
        yield from ((member, b"") for member in store.smembers(key))
    elif kind == b"list":
        yield from ((b"%d" % n, value) for n, value in enumerate(store.lrange(key, 0, -1)))
    elif kind == b"string":
        yield b"", store.get(key)
    else:
        raise AssertionError(f"{key!r} is a {kind!r}, which no one taught this test to read")
