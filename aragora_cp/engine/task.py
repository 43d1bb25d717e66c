"""AgentTask: the one Celery task. It claims before it runs, and reports through the result backend."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any, NoReturn

from billiard.exceptions import SoftTimeLimitExceeded
from celery import Celery, Task
from celery.exceptions import Ignore, Retry
from celery.signals import task_postrun

from aragora_cp.engine import holdback
from aragora_cp.engine.app import CORRELATION_HEADER, TASK_NAME
from aragora_cp.engine.interrupt import stoppable, was_stopped
from aragora_cp.errors import (
    AttemptFailed,
    RejectTask,
    StaleAttempt,
    StepAside,
    StoreUnavailable,
    TaskCancelled,
    Throttled,
    UpstreamFailed,
    WaitWouldDeadlock,
)
from aragora_cp.model import Claim, ErrorCode, Failure, Hold
from aragora_cp.ports import AgentHost
from aragora_cp.telemetry import subject

log = logging.getLogger(__name__)


class AttemptEnded(Exception):
    """What Celery, its events and its logs get to see of a failed attempt: its code, never the handler's own words."""


@dataclass(frozen=True, slots=True, repr=False)
class Completed:
    """A result on its way to the backend. Its repr is all that Celery's events and logs show of it."""

    result: bytes

    def __repr__(self) -> str:
        return "COMPLETED"


class AgentTask(Task):
    """Runs one attempt. Bound to the AgentHost of its app."""

    name = TASK_NAME
    Request = "aragora_cp.engine.request:AgentRequest"
    acks_late = True
    ignore_result = False
    max_retries = None
    throws = (AttemptEnded,)  # logged in one line: the handler's own traceback is none of the log's business

    host: AgentHost

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Claim the attempt; raises Ignore when there is nothing to claim, and the ticket has served its purpose."""
        hold = Hold(args[0], args[1], args[2], self.request.lease)
        subject.begin(hold, self.request.get(CORRELATION_HEADER) or "")
        holdback.wait_until_heard()
        try:
            claim = self.host.scheduler.claim(hold, self.host.spec)
        except StoreUnavailable:
            # The monitor sends another ticket when the store is back.
            log.warning("ticket dropped: the store is away")
            raise Ignore from None
        if isinstance(claim, str):
            if self.host.scheduler.standing.pause:
                holdback.tell()
            log.info("ticket dropped", extra={"reason": claim})
            raise Ignore
        self.request.claim = claim

    def run(self, workspace: str, task_id: str, attempt: int) -> Completed:
        """The attempt: its handler's result, or a reason that the backend reports."""
        claim: Claim = self.request.claim
        process = os.getpid()
        try:
            with stoppable(claim.hold.lease):
                result = self.host.perform(claim, lambda: was_stopped(claim.hold.lease))
            _end_stray_fork(process)
            return Completed(result)
        except Throttled as throttled:
            log.info(
                "given back: the upstream asks for a pause", extra={"task_id": task_id, "pause": throttled.retry_after}
            )
            self._give_back(claim.hold, throttled)
            raise Ignore from None
        except StepAside as aside:
            self._hand_back(claim.hold, aside.task_ids)
            raise Ignore from None
        except (TaskCancelled, StaleAttempt):
            log.info("attempt given up: cancelled, or no longer ours")
            self._let_go(claim.hold)
            raise Ignore from None
        except BaseException as error:
            _end_stray_fork(process)
            if isinstance(error, SystemExit) and _killed_by_signal(error):
                raise
            failure = failure_of(error)
            level = logging.INFO if isinstance(error, AttemptFailed | RejectTask) else logging.WARNING
            log.log(level, "attempt failed", exc_info=error, extra={"code": failure.code.value})
        self._end(failure, claim)

    def retry(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises Celery's Retry; the waiting time is kept in the store, worked out by its script, not in this
        process."""
        raise Retry(exc=kwargs.get("exc"), when=None)

    def _end(self, failure: Failure, claim: Claim) -> NoReturn:
        self.request.failure = failure
        ended = AttemptEnded(failure.code.value)
        if failure.retryable and claim.task.retries < claim.task.max_retries:
            self.retry(exc=ended)
        raise ended

    def _hand_back(self, hold: Hold, awaits: tuple[str, ...]) -> None:
        try:
            self.host.scheduler.hand_back(hold, awaits=awaits, handle=self.host.spec.handle)
        except StaleAttempt:
            log.info("attempt no longer ours")

    def _give_back(self, hold: Hold, throttled: Throttled) -> None:
        """Report patiently, as any outcome: the pause must not be lost with a store that is away for a moment."""
        self.backend.report(hold, lambda: self.host.scheduler.throttled(hold, self.host.spec, throttled.retry_after))

    def _let_go(self, hold: Hold) -> None:
        """What cannot be said now, the heartbeats say: the attempt is in hand no longer."""
        try:
            self.host.scheduler.let_go(hold, self.host.spec)
        except StoreUnavailable:
            log.debug("given up without saying so", extra={"task_id": hold.task_id})


def failure_of(error: BaseException) -> Failure:
    """The reason that the record gives for an exception of a handler."""
    match error:
        case AttemptFailed():
            return Failure(ErrorCode(error.code), str(error), error.retryable)
        case SoftTimeLimitExceeded():
            return Failure(ErrorCode.TIMEOUT, "the attempt ran longer than its time limit", True)
        case UpstreamFailed():
            return Failure(ErrorCode.UPSTREAM_ERROR, _words(error), True)
        case RejectTask():
            return Failure(ErrorCode.HANDLER_ERROR, _words(error), False)
        case WaitWouldDeadlock():
            return Failure(ErrorCode.HANDLER_ERROR, _words(error), False)
        case _:
            return Failure(ErrorCode.HANDLER_ERROR, f"{type(error).__name__}: {_words(error)}".rstrip(": "), True)


def _words(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:
        return "(an exception that cannot be printed)"
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= 2000 else f"{text[:2000]}…"


def _end_stray_fork(process: int) -> None:
    """A handler forked, and its child has come back from the handler too: it must not report, nor read the pool's
    pipe."""
    if os.getpid() != process:
        os._exit(0)


def _killed_by_signal(error: SystemExit) -> bool:
    """billiard turns a signal that ends the child into ``sys.exit(signal number - 256)``."""
    return isinstance(error.code, int) and -256 < error.code <= -256 + 64


def register_task(app: Celery, host: AgentHost) -> None:
    """Make `app` able to run tasks for `host`."""
    task = app.register_task(AgentTask())
    task.host = host
    task_postrun.connect(_after, sender=task, weak=False)


def _after(**_: Any) -> None:
    """Celery has reported the attempt and said what it had to say of it."""
    subject.end()
