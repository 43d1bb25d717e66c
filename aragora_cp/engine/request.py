"""AgentRequest: a ticket in a worker's hands. The parent names the lease before the child claims with it."""

from __future__ import annotations

import secrets
import threading
from contextlib import AbstractContextManager
from typing import Any

from celery.exceptions import Ignore, InvalidTaskError
from celery.worker.request import Request

from aragora_cp.engine import holdback
from aragora_cp.engine.app import CORRELATION_HEADER
from aragora_cp.engine.interrupt import LEASE_LENGTH
from aragora_cp.model import Hold
from aragora_cp.telemetry import subject


class Outcomes:
    """What this worker's attempts came to since the last heartbeat. Only its main process counts."""

    def __init__(self) -> None:
        self.completed = 0
        self.failed = 0

    def take(self) -> tuple[int, int]:
        taken = (self.completed, self.failed)
        self.completed = self.failed = 0
        return taken


outcomes = Outcomes()


class AgentRequest(Request):
    """Knows the hold that its attempt will have, so the parent can renew, stop and hand it back."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        match self.args:
            case [str(workspace), str(task_id), int(attempt)] if task_id == self.id:
                self.hold = Hold(workspace, task_id, attempt, secrets.token_hex(LEASE_LENGTH // 2))
            case _:
                raise InvalidTaskError("a ticket names a workspace, a task and an attempt")
        self.ended = False
        #: When its child is killed, or its thread given up: it was told to stop and has not. Monotonic seconds.
        self.stop_at: float | None = None
        #: Its attempt has ended without it, and nothing can stop its thread.
        self.stuck = False
        # The child finds it on its task's request.
        self._request_dict["lease"] = self.hold.lease

    def about(self) -> AbstractContextManager[None]:
        """Lines within, Celery's own too, are about this attempt."""
        return subject.about(self.hold, str(self._request_dict.get(CORRELATION_HEADER, "")))

    def acknowledge(self) -> None:
        if not self.ended:
            outcomes.completed += 1
        self._end()
        super().acknowledge()

    def reject(self, requeue: bool = False) -> None:
        self._end()
        super().reject(requeue=requeue)

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        ignored = isinstance(getattr(exc_info.exception, "exc", exc_info.exception), Ignore)
        if not ignored and not self.ended:
            outcomes.failed += 1
        self._end()
        with self.about():
            return super().on_failure(exc_info, *args, **kwargs)

    def on_timeout(self, soft: bool, timeout: float) -> Any:
        if not soft:
            if not self.ended:
                outcomes.failed += 1
            self._end()
        with self.about():
            return super().on_timeout(soft, timeout)

    def _end(self) -> None:
        self.ended = True
        # On threads this may be one of them; there the parent's next look hears it.
        if holdback.told() and threading.current_thread() is threading.main_thread():
            self.app.agent_step.hold_back()
