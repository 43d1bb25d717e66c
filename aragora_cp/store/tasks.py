"""Tasks in the store: one method, one script, one round trip (said where it is more)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Sequence
from typing import Any

import redis

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import Decision, ErrorCode, Failure, Hold, Lane, NewTask, TaskStatus, Usage
from aragora_cp.ratelimits import limits_json, parse_limits
from aragora_cp.store import scripts
from aragora_cp.store.breakers import BreakerStore
from aragora_cp.store.connection import translated
from aragora_cp.store.forms import (
    Admission,
    Answer,
    Cancellation,
    Record,
    ShortBudget,
    Stopped,
    as_record,
    decision_control,
    error_field,
    flat_pairs,
    hold_control,
    lanes_json,
    new_record,
    read_admission,
    read_tickets,
    usage_args,
)
from aragora_cp.store.keys import fleet_keys, workspace_keys
from aragora_cp.store.vault import Vault

#: For how long a task goes by an agent that lacks its workspace's key.
NO_KEY_PAUSE = 5.0

#: Why a task fails whose payload nobody will ever read. Not sealed: it has no secret to tell, and no key for it.
UNREADABLE = Failure(
    ErrorCode.UNREADABLE, "the payload cannot be read: its key was destroyed, or it was changed", retryable=False
)

#: The most records that one page looks at, however few of them match its filter.
EXAMINED_PER_PAGE = 2000


class TaskStore:
    """All of a workspace's task state. Payloads, results and messages go to the store sealed, and come back so: `vault`
    opens them. Raises StoreUnavailable from every method."""

    def __init__(self, client: redis.Redis, config: ControlPlaneConfig, vault: Vault | None = None) -> None:
        self.vault = vault or Vault(client, config)
        self.breakers = BreakerStore(client, config)
        self._client = client
        self._config = config
        self._active = fleet_keys(config.key_prefix)("active")
        self._platform_limits = json.loads(limits_json(parse_limits(config.rate_limits)))

    def submit(
        self,
        new: NewTask,
        task_id: str,
        *,
        idempotency: tuple[str, str, str] | None,
        cache_digest: str,
        lanes: Sequence[Lane],
        must_encrypt: bool = False,
        decision: Decision | None = None,
    ) -> Admission:
        """Admit one task. `idempotency` is (digest of the key, digest of the body, one that counts as the same or
        ''). `must_encrypt`: also when the workspace's settings do not say so. `decision` is kept with it, and holds it
        when it says so. One round trip.

        Sent twice under one id (a lost answer), it is admitted once.
        """
        control = {
            "id": task_id,
            "idem": idempotency[0] if idempotency else "",
            "idem_digest": idempotency[1] if idempotency else "",
            "idem_also": idempotency[2] if idempotency else "",
            "idem_ms": round(self._config.idempotency_ttl * 1000),
            "cache": cache_digest,
            "delay_ms": round((new.delay or 0) * 1000),
            "run_at": new.run_at_ms or 0,
            "window": self._config.window,
            "actor": new.actor,
            "parent": new.parent_id or "",
            "corr": new.correlation_id,
            "placement": new.placement,
            "encrypt": int(must_encrypt),
            "limits": self._platform_limits,
            "type": new.task_type,
            "estimate": -1 if new.estimate_micros is None else new.estimate_micros,
            "decision": decision_control(decision) if decision else None,
            "hold": hold_control(decision.demand, self.vault.digest(new.workspace, new.payload))
            if decision and decision.demand
            else None,
        }
        answer = self.run_and_tell(
            "submit_task",
            new.workspace,
            json.dumps({name: value for name, value in control.items() if value is not None}),
            lanes_json(lanes),
            self.vault.seal(new.workspace, task_id, "payload", new.payload),
            *flat_pairs(new_record(new, cache_digest)),
        )
        return read_admission(new.workspace, answer)

    def claim(
        self,
        hold: Hold,
        agent_id: str,
        lane: str,
        lanes: Sequence[Lane],
        beside: scripts.Call | None = None,
        *,
        must_encrypt: bool = False,
    ) -> Answer:
        """Claim an attempt. `lanes`: the agent's own first, then its direct one. `beside`: a call to the fleet's slot
        that runs just before. One round trip."""
        beside_answer, answer = self._run_beside(
            beside,
            "claim_task",
            hold.workspace,
            hold.task_id,
            hold.attempt,
            hold.lease,
            agent_id,
            lane,
            lanes_json(lanes),
            self._config.heartbeat_timeout_ms,
            self._grace_ms,
            self._config.window,
            int(self.vault.seals),
            round(NO_KEY_PAUSE * 1000),
            int(must_encrypt),
        )
        record = as_record(answer[2]) if len(answer) > 2 else None
        return Answer(answer[0].decode(), record, read_tickets(hold.workspace, answer[1]), beside=beside_answer)

    def renew_calls(self, holds: Iterable[Hold]) -> list[tuple[list[Hold], scripts.Call]]:
        """The calls that renew `holds`, one for each workspace; the registry sends them with its heartbeat."""
        by_workspace: dict[str, list[Hold]] = {}
        for hold in holds:
            by_workspace.setdefault(hold.workspace, []).append(hold)
        calls = []
        for workspace, group in by_workspace.items():
            args: list[Any] = [self._config.heartbeat_timeout_ms, self._grace_ms]
            for hold in group:
                args += (hold.task_id, hold.attempt, hold.lease)
            calls.append((group, self._call("renew_leases", workspace, *args)))
        return calls

    def progress(
        self,
        hold: Hold,
        *,
        percent: float | None,
        message: str | None,
        usage: Usage,
    ) -> str | Stopped:
        """Answers noted, cancelled, stale or unknown, or that a budget has stopped it. One round trip."""
        answer = self._run(
            "report_progress",
            hold.workspace,
            hold.task_id,
            hold.attempt,
            hold.lease,
            "" if percent is None else f"{percent:g}",
            self._sealed(hold, "note", message or ""),
            *usage_args(usage),
        )
        if isinstance(answer, bytes):
            return answer.decode()
        _, budget, agent_id, lane, attempt = answer
        return Stopped(budget.decode(), agent_id.decode(), lane.decode(), attempt)

    def finish(
        self,
        hold: Hold,
        result: bytes,
        agent_id: str,
        lanes: Sequence[Lane],
        usage: Usage,
        beside: scripts.Call | None = None,
    ) -> Answer:
        """Answers finished, stale or unknown. `beside` as in `claim`. One round trip."""
        beside_answer, answer = self._run_beside(
            beside,
            "finish_task",
            hold.workspace,
            hold.task_id,
            hold.attempt,
            hold.lease,
            self.vault.seal(hold.workspace, hold.task_id, "result", result),
            agent_id,
            lanes_json(lanes),
            self._config.window,
            *usage_args(usage),
        )
        record = as_record(answer[2]) if len(answer) > 2 else None
        return Answer(answer[0].decode(), record, read_tickets(hold.workspace, answer[1]), beside=beside_answer)

    def fail(
        self, hold: Hold, failure: Failure, agent_id: str, chance: float, beside: scripts.Call | None = None
    ) -> Answer:
        """Answers retry, failed, ignored, stale or unknown. `beside` as in `claim`. One round trip."""
        field = error_field(hold.attempt)
        beside_answer, answer = self._run_beside(
            beside,
            "fail_task",
            hold.workspace,
            hold.task_id,
            hold.attempt,
            hold.lease,
            failure.code.value,
            failure.message if failure is UNREADABLE else self._sealed(hold, field, failure.message),
            int(failure.retryable),
            int(failure.lost),
            chance,
            agent_id,
        )
        return Answer(answer[0].decode(), as_record(answer[1]) if len(answer) > 1 else None, beside=beside_answer)

    def hand_back(
        self,
        hold: Hold,
        lanes: Sequence[Lane],
        awaits: Sequence[str] = (),
        *,
        pause: float = 0,
        beside: scripts.Call | None = None,
    ) -> Answer:
        """Answers pending, stale or unknown. It waits for `awaits`, or `pause` seconds. `beside` as in `claim`. One
        round trip."""
        beside_answer, answer = self._run_beside(
            beside,
            "hand_back_task",
            hold.workspace,
            hold.task_id,
            hold.attempt,
            hold.lease,
            lanes_json(lanes),
            self._config.window,
            round(pause * 1000),
            *awaits,
        )
        return Answer(answer[0].decode(), None, read_tickets(hold.workspace, answer[1]), beside=beside_answer)

    def cancel(self, workspace: str, task_id: str, actor: str, correlation_id: str) -> Cancellation:
        """One round trip. Sent twice for a lost answer, it answers as the first time; so does `rerun`."""
        answer = self.run_and_tell("cancel_task", workspace, task_id, actor, correlation_id, _call_id())
        if answer[0] == b"unknown":
            return Cancellation("unknown", "", 0, (), None)
        children = tuple(child.decode() for child in answer[3])
        return Cancellation(answer[0].decode(), answer[1].decode(), int(answer[2]), children, as_record(answer[4]))

    def rerun(self, workspace: str, task_id: str, actor: str, correlation_id: str, lanes: Sequence[Lane]) -> Answer:
        """Answers pending, held, conflict, budget or unknown. One round trip."""
        answer = self.run_and_tell(
            "rerun_task",
            workspace,
            task_id,
            actor,
            correlation_id,
            lanes_json(lanes),
            self._config.window,
            _call_id(),
        )
        word, tickets = answer[0].decode(), read_tickets(workspace, answer[1])
        if word == "budget":
            return Answer(word, None, tickets, ShortBudget.of(answer[2], answer[3]))
        return Answer(word, as_record(answer[2]) if len(answer) > 2 else None, tickets)

    def get(self, workspace: str, task_id: str) -> Record | None:
        """One round trip."""
        key = workspace_keys(self._config.key_prefix, workspace)("task", task_id)
        with translated():
            record = as_record(self._client.hgetall(key))
        return record or None

    def statuses(self, workspace: str, task_ids: Sequence[str]) -> list[TaskStatus | None]:
        """The status of each, None where there is no such task. One round trip."""
        keys = workspace_keys(self._config.key_prefix, workspace)
        with translated():
            pipe = self._client.pipeline(transaction=False)
            for task_id in task_ids:
                pipe.hget(keys("task", task_id), "status")
            return [TaskStatus(found.decode()) if found else None for found in pipe.execute()]

    def page(
        self,
        workspace: str,
        *,
        status: TaskStatus | None,
        task_type: str | None,
        agent_id: str | None,
        limit: int,
        after: tuple[str, str] | None,
    ) -> tuple[list[tuple[str, Record]], tuple[str, str] | None]:
        """Newest first, without payloads and results; the second part is where the next page starts. One round trip."""
        time, last = after or ("", "")
        rows, next_time, next_id = self._run(
            "list_tasks",
            workspace,
            status.value if status else "",
            task_type or "",
            agent_id or "",
            limit,
            time,
            last,
            EXAMINED_PER_PAGE,
        )
        found = [(task_id.decode(), as_record(flat)) for task_id, flat in rows]
        return found, (next_time.decode(), next_id.decode()) if next_id else None

    def _sealed(self, hold: Hold, field: str, text: str) -> bytes:
        data = text.encode()
        return self.vault.seal(hold.workspace, hold.task_id, field, data) if data else data

    @property
    def _grace_ms(self) -> int:
        return round(self._config.kill_grace * 1000)

    def _call(self, name: str, workspace: str, *args: Any) -> scripts.Call:
        root = workspace_keys(self._config.key_prefix, workspace).root
        return scripts.Call(scripts.script(name), root, args)

    def _run(self, name: str, workspace: str, *args: Any) -> Any:
        with translated():
            return scripts.run(self._client, self._call(name, workspace, *args))

    def _run_beside(self, beside: scripts.Call | None, name: str, workspace: str, *args: Any) -> tuple[Any, Any]:
        """Run `beside` (another slot's, it stands for itself) and then a script of ours, in one round trip."""
        call = self._call(name, workspace, *args)
        with translated():
            if beside is None:
                return None, scripts.run(self._client, call)
            first, answer = scripts.run_all(self._client, [beside, call])
        return first, answer

    def run_and_tell(self, name: str, workspace: str, *args: Any) -> Any:
        """Run a script after which the monitor must look at the workspace, whatever it had planned; and tell it so.

        It is told after the record has changed: told before, it could look, find nothing, and look away.
        """
        call = self._call(name, workspace, *args)
        with translated():
            pipe = self._client.pipeline(transaction=False)
            pipe.evalsha(call.script.sha, 1, call.root, *call.argv)
            pipe.zadd(self._active, {workspace: 0}, lt=True)
            answer, noted = pipe.execute(raise_on_error=False)
            if isinstance(answer, redis.exceptions.NoScriptError):
                answer = self._client.eval(call.script.source, 1, call.root, *call.argv)
                noted = self._client.zadd(self._active, {workspace: 0}, lt=True)
            for each in (answer, noted):
                if isinstance(each, Exception):
                    raise each
        return answer


def _call_id() -> str:
    return secrets.token_hex(8)
