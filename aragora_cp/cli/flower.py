"""`aragora-cp flower`: Celery's monitor, never without a password."""

from __future__ import annotations

import ipaddress
import os
import secrets
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import click

from aragora_cp.cli.failure import CommandFailed
from aragora_cp.cli.stores import require_store
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.engine.app import make_app
from aragora_cp.telemetry.logs import configure_logging

_USER = "aragora"
#: Flower's own variables for its ways to ask who is there.
_GUARDS = ("FLOWER_BASIC_AUTH", "FLOWER_AUTH")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=5555, show_default=True, envvar="PORT", help="Also PORT."
)
def flower(host: str, port: int) -> None:
    """Run Flower until told to stop.

    FLOWER_BASIC_AUTH=user:password (or FLOWER_AUTH with an OAuth2 provider) guards it. Without either it makes a
    password and says it; on an address that other machines reach it does not start without.
    """
    config = ControlPlaneConfig.from_env()
    if find_spec("flower") is None:
        raise CommandFailed("Flower is not installed; pip install 'aragora-cp[flower]' brings it")
    guarded = any(os.environ.get(name) for name in _GUARDS)
    if not guarded and not is_loopback(host):
        raise CommandFailed(f"Flower on {host} would be open to anyone; set FLOWER_BASIC_AUTH=user:password")
    configure_logging(config, process="flower")
    require_store(config)
    if not guarded:
        password = secrets.token_urlsafe(16)
        os.environ["FLOWER_BASIC_AUTH"] = f"{_USER}:{password}"
        click.echo(f"Flower's user is {_USER}, its password this time {password}", err=True)
    _close_metrics()
    arguments = [f"--address={host}", f"--port={port}", "--logging=none"]
    if "FLOWER_CONF" not in os.environ:
        arguments.append(f"--conf={Path(__file__).with_name('flowerconfig.py')}")
    make_app(config).start(["--quiet", "flower", *arguments])


def _close_metrics() -> None:
    """Flower 2.2 shows /metrics to everyone, the names of agents and task types in it."""
    monitor = import_module("flower.views.monitor")
    monitor.Metrics.get = import_module("tornado.web").authenticated(monitor.Metrics.get)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
