"""Lookout: what the leading monitor does for health. Once a second it adds what the looks have counted to the fleet's
figures, writes its report, and judges the alerts: from what is at hand, never from all tasks or all agents."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import StoreUnavailable
from aragora_cp.health.rates import FailureRates
from aragora_cp.health.report import report
from aragora_cp.health.rules import Facts, Signal, by_rule, decided, signals
from aragora_cp.model import Lane
from aragora_cp.store.alerts import AlertStore
from aragora_cp.store.health import HealthStore
from aragora_cp.store.sweeps import Look, Queue
from aragora_cp.telemetry.meters import field_of

log = logging.getLogger(__name__)

#: Pause between two reports, in seconds.
EVERY = 1.0

#: Whoever knows whether the conditions of further rules hold: the rules' names, and how to ask. Asked once a second by
#: the leader; its cost must not grow with the fleet.
Source = tuple[Sequence[str], Callable[[], Iterable[Signal]]]


class Lookout:
    """One thread. Never raises: an observer that fails stops no work."""

    def __init__(
        self,
        store: HealthStore,
        alerts: AlertStore,
        config: ControlPlaneConfig,
        *,
        seal_lag: Callable[[], float] = lambda: 0.0,
        sources: Sequence[Source] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._alerts = alerts
        self._config = config
        self._seal_lag = seal_lag
        self._sources = tuple(sources)
        self._clock = clock
        self._rates = FailureRates(clock)
        self._queues: dict[str, Queue] = {}
        self._counts: Counter[str] = Counter()
        self._at = float("-inf")

    def begin(self) -> None:
        """This monitor leads from now on: what it knew of the queues is old."""
        self._queues.clear()
        self._rates.begin()

    def look(self, epoch: int, looks: Sequence[Look], lanes: Sequence[Lane], load: Mapping[str, int]) -> None:
        """Take in what a tick has seen, and report when it is time."""
        try:
            for each in looks:
                self._take(each)
            if self._clock() - self._at >= EVERY:
                self._at = self._clock()
                self._report(epoch, lanes, load)
        except StoreUnavailable as error:
            log.warning("no report of health: the store is away", extra={"reason": str(error)})
        except Exception:
            log.exception("a report of health failed")

    def _take(self, look: Look) -> None:
        self._counts.update(look.counted)
        self._counts.update({field_of("repairs", kind): count for kind, count in look.repairs.items()})
        self._rates.add(look.workspace, look.counted)
        if look.queue == Queue():
            self._queues.pop(look.workspace, None)
        else:
            self._queues[look.workspace] = look.queue

    def _report(self, epoch: int, lanes: Sequence[Lane], load: Mapping[str, int]) -> None:
        counts, self._counts = self._counts, Counter()
        try:
            self._store.add(counts)
        except StoreUnavailable:
            self._counts.update(counts)
            raise
        facts = Facts(self._store.gather(), self._queues, self._rates.shares(), self._seal_lag())
        found, rules = list(signals(facts, self._config)), set(decided(facts))
        for names, ask in self._sources:
            found += ask()
            rules |= set(names)
        tickets = sum(count for name, count in load.items() if name.startswith("tickets:"))
        groups = by_rule(found)
        firing = self._alerts.judge({name: groups.get(name, []) for name in sorted(rules)}, epoch=epoch)
        self._store.tell(epoch, report(facts, lanes, tickets, found, firing))
