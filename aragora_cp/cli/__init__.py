"""The command line, `aragora-cp`. One module a command or group; each is loaded when it is called."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from aragora_cp._version import __version__
from aragora_cp.cli.failure import CommandFailed
from aragora_cp.errors import AragoraError
from aragora_cp.telemetry.redaction import error_report

COMMANDS = (
    "demo",
    "dev",
    "serve",
    "monitor",
    "worker",
    "flower",
    "doctor",
    "tasks",
    "agents",
    "queues",
    "top",
    "policies",
    "workspaces",
    "limits",
    "budgets",
    "tokens",
    "keys",
    "audit",
    "acl",
    "flags",
    "alerts",
)


class LazyGroup(click.Group):
    """Loads a command's module on first use, so that an agent's process loads no web framework. Errors of ours become
    one line on standard error and a non-zero exit status."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f"aragora_cp.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            raise click.NoSuchCommand(error.command_name, possibilities=COMMANDS, ctx=ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AragoraError as error:
            raise CommandFailed(str(error)) from error
        except (click.ClickException, click.exceptions.Exit, click.Abort, OSError):
            raise
        except Exception as error:
            told = error_report(error)
            raise CommandFailed(f"a fault of ours: {told['error']} at {told['error_at'][-1]}") from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="aragora-cp")
def cli() -> None:
    """Aragora Control Plane: the right agent gets each task, once.

    Try `aragora-cp demo`. Settings come from ARAGORA_CP_ variables in the environment.
    """


def main() -> None:
    """The console script."""
    try:
        cli(prog_name="aragora-cp")
    except OSError as error:
        click.echo(f"Error: {error.strerror or type(error).__name__}", err=True)
        sys.exit(1)
