"""What counts against whom, and the rules as the scripts read them."""

from __future__ import annotations

import json

import pytest

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.engine.task import failure_of
from aragora_cp.errors import ConfigError, RejectTask, Throttled, UpstreamFailed, WaitWouldDeadlock
from aragora_cp.health.breaker import Outcome, outcome_of, rules
from aragora_cp.model import ErrorCode, Failure


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ValueError("no"), Outcome.FAILED),
        (RejectTask("no"), Outcome.NONE),
        (WaitWouldDeadlock(), Outcome.NONE),
        (UpstreamFailed("502"), Outcome.UPSTREAM),
    ],
)
def test_what_a_handlers_exception_says(error: Exception, outcome: Outcome) -> None:
    assert outcome_of(failure_of(error)) is outcome


def test_every_code_is_decided_on() -> None:
    told = {code: outcome_of(Failure(code, "", retryable=True)) for code in ErrorCode}
    assert {code for code, outcome in told.items() if outcome is Outcome.NONE} == {
        ErrorCode.INVALID_PAYLOAD,
        ErrorCode.RESULT_TOO_LARGE,
        ErrorCode.EXPIRED,
        ErrorCode.REJECTED,
        ErrorCode.BUDGET_EXCEEDED,
        ErrorCode.UNREADABLE,
    }


def test_a_loss_is_one_whatever_its_code() -> None:
    assert outcome_of(Failure(ErrorCode.HANDLER_ERROR, "", retryable=True, lost=True)) is Outcome.LOST


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_a_pause_needs_a_time(seconds: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        Throttled(retry_after=seconds)


def test_a_pause_is_an_hour_at_most() -> None:
    assert Throttled("busy", retry_after=1e9).retry_after == 3600


def test_rules_are_in_milliseconds() -> None:
    told = json.loads(rules(ControlPlaneConfig(breaker_open_time=1.5, breaker_slow_time=0.25)))
    assert (told["open_ms"], told["slow_ms"], told["on"], told["share"]) == (1500, 250, 1, 0.5)


@pytest.mark.parametrize(
    "settings",
    [
        {"breaker_mode": "maybe"},
        {"breaker_window_calls": 201},
        {"breaker_min_calls": 51},
        {"breaker_failure_rate": 0.0},
        {"breaker_slow_rate": 1.1},
        {"breaker_open_time": 301.0},
        {"breaker_probes": 0},
        {"max_ejection_share": 1.5},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"breaker|max_ejection_share"):
        ControlPlaneConfig(**settings)  # type: ignore[arg-type]
