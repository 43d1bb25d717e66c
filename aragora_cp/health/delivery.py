"""Deliverer: takes what is due from the store and hands it to the sinks, in a thread of its own. Any number of
processes may run one; what one took and did not settle is due again for all."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aragora_cp.errors import StoreUnavailable
from aragora_cp.health.sinks import NotDelivered, Sink
from aragora_cp.telemetry.meters import Tally

if TYPE_CHECKING:
    from aragora_cp.store.alerts import AlertStore, Delivery

log = logging.getLogger(__name__)

#: Pause when nothing is due, in seconds; deliveries taken at once (few: each may take its whole timeout).
LOOK_EVERY = 1.0
AT_ONCE = 4
#: The wait after the n-th failure: twice as long each time, up to a bound. After a day it is given up.
FIRST_WAIT_MS = 1_000
LONGEST_WAIT_MS = 300_000
GIVEN_UP_MS = 86400 * 1000


class Deliverer:
    """Start it once; `close` waits for the delivery under way."""

    def __init__(self, store: AlertStore, sinks: Sequence[Sink], tally: Tally) -> None:
        self._store = store
        self._sinks = {sink.name: sink for sink in sinks}
        self._tally = tally
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="aragora-cp-deliverer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                delivered = self.round()
            except StoreUnavailable:
                delivered = 0
            except Exception:
                log.exception("a round of deliveries failed")
                delivered = 0
            if not delivered:
                self._stop.wait(LOOK_EVERY)

    def round(self) -> int:
        """Deliver what is due, some at once; answers how many were tried. Raises StoreUnavailable."""
        due = self._store.take(list(self._sinks), AT_ONCE)
        for delivery in due:
            self._deliver(delivery)
        return len(due)

    def _deliver(self, delivery: Delivery) -> None:
        try:
            self._sinks[delivery.sink].send(delivery.id, delivery.body)
        except NotDelivered as error:
            self._again(delivery, str(error))
        except Exception as error:  # a sink's library may raise anything, and say anything in it
            self._again(delivery, f"a fault of the sink ({type(error).__name__})")
        else:
            self._tally.count("alert_deliveries", delivery.sink, "done")
            self._store.settle(delivery, "done")

    def _again(self, delivery: Delivery, reason: str) -> None:
        wait = min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** min(delivery.attempts - 1, 20))
        outcome = "dead" if delivery.age_ms > GIVEN_UP_MS else "again"
        told = {"sink": delivery.sink, "attempts": delivery.attempts, "reason": reason, "outcome": outcome}
        log.warning("alert not delivered", extra=told)
        self._tally.count("alert_deliveries", delivery.sink, outcome)
        self._store.settle(delivery, outcome, again_ms=wait, reason=reason)
