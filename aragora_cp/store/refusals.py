"""Why a script refused, as the error that callers see."""

from __future__ import annotations

from aragora_cp.errors import (
    BudgetExceeded,
    Conflict,
    EncryptionUnavailable,
    IdempotencyConflict,
    QuotaExceeded,
    RateLimited,
    Refused,
)
from aragora_cp.store.forms import Admission, ShortBudget


def refusal(admission: Admission) -> Refused | None:
    """None when the submit was not refused."""
    found: Refused | None = None
    if admission.outcome == "conflict":
        return IdempotencyConflict()
    if admission.outcome == "not-encrypted":
        return EncryptionUnavailable()
    if admission.quota is not None:
        found = QuotaExceeded(*admission.quota)
    elif admission.closed is not None:
        name, limit, period, wait = admission.closed
        told = f"the rate limit {name} is reached: {limit} submits in {period:g} s"
        found = RateLimited(told, policy=name, limit=limit, window=period, retry_after=wait)
    elif admission.budget is not None:
        found = no_room(admission.budget)
    elif not admission.task_id:
        found = Conflict(f"the workspace is {admission.outcome}: it takes no tasks")
    if found is not None:
        found.rate_limits = admission.rate_limits
    return found


def no_room(budget: ShortBudget) -> BudgetExceeded:
    return BudgetExceeded(
        budget.name,
        limit=budget.limit,
        spent=budget.spent,
        reserved=budget.reserved,
        asked=budget.asked,
        resets_at=budget.resets_at,
        retry_after=budget.wait,
    )
