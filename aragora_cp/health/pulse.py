"""Pulse: a web or monitor process says once a second how it is, and adds what it has counted to the fleet's figures."""

from __future__ import annotations

import logging
import threading
import uuid
from typing import TYPE_CHECKING

from aragora_cp._version import __version__
from aragora_cp.errors import StoreUnavailable
from aragora_cp.health.monitor import HealthMonitor, Readiness
from aragora_cp.health.rules import Signal
from aragora_cp.telemetry.meters import Tally

if TYPE_CHECKING:
    from aragora_cp.store.alerts import AlertStore
    from aragora_cp.store.health import HealthStore

log = logging.getLogger(__name__)

EVERY = 1.0


class Pulse:
    """Start it after the fork; close it when the process ends."""

    def __init__(
        self,
        kind: str,
        health: HealthMonitor,
        store: HealthStore,
        alerts: AlertStore,
        tally: Tally,
    ) -> None:
        """`kind` of instance: web or monitor."""
        self._kind = kind
        self._health = health
        self._store = store
        self._alerts = alerts
        self._tally = tally
        self._id = uuid.uuid4().hex
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="aragora-cp-pulse", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Say goodbye; a store that is away does not keep this process."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5)
        try:
            self._flush()
            self._store.leave(self._id)
        except StoreUnavailable:
            log.debug("left without saying so: the store is away")

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.beat()
            except StoreUnavailable:
                log.debug("no beat: the store is away")
            except Exception:
                log.exception("a beat failed")
            self._stop.wait(EVERY)

    def beat(self) -> None:
        """One round. Raises StoreUnavailable."""
        ready = self._health.readiness()
        failing = [check.name for check in ready.failing]
        if "store" not in failing:
            told = {"kind": self._kind, "version": __version__, "ready": ready.ready, "failing": failing}
            self._store.beat(self._id, told)
            self._flush()
            self._miss_the_leader(ready)

    def _flush(self) -> None:
        counts = self._tally.take()
        try:
            self._store.add(counts)
        except StoreUnavailable:
            self._tally.put_back(counts)
            raise

    def _miss_the_leader(self, ready: Readiness) -> None:
        """A leader that is not there cannot say so; whoever has a pulse does. That there is one again, it says itself:
        the rule is among those that it judges."""
        missing = [check for check in ready.failing if check.name == "leader"]
        if missing:
            self._alerts.judge({"leader-missing": [Signal("leader-missing", "", missing[0].reason)]})
