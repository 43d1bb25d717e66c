"""Celery's result backend is the scheduler: every outcome that Celery knows of, in the child and in the parent,
arrives in `store_result`, and is told to TaskScheduler."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import states
from celery.backends.base import Backend, SyncBackendMixin

from aragora_cp.engine import holdback
from aragora_cp.errors import NotFound, StaleAttempt, StoreUnavailable
from aragora_cp.model import Claim, ErrorCode, Failure, Hold, TaskStatus
from aragora_cp.ports import AgentHost
from aragora_cp.telemetry import subject

log = logging.getLogger(__name__)

_CELERY_STATES = {
    TaskStatus.HELD: states.PENDING,
    TaskStatus.PENDING: states.PENDING,
    TaskStatus.RUNNING: states.STARTED,
    TaskStatus.COMPLETED: states.SUCCESS,
    TaskStatus.FAILED: states.FAILURE,
    TaskStatus.CANCELLED: states.REVOKED,
}


class SchedulerBackend(SyncBackendMixin, Backend):
    """Reports to the AgentHost of its app (`app.agent_host`).

    In a child it waits for the store as long as `report_timeout`; in the parent, whose loop must not stand still, a
    report that cannot be made waits in `pending` for the next heartbeat."""

    persistent = True
    supports_autoexpire = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pending: list[Callable[[], None]] = []

    @property
    def _host(self) -> AgentHost:
        return self.app.agent_host

    def store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **kwargs: Any
    ) -> Any:
        """Tell the scheduler. A stale attempt's report is refused there, noted, and ends here."""
        lease = getattr(request, "lease", None)
        args = getattr(request, "args", None)
        if lease is None or not args:
            return result
        hold = Hold(args[0], args[1], args[2], lease)
        claim: Claim | None = getattr(request, "claim", None)
        report = self._report_of(hold, result, state, getattr(request, "failure", None))
        if report is None:
            return result
        if claim is not None:
            self._report_patiently(hold, report)
        else:
            self._report_or_keep(hold, report)
        return result

    def report(self, hold: Hold, report: Callable[[], None]) -> None:
        """In a child: make a report of its own, waiting for the store as for any other."""
        self._report_patiently(hold, report)

    def flush(self) -> None:
        """In the parent: make the reports that could not be made before. Stops at the first that still cannot."""
        while self.pending:
            try:
                self.pending[0]()
            except StoreUnavailable:
                return
            self.pending.pop(0)

    def get_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]:
        return self._get_task_meta_for(task_id)

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        try:
            task = self._host.scheduler.get("default", task_id)
        except NotFound:
            return {"task_id": task_id, "status": states.PENDING, "result": None, "traceback": None}
        return {
            "task_id": task_id,
            "status": _CELERY_STATES[task.status],
            "result": task.result,
            "traceback": None,
        }

    def _report_of(self, hold: Hold, result: Any, state: str, failure: Failure | None) -> Callable[[], None] | None:
        host = self._host
        if state == states.SUCCESS:
            return lambda: _discard(host.scheduler.finish(hold, result.result, host.spec))
        if state == states.FAILURE or (state == states.RETRY and failure is not None):
            reason = failure or _parents_reason(result)
            spec = host.spec
            return lambda: _discard(host.scheduler.fail(hold, reason, spec.agent_id, handle=spec.handle))
        if state in (states.RETRY, states.REVOKED):
            # Celery gives it up by itself: a cold shutdown, a terminated child. A cancelled task stays cancelled.
            return lambda: host.scheduler.hand_back(hold, handle=host.spec.handle)
        return None

    def _report_or_keep(self, hold: Hold, report: Callable[[], None]) -> None:
        try:
            _fenced(hold, report)()
        except StoreUnavailable:
            self.pending.append(_fenced(hold, report))

    def _report_patiently(self, hold: Hold, report: Callable[[], None]) -> None:
        give_up = time.monotonic() + self._host.config.report_timeout
        pause = 0.1
        while True:
            try:
                _fenced(hold, report)()
            except StoreUnavailable:
                if time.monotonic() >= give_up:
                    log.error("outcome not reported: the store stayed away")  # noqa: TRY400
                    return
            else:
                if self._host.scheduler.standing.pause:
                    holdback.tell()
                return
            time.sleep(pause)
            pause = min(pause * 2, 2.0)


def _fenced(hold: Hold, report: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        with subject.about(hold):
            try:
                report()
            except (StaleAttempt, NotFound):
                log.warning("outcome refused: the attempt is not ours any more")

    return run


def _parents_reason(error: Any) -> Failure:
    """What only the parent can see."""
    if isinstance(error, TimeLimitExceeded):
        return Failure(ErrorCode.TIMEOUT, "the attempt ran longer than its time limit and was killed", True)
    if isinstance(error, WorkerLostError):
        return Failure(ErrorCode.AGENT_LOST, "the process that ran the attempt died", True, lost=True)
    return Failure(ErrorCode.HANDLER_ERROR, f"the worker reported {type(error).__name__}", True)


def _discard(_: object) -> None:
    return None
