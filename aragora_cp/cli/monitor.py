"""`aragora-cp monitor`: timers, lost leases, lost tickets; health and alerts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from threading import Event

import click

from aragora_cp.cli.stopping import StopSignals
from aragora_cp.cli.stores import require_store
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.health.monitor import Check, HealthMonitor
from aragora_cp.store.probes import StoreProbes
from aragora_cp.telemetry.logs import configure_logging
from aragora_cp.wiring import ControlPlane, build

#: A monitor whose rounds do not come to an end for so long is not ready: seconds.
_HANGS = 5.0


@click.command()
def monitor() -> None:
    """Run a monitor until told to stop. Any number may run; one leads."""
    config = ControlPlaneConfig.from_env()
    configure_logging(config, process="monitor")
    require_store(config)
    stop = Event()
    plane = build(config)
    try:
        rounds = plane.monitor()
        with StopSignals(stop.set), _telling(plane, rounds.silence):
            rounds.run(stop)
    finally:
        plane.close()


@contextmanager
def _telling(plane: ControlPlane, silence: Callable[[], float]) -> Iterator[None]:
    """Beat and deliver alerts, leading or not."""

    def rounds() -> Check:
        return Check("rounds", "the monitor's rounds do not come to an end" if silence() > _HANGS else "")

    watch = plane.watch()
    with ExitStack() as ends:
        probes = ends.enter_context(closing(StoreProbes(plane.config)))
        health = HealthMonitor(probes, plane.broker, more=[rounds])
        for part in (watch.deliverer(), watch.pulse("monitor", health)):
            part.start()
            ends.enter_context(closing(part))
        yield
        health.stop()
