"""From a Procfile to programs: what `dev` and `demo` run. Pure but for reading the file."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from honcho.environ import parse_procfile

from aragora_cp.cli.failure import CommandFailed
from aragora_cp.cli.supervisor import Program

#: The first word of a command of ours; it is run by this very interpreter.
OURS = "aragora-cp"


@dataclass(frozen=True)
class Line:
    """One line of a Procfile. `agent_id` is None for what is no agent."""

    name: str
    argv: tuple[str, ...]
    agent_id: str | None

    @property
    def command(self) -> str:
        """`serve`, `monitor`, `worker`, `flower`, or empty for a program that is not ours."""
        return self.argv[1] if len(self.argv) > 1 and self.argv[0] == OURS else ""


@dataclass(frozen=True)
class Places:
    """Where the processes listen."""

    host: str
    port: int
    flower_port: int


def read_procfile(path: Path | None) -> tuple[Line, ...]:
    """The lines of `path`, or of the Procfile that comes with the package. Raises CommandFailed."""
    try:
        text = (path or files("aragora_cp.cli").joinpath("Procfile")).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"cannot read {path}: {error}") from error
    try:
        found = parse_procfile(text).processes
        lines = tuple(_line(name, tuple(shlex.split(command))) for name, command in found.items())
    except (AssertionError, ValueError) as error:
        raise CommandFailed(f"{path} is not a Procfile: {error}") from error
    if "store" in found or "dev" in found:
        raise CommandFailed(f"{path}: `store` and `dev` are names of dev's own")
    return lines


def _line(name: str, argv: tuple[str, ...]) -> Line:
    if argv[:2] != (OURS, "worker"):
        return Line(name, argv, None)
    for n, word in enumerate(argv):
        if word == "--agent-id" and n + 1 < len(argv):
            return Line(name, argv, argv[n + 1])
        if word.startswith("--agent-id="):
            return Line(name, argv, word.partition("=")[2])
    agent_id = f"{name}-1"
    return Line(name, (*argv, "--agent-id", agent_id), agent_id)


def program(line: Line, places: Places, env: Mapping[str, str], *, agent_grace: float) -> Program:
    """What to run for `line`."""
    argv = line.argv
    if line.command == "serve":
        argv = (*argv, "--host", places.host, "--port", str(places.port))
    elif line.command == "flower":
        argv = (*argv, "--port", str(places.flower_port))
    if argv[0] == OURS:
        argv = (sys.executable, "-m", "aragora_cp.cli", *argv[1:])
    return Program(line.name, argv, env, grace=agent_grace if line.agent_id else 10.0)
