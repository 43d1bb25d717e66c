"""`aragora-cp worker`: one agent."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click

from aragora_cp.agent import Agent
from aragora_cp.cli.failure import CommandFailed
from aragora_cp.cli.stores import require_store
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.telemetry.redaction import error_report


@click.command()
@click.argument("target", metavar="MODULE:ATTRIBUTE")
@click.option("--agent-id", help="The agent's id instead of its own.")
@click.option("--concurrency", type=click.IntRange(1), help="Tasks at once.")
@click.option("--pool", type=click.Choice(["prefork", "threads"]), default="prefork", show_default=True)
@click.option("--token", help="Better given as ARAGORA_CP_AGENT_TOKEN.")
@click.pass_context
def worker(
    ctx: click.Context, target: str, agent_id: str | None, concurrency: int | None, pool: str, token: str | None
) -> None:
    """Run the agent that ATTRIBUTE of MODULE is, for example `workers.code:agent`, until told to stop."""
    config = ControlPlaneConfig.from_env()
    agent = load_agent(target)
    require_store(config)
    ctx.exit(agent.run(agent_id=agent_id, concurrency=concurrency, pool=pool, token=token, config=config))


def load_agent(target: str) -> Agent:
    """Import the agent named ``module:attribute``, from the current folder too. Raises CommandFailed."""
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise CommandFailed(f"{target!r} is not of the form module:attribute, for example workers.code:agent")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    found: Any = _import(module_name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise CommandFailed(f"the module {module_name} has no {attribute!r}{_meant(found)}")
        found = getattr(found, part)
    if not isinstance(found, Agent):
        raise CommandFailed(f"{target} is {type(found).__name__}, not an Agent")
    return found


def _import(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise CommandFailed(f"there is no module {name!r} here or among the installed packages") from error
        raise CommandFailed(f"the module {name} needs {error.name!r}, which is not installed") from error
    except Exception as error:
        told = error_report(error)
        raise CommandFailed(
            f"the module {name} cannot be imported: {told['error']} at {told['error_at'][-1]}"
        ) from error


def _meant(module: Any) -> str:
    agents = sorted(name for name, value in vars(module).items() if isinstance(value, Agent))
    return f"; did you mean {', '.join(agents)}?" if agents else ""
