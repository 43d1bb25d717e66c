"""Retry times are Celery's."""

from __future__ import annotations

from celery.utils.time import get_exponential_backoff_interval
from hypothesis import given
from hypothesis import strategies as st

from aragora_cp.backoff import retry_ceilings
from aragora_cp.model import RetryPolicy


def wait_before(ceilings: tuple[int, ...], retry: int) -> int:
    """The last ceiling holds for every retry after it."""
    return ceilings[min(retry, len(ceilings) - 1)]


def test_the_defaults_in_numbers() -> None:
    assert retry_ceilings(RetryPolicy(), 3) == (1000, 2000, 4000)
    assert retry_ceilings(RetryPolicy(), 20) == (1000, 2000, 4000, 8000, 16000, 32000, 60000)
    assert retry_ceilings(RetryPolicy(), 0) == ()


@given(st.integers(1, 100), st.integers(1, 4000), st.integers(1, 60))
def test_in_whole_seconds_without_jitter_it_is_celerys_formula(initial: int, maximum: int, retries: int) -> None:
    ceilings = retry_ceilings(RetryPolicy(initial, 2.0, maximum, jitter=False), retries)
    for retry in range(retries):
        celery = get_exponential_backoff_interval(initial, retry, maximum, full_jitter=False)
        assert wait_before(ceilings, retry) == celery * 1000


policies = st.builds(RetryPolicy, st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6), st.booleans())


@given(policies, st.integers(0, 200))
def test_every_wait_is_between_nothing_and_the_maximum(policy: RetryPolicy, retries: int) -> None:
    ceilings = retry_ceilings(policy, retries)
    assert len(ceilings) <= retries
    assert bool(ceilings) == (retries > 0)
    for retry in range(retries):
        assert 0 <= wait_before(ceilings, retry) <= round(policy.maximum * 1000)


@given(st.builds(RetryPolicy, st.floats(0.001, 1e6), st.floats(1, 100), st.floats(0.001, 1e6)), st.integers(1, 100))
def test_waits_never_shrink(policy: RetryPolicy, retries: int) -> None:
    ceilings = retry_ceilings(policy, retries)
    assert list(ceilings) == sorted(ceilings)
    assert ceilings[0] == round(min(policy.initial, policy.maximum) * 1000)
