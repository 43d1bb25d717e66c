"""`aragora-cp serve`: the HTTP API."""

from __future__ import annotations

import click

from aragora_cp.api.serve import run_gunicorn
from aragora_cp.cli.stores import require_store
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.telemetry.logs import configure_logging


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, envvar="PORT", help="Port; also PORT."
)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that answer.")
def serve(host: str, port: int, workers: int) -> None:
    """Run the HTTP API until told to stop."""
    config = ControlPlaneConfig.from_env()
    configure_logging(config, process="web")
    require_store(config)
    run_gunicorn(config, host=f"[{host}]" if ":" in host else host, port=port, workers=workers)
