"""When a failed attempt is tried again. Pure."""

from __future__ import annotations

import math

from aragora_cp.model import RetryPolicy


def retry_ceilings(policy: RetryPolicy, max_retries: int) -> tuple[int, ...]:
    """The longest wait before each retry, in whole milliseconds; the last one holds for every retry after it.

    Celery's formula (`celery.utils.time.get_exponential_backoff_interval`): ``min(maximum, initial * factor**n)`` for
    the n-th retry from 0, in floats where Celery truncates to seconds. With jitter the wait is a uniform share of the
    ceiling ("full jitter", as Celery's), drawn when the retry is due to be planned.
    """
    ceilings: list[int] = []
    for n in range(max_retries):
        try:
            seconds = min(policy.maximum, policy.initial * policy.factor**n)
        except OverflowError:
            seconds = policy.maximum
        if math.isnan(seconds):
            seconds = policy.maximum
        ceilings.append(round(seconds * 1000))
        if n and ceilings[-1] == ceilings[-2] and (seconds >= policy.maximum or policy.factor == 1):
            ceilings.pop()
            break
    return tuple(ceilings)
