"""Circuit breakers: their rules, and what of an attempt counts against whom. Pure; the state is the store's
(lua/lib/breaker.lua). Why each default is what it is: docs/explanation/circuit-breakers.md."""

from __future__ import annotations

import json
from enum import StrEnum

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import ErrorCode, Failure


class Outcome(StrEnum):
    """What the end of an attempt says. OK and FAILED and LOST of the agent, UPSTREAM of the model it works with,
    THROTTLED: the upstream asks for a pause, NONE: nothing of either."""

    OK = "ok"
    FAILED = "failed"
    LOST = "lost"
    UPSTREAM = "upstream"
    THROTTLED = "throttled"
    NONE = "none"


#: Of the codes that a failed attempt may have. What lies in the task counts against nobody.
_OUTCOMES = {
    ErrorCode.HANDLER_ERROR: Outcome.FAILED,
    ErrorCode.TIMEOUT: Outcome.FAILED,
    ErrorCode.NO_HANDLER: Outcome.FAILED,
    ErrorCode.RESULT_NOT_SERIALISABLE: Outcome.FAILED,
    ErrorCode.AGENT_LOST: Outcome.LOST,
    ErrorCode.POISONED: Outcome.LOST,
    ErrorCode.UPSTREAM_ERROR: Outcome.UPSTREAM,
}


def outcome_of(failure: Failure) -> Outcome:
    """What a failed attempt says. A handler's error that must not be tried again is its rejection of the task
    (`RejectTask`): the task's fault."""
    if failure.lost:
        return Outcome.LOST
    if failure.code is ErrorCode.HANDLER_ERROR and not failure.retryable:
        return Outcome.NONE
    return _OUTCOMES.get(failure.code, Outcome.NONE)


def rules(config: ControlPlaneConfig) -> str:
    """The settings as the scripts read them: JSON, times in ms. An agent's record carries them from its registration
    on."""
    return json.dumps(
        {
            "on": int(config.breaker_mode == "on"),
            "calls": config.breaker_window_calls,
            "window_ms": round(config.breaker_window * 1000),
            "least": config.breaker_min_calls,
            "failure_rate": config.breaker_failure_rate,
            "slow_rate": config.breaker_slow_rate,
            "slow_ms": round(config.breaker_slow_time * 1000),
            "open_ms": round(config.breaker_open_time * 1000),
            "open_most_ms": round(config.breaker_max_open_time * 1000),
            "probes": config.breaker_probes,
            "share": config.max_ejection_share,
            "lease_ms": config.heartbeat_timeout_ms,
        }
    )
