"""HealthMonitor: liveness and readiness of this process, and the health of the whole."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from aragora_cp.errors import AragoraError
from aragora_cp.health.asking import BoundedQuestion

if TYPE_CHECKING:
    from aragora_cp.ports import TicketBroker
    from aragora_cp.store.probes import StoreReport

log = logging.getLogger(__name__)

HEALTHY, DEGRADED, UNHEALTHY = "healthy", "degraded", "unhealthy"
#: From here on the leader's report is old, and then worth nothing: ms.
STALE_MS = 5_000
WORTHLESS_MS = 60_000
#: How far this machine's clock may be from the store's, seconds. Only `run_at` and the times of tokens are read by
#: people against their own clocks; leases and timers go by the store's clock alone.
MOST_SKEW = 30.0

NO_LEADER = "no monitor leads: retries, time limits and lost tasks are not looked after"
NO_AGENT = "no agent is online"


class Probes(Protocol):
    """`store.probes.StoreProbes`, as it is seen from here."""

    def report(self) -> StoreReport: ...


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of readiness; `reason` says what is wrong, '' when it is met."""

    name: str
    reason: str = ""

    @property
    def passes(self) -> bool:
        return not self.reason


@dataclass(frozen=True, slots=True)
class Readiness:
    checks: tuple[Check, ...]

    def without(self, *names: str) -> Readiness:
        return Readiness(tuple(check for check in self.checks if check.name not in names))

    @property
    def ready(self) -> bool:
        return not self.failing

    @property
    def failing(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passes)


@dataclass(frozen=True, slots=True)
class Health:
    """The whole, from the leader's last report and from what this process sees of the store and the broker. `age`:
    seconds since that report, None when there is none."""

    status: str
    reasons: tuple[str, ...]
    age: float | None
    computed_at: int | None
    store: StoreReport
    broker: bool
    instances: Mapping[str, Mapping[str, int]]


class HealthMonitor:
    """Safe to share between threads. Nothing here raises."""

    def __init__(self, probes: Probes, broker: TicketBroker, *, more: Sequence[Callable[[], Check]] = ()) -> None:
        """`more`: further conditions of readiness; each answers at once, from memory."""
        self._probes = probes
        self._broker = BoundedQuestion(lambda: broker.depths(("health",)) is not None)
        self._more = tuple(more)
        self._stopping = False

    def stop(self) -> None:
        """This process ends soon: from now on it is not ready, whatever else is."""
        self._stopping = True

    def liveness(self) -> Check:
        """Whether this process works: that it answers says so. It asks nothing of anyone else: a restart here would not
        bring a store back."""
        return Check("process")

    def readiness(self) -> Readiness:
        """Whether requests should come here now."""
        self._broker.begin()  # beside the store's answer
        report = self._probes.report()
        return Readiness(
            (
                Check("shutdown", "this process is stopping" if self._stopping else ""),
                Check("store", store_fault(report)),
                Check("broker", "" if self._broker.answer() else "the broker cannot be reached"),
                Check("clock", clock_fault(report)),
                Check("leader", NO_LEADER if report.reachable and not report.has_leader else ""),
                *(self._ask(each) for each in self._more),
            )
        )

    def health(self) -> Health:
        """How the control plane is as a whole."""
        self._broker.begin()
        report = self._probes.report()
        broker = self._broker.answer() if report.reachable else False
        grave, slight = shortcomings(report)
        if report.reachable and not broker:
            slight.append("the broker cannot be reached")
        told = report.leader_report
        age_ms = report.now_ms - report.leader_report_at if told else None
        if report.reachable:
            worse, reasons = _by_the_leader(told, age_ms)
            (grave if worse == UNHEALTHY else slight).extend(each for each in reasons if each not in grave + slight)
        return Health(
            status=UNHEALTHY if grave else DEGRADED if slight else HEALTHY,
            reasons=tuple(grave + slight),
            age=None if age_ms is None else age_ms / 1000,
            computed_at=report.leader_report_at if told else None,
            store=report,
            broker=broker,
            instances=told["instances"] if told else {},
        )

    def _ask(self, check: Callable[[], Check]) -> Check:
        try:
            return check()
        except AragoraError as error:
            return Check(getattr(check, "__name__", "check"), str(error))


def store_fault(report: StoreReport) -> str:
    """Why the store is not fit for use, '' when it is."""
    if not report.reachable:
        return "the store cannot be reached"
    if not report.writable:
        return "the store refuses writes"
    if report.eviction_policy not in (None, "noeviction"):
        return f"the store may drop records: its maxmemory-policy is {report.eviction_policy}, not noeviction"
    return ""


def clock_fault(report: StoreReport) -> str:
    if report.reachable and abs(report.skew) > MOST_SKEW:
        return f"the clocks of this machine and of the store are {abs(report.skew):.0f} s apart"
    return ""


def shortcomings(report: StoreReport) -> tuple[list[str], list[str]]:
    """What is grave, and what is slight, as this process sees it itself."""
    fault = store_fault(report)
    if not report.reachable:
        return [fault], []
    slight = [
        *([] if report.has_leader else [NO_LEADER]),
        *([] if report.agents_online else [NO_AGENT]),
        *filter(None, [clock_fault(report)]),
    ]
    return ([fault] if fault else []), slight


def _by_the_leader(told: Mapping[str, Any] | None, age_ms: int | None) -> tuple[str, list[str]]:
    """What the leader's report says, or that it is too old to say anything."""
    if told is None or age_ms is None:
        return DEGRADED, []  # a plane without a leader says so already
    if age_ms > STALE_MS:
        worth = UNHEALTHY if age_ms > WORTHLESS_MS else DEGRADED
        return worth, [f"the monitor's last report is {age_ms // 1000} s old"]
    return told["status"], list(told["reasons"])
