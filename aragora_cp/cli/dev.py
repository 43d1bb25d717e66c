"""`aragora-cp dev`: everything on this machine until Ctrl-C."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from aragora_cp.cli.keyring import FLOWER_USER
from aragora_cp.cli.narrator import Narrator
from aragora_cp.cli.session import BASE_PATH
from aragora_cp.cli.stack import Interrupted, Plan, Stack
from aragora_cp.cli.stopping import StopSignals
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.embedded import write_private
from aragora_cp.tenancy.workspaces import DEFAULT_WORKSPACE

#: Seconds of stopping after which it is said what is waited for.
_PATIENCE = 5.0


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the API.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Its port; 0 is any.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".aragora"),
    show_default=True,
    help="Where everything is kept.",
)
@click.option("--no-agents", is_flag=True, help="Without the sample agents.")
@click.option("--no-flower", is_flag=True, help="Without Flower.")
@click.option(
    "--procfile",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="Processes to run instead of the package's own.",
)
def dev(host: str, port: int, data_dir: Path, no_agents: bool, no_flower: bool, procfile: Path | None) -> None:
    """Run everything on this machine until Ctrl-C: store, API, monitor, agents, Flower.

    No Redis is needed: the store is brought along and keeps its data in the data folder.
    """
    plan = Plan(data_dir, host, port, procfile, agents=not no_agents, flower=not no_flower)
    Development(plan, ControlPlaneConfig.from_env()).run()


class Development:
    """A stack, its `dev.json`, and the person at the terminal."""

    def __init__(self, plan: Plan, config: ControlPlaneConfig) -> None:
        self._plan = plan
        self._stack = Stack(plan, config, self._say, on_change=self._publish)
        self._narrator = Narrator(["store", *(line.name for line in self._stack.lines)], sys.stdout)
        self._file = plan.data_dir / "dev.json"
        self._ready = False

    def run(self) -> None:
        """Until told to stop. Raises CommandFailed or AragoraError when it cannot go on."""
        with StopSignals() as signals:
            try:
                self._stack.open()
                self._file.unlink(missing_ok=True)  # of a run that was killed
                self._stack.start(self._tell_missing, lambda: signals.asked)
                self._ready = True
                self._publish()
                self._tell_ready()
                while not signals.asked:
                    self._stack.step(0.2)
            except Interrupted:
                pass
            finally:
                self._withdraw()
                self._stop(signals)

    def _stop(self, signals: StopSignals) -> None:
        """What failed stops at once too when asked; a Ctrl-C that was the reason to stop does not count."""
        self._say("", "stopping")
        before, started, told = signals.count, time.monotonic(), False

        def at_once() -> bool:
            nonlocal told
            if not told and time.monotonic() - started > _PATIENCE:
                told = True
                patience = self._stack.config.drain_timeout
                self._say("", f"running tasks get up to {patience:g} s to finish; Ctrl-C stops at once")
            return signals.count > before

        self._stack.stop(at_once)
        self._say("", "stopped")

    def _publish(self) -> None:
        """Write `dev.json`, from the moment that everything is ready on."""
        if not self._ready:
            return
        stack = self._stack
        write_private(
            self._file,
            json.dumps(
                {
                    "url": stack.url,
                    "token": stack.keyring.token,
                    "agent_token": stack.keyring.agent_token,
                    "workspace": DEFAULT_WORKSPACE,
                    "redis_url": stack.config.redis_url,
                    "flower_url": stack.flower_url,
                    "console_url": f"{stack.url}/console",
                    "pids": stack.pids,
                },
                indent=2,
            ),
        )

    def _withdraw(self) -> None:
        if self._ready:
            self._ready = False
            self._file.unlink(missing_ok=True)

    def _say(self, name: str, line: str) -> None:
        self._narrator.say(name, line)

    def _tell_missing(self, missing: list[str]) -> None:
        self._say("", f"waiting for {', '.join(missing)}")

    def _tell_ready(self) -> None:
        stack = self._stack
        rows = {
            "API": f"{stack.url}{BASE_PATH}",
            "Docs": f"{stack.url}{BASE_PATH}/docs",
            "Flower": f"{stack.flower_url}   user {FLOWER_USER}, password {stack.keyring.flower_password}"
            if stack.flower_url
            else "",
            "Agents": ", ".join(stack.agents),
            "Tokens": f"in {self._file}, where the commands of this folder find them",
        }
        told = "\n".join(f"  {name:<8}{row}" for name, row in rows.items() if row)
        click.echo(
            f"\nThe control plane is ready.\n\n{told}\n\nCtrl-C stops it; its data stays in {self._plan.data_dir}.\n"
        )
