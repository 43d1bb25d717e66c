"""Approving and rejecting held tasks in the store: one method, one script."""

from __future__ import annotations

import hashlib
import json
import uuid

from aragora_cp.model import Decision, Demand, Lane
from aragora_cp.store.forms import Answer, Record, as_record, error_field, lanes_json, read_tickets
from aragora_cp.store.tasks import TaskStore


class ApprovalStore:
    """Raises StoreUnavailable from every method."""

    def __init__(self, tasks: TaskStore, window: int) -> None:
        self._tasks = tasks
        self._window = window

    def read(self, workspace: str, task_id: str) -> tuple[Record, str] | None:
        """A record, and the digest of its payload as it stands there now. One round trip. Raises Unreadable."""
        record = self._tasks.get(workspace, task_id)
        if record is None:
            return None
        payload = self._tasks.vault.open(workspace, task_id, "payload", record.get("payload", b"null"))
        return record, self._tasks.vault.digest(workspace, payload)

    def approve(
        self,
        workspace: str,
        task_id: str,
        *,
        actor: str,
        correlation_id: str,
        record: Record,
        digest: str,
        decision: Decision,
        demand: Demand,
        lanes: list[Lane],
    ) -> Answer:
        """Approve what `record` says, as `decision` now demands it. Answers released, approved, asked-again, own, late,
        not-held, moved (the payload is stored otherwise by now) or unknown. One round trip."""
        now = {
            "version": decision.version,
            "rules": " ".join(decision.rules),
            "quorum": demand.quorum,
            "expires_ms": demand.expires_ms,
        }
        answer = self._tasks.run_and_tell(
            "approve_task",
            workspace,
            task_id,
            actor,
            correlation_id,
            hashlib.sha1(record.get("payload", b""), usedforsecurity=False).hexdigest(),
            digest,
            json.dumps(now),
            lanes_json(lanes),
            self._window,
            uuid.uuid4().hex,
        )
        found = as_record(answer[2]) if len(answer) > 2 else None
        return Answer(answer[0].decode(), found, read_tickets(workspace, answer[1]))

    def reject(
        self, workspace: str, task_id: str, *, actor: str, correlation_id: str, message: str, attempt: int
    ) -> Answer:
        """Answers rejected, own, not-held or unknown. `attempt` is the record's, under which the message is sealed.
        One round trip."""
        sealed = self._tasks.vault.seal(workspace, task_id, error_field(attempt), message.encode())
        answer = self._tasks.run_and_tell("reject_task", workspace, task_id, actor, correlation_id, sealed)
        return Answer(answer[0].decode(), as_record(answer[1]) if len(answer) > 1 else None)
