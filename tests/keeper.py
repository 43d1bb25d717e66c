"""Keeps a monitor ticking and agents alive while a test waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aragora_cp.model import AgentSpec, Hold
from aragora_cp.reconciler import Monitor
from aragora_cp.store.sweeps import Leadership
from tests.fleet import Fleet
from tests.waiting import eventually

TOKEN = "keeper"


class Keeper:
    """Ticks a monitor and keeps agents and what they hold alive, until something has come about."""

    def __init__(self, fleet: Fleet, *specs: AgentSpec, holds: Sequence[Hold] = ()) -> None:
        self.fleet = fleet
        self.monitor: Monitor = fleet.monitor(token=TOKEN)
        self.sessions = {spec.handle: fleet.session(spec) for spec in specs}
        self.holds = list(holds)

    def until(self, check: Callable[[], object], what: str, timeout: float = 5) -> None:
        def once() -> object:
            for handle, session in self.sessions.items():
                self.fleet.registry.heartbeat(handle, session, self.holds)
            assert self.monitor.tick()
            return check()

        eventually(once, timeout, what, pause=0.02)

    def until_judging(self) -> None:
        self.until(lambda: self.leadership().judge, "the hold-off is over")

    def leadership(self) -> Leadership:
        return self.fleet.sweeps.lead(TOKEN, lease_ms=300, gap_ms=200)
