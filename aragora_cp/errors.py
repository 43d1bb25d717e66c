"""Every error of the control plane, one tree. The class docstring is the message.

    AragoraError
    ├── ConfigError                  a setting is wrong (process exits, never seen over HTTP)
    ├── AgentError                   raised in an agent's process
    │   ├── RejectTask               a handler's own word: the task is at fault, final
    │   ├── UpstreamFailed           the model behind the agent failed, not the agent
    │   ├── Throttled                the model behind the agent asks for a pause (its 429)
    │   ├── AttemptFailed            an attempt ended badly, with its reason as the record wants it
    │   ├── TaskCancelled            the task was cancelled or fenced off
    │   └── WaitWouldDeadlock        waiting here could never end
    ├── BrokerUnavailable            a ticket could not be sent; never seen over HTTP, the monitor sends it again
    ├── TaskFailed                   wait_for_result met a task that ended without a result
    └── Refused                      an operation was refused and changed nothing; has `code` and `status`
        ├── MalformedRequest   400   ├── Unauthenticated   401   ├── BudgetExceeded    402
        ├── Forbidden          403   ├── PolicyDenied      403
        ├── WorkspaceMismatch  403   ├── NotFound          404   ├── IdempotencyConflict 409
        ├── AlreadyFinal       409   ├── StaleAttempt      409   ├── StaleSession      409
        ├── AgentConflict      409   ├── PayloadTooLarge   413   ├── UnsupportedMediaType 415
        ├── InvalidRequest     422   ├── QuotaExceeded     429   ├── RateLimited       429
        └── StoreUnavailable   503
             ├── PolicyUnavailable 503
             └── EncryptionUnavailable 503

Beside the tree stands StepAside, which is no error: it unwinds a handler that waits.

`Refused.code` is the `code` of the HTTP contract's problems; `status` is its HTTP status. A driver's error is
translated into one of these where it enters (the store), with the cause kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aragora_cp.model import RateStanding


class AragoraError(Exception):
    """Something went wrong in the control plane."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])


class ConfigError(AragoraError):
    """A setting is wrong."""


class AgentError(AragoraError):
    """An agent's handler cannot go on."""


class RejectTask(AgentError):
    """The handler rejects this task: it is the task's fault, and trying again would not help."""


class UpstreamFailed(AgentError):
    """The model or service behind this agent failed: tried again like any failure, but counted against the model."""


class Throttled(AgentError):
    """The model or service behind this agent takes no more for now (its 429)."""

    #: Of a pause, in seconds: what an upstream names beyond it is not believed.
    LONGEST = 3600.0

    def __init__(self, message: str | None = None, *, retry_after: float) -> None:
        """All agents of this one's model, in its pool, take nothing for `retry_after` seconds (at most an hour). The
        task goes back to its place and loses no retry. Raises ValueError for a time that is none."""
        super().__init__(message)
        if not 0 < retry_after < float("inf"):
            raise ValueError("retry_after must be a positive number of seconds")
        self.retry_after = min(float(retry_after), self.LONGEST)


class AttemptFailed(AgentError):
    """This attempt ended without a result."""

    def __init__(self, code: str, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable


class StepAside(BaseException):
    """The handler gives its slot back until its sub-tasks are final; it is then run again from its start.

    Not an Exception, so that a handler's own `except Exception` lets it pass.
    """

    def __init__(self, task_ids: Sequence[str]) -> None:
        super().__init__()
        self.task_ids = tuple(task_ids)


class TaskCancelled(AgentError):
    """This task was cancelled, or this attempt no longer holds it."""


class WaitWouldDeadlock(AgentError):
    """Waiting here could never end: the only slot that can run the sub-task is the one that waits."""


class BrokerUnavailable(AragoraError):
    """The broker cannot be reached."""


class TaskFailed(AragoraError):
    """The task ended without a result."""

    def __init__(self, message: str, *, task_id: str, status: str, code: str | None) -> None:
        super().__init__(message)
        self.task_id = task_id
        self.status = status
        self.code = code


class Refused(AragoraError):
    """The operation was refused and changed nothing."""

    code = "internal-error"
    status = 500
    #: Seconds after which trying again is reasonable; None when it is not a matter of time.
    retry_after: float | None = None
    #: The rate limits that the operation counts against, as they stand.
    rate_limits: Sequence[RateStanding] = ()


class MalformedRequest(Refused):
    """The request cannot be read."""

    code = "malformed-request"
    status = 400


class Unauthenticated(Refused):
    """No valid token came with the request."""

    code = "unauthenticated"
    status = 401


class UnknownToken(Unauthenticated):
    """No valid token came with the request."""  # told as any other; apart because it may have been a guess


class Forbidden(Refused):
    """The token's role does not allow this."""

    code = "forbidden"
    status = 403


class PolicyDenied(Refused):
    """A rule of the policy does not allow this."""

    code = "policy-denied"
    status = 403

    def __init__(self, reason: str, *, decision_id: str, rules: Sequence[str], version: str) -> None:
        """`rules` decided it, in this version of the policy; none when it is that no rule allows it."""
        super().__init__(reason)
        self.decision_id = decision_id
        self.rules = tuple(rules)
        self.version = version


class WorkspaceMismatch(Refused):
    """The token belongs to another workspace than the one named."""

    code = "workspace-mismatch"
    status = 403


class NotFound(Refused):
    """There is nothing here under that name."""

    code = "not-found"
    status = 404


class Conflict(Refused):
    """The request does not fit the present state."""

    code = "conflict"
    status = 409


class IdempotencyConflict(Conflict):
    """This idempotency key was used before with another body."""

    code = "idempotency-conflict"


class AlreadyFinal(Conflict):
    """The task has already ended."""

    code = "already-final"


class StaleAttempt(Conflict):
    """This attempt does not hold the task any more."""

    code = "stale-attempt"


class StaleSession(Conflict):
    """Another process has registered under this agent's id since."""

    code = "stale-session"


class AgentConflict(Conflict):
    """An agent with this id is alive already."""


class PayloadTooLarge(Refused):
    """The request's body is larger than the workspace allows."""

    code = "payload-too-large"
    status = 413


class UnsupportedMediaType(Refused):
    """The request's body must be application/json."""

    code = "unsupported-media-type"
    status = 415


class InvalidRequest(Refused):
    """Some fields are not valid."""

    code = "invalid-request"
    status = 422

    def __init__(self, errors: Mapping[str, Sequence[str]], message: str | None = None) -> None:
        """`errors`: field name to the messages about it, as the problem document shows them."""
        super().__init__(message or "; ".join(f"{name}: {', '.join(texts)}" for name, texts in errors.items()))
        self.errors = {name: list(texts) for name, texts in errors.items()}


class QuotaExceeded(Refused):
    """The workspace has used up one of its quotas."""

    code = "quota-exceeded"
    status = 429
    retry_after = 1.0

    def __init__(self, quota: str, limit: int, used: int) -> None:
        super().__init__(f"the quota {quota} is used up: {used} of {limit}")
        self.quota = quota
        self.limit = limit
        self.used = used


class BudgetExceeded(Refused):
    """A budget has no room for this task."""

    code = "budget-exceeded"
    status = 402

    def __init__(
        self, budget: str, *, limit: int, spent: int, reserved: int, asked: int, resets_at: int, retry_after: float
    ) -> None:
        """Money in millionths of the currency's unit: `asked` is what the task would reserve. `resets_at`: ms."""
        super().__init__(f"the budget {budget} has no room for this task until it resets")
        self.budget = budget
        self.limit = limit
        self.spent = spent
        self.reserved = reserved
        self.asked = asked
        self.resets_at = resets_at
        self.retry_after = retry_after


class RateLimited(Refused):
    """Too many requests of this kind."""

    code = "rate-limited"
    status = 429

    def __init__(self, message: str, *, policy: str, limit: int, window: float, retry_after: float) -> None:
        """`limit` within `window` seconds, as the rule called `policy` has it; it opens again after `retry_after`."""
        super().__init__(message)
        self.policy = policy
        self.limit = limit
        self.window = window
        self.retry_after = retry_after


class StoreUnavailable(Refused):
    """The store cannot be reached or refuses writes; nothing was changed."""

    code = "store-unavailable"
    status = 503
    retry_after = 1.0


class PolicyUnavailable(StoreUnavailable):
    """The policy cannot be read, so nothing is decided by it: nothing was let through, nothing was denied for good."""


class EncryptionUnavailable(StoreUnavailable):
    """This workspace's data must be encrypted, and the key for it is not here; nothing was changed."""

    code = "encryption-unavailable"
