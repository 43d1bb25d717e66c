"""`aragora-cp monitor`: timers, lost leases, lost tickets."""

from __future__ import annotations

from threading import Event

import click

from aragora_cp.cli.stopping import StopSignals
from aragora_cp.cli.stores import require_store
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.telemetry.logs import configure_logging
from aragora_cp.wiring import build


@click.command()
def monitor() -> None:
    """Run a monitor until told to stop. Any number may run; one leads."""
    config = ControlPlaneConfig.from_env()
    configure_logging(config, process="monitor")
    require_store(config)
    stop = Event()
    plane = build(config)
    try:
        with StopSignals(stop.set):
            plane.monitor().run(stop)
    finally:
        plane.close()
