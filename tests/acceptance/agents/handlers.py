"""Handlers that do what a test asks for: wait at a gate, misbehave, die. Payloads name files as signals both ways."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from marshmallow import Schema, fields

from aragora_cp import Agent, Context, RejectTask, Throttled
from aragora_cp.errors import TaskCancelled

_LONGEST_WAIT = 60.0


class Greeting(Schema):
    name = fields.String(required=True)
    times = fields.Integer(load_default=1)


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def echo(payload: Any, ctx: Context) -> dict[str, Any]:
    ctx.progress(10, "reading")
    ctx.usage(input_tokens=3, output_tokens=4, model="parrot", cost="0.0031")
    ctx.usage(input_tokens=1, cost="0.0009")
    ctx.progress(90, "nearly")
    ctx.log.info("echoing")
    return {"got": payload, "agent": ctx.agent_id, "attempt": ctx.attempt}


def note(payload: dict[str, Any], ctx: Context) -> None:
    """Append a line to a file: who ran in what order."""
    with Path(payload["file"]).open("a") as file:
        file.write(f"{payload['line']}\n")


def gate(payload: dict[str, Any], ctx: Context) -> str:
    """Wait until the file `open` is there; up to attempt `until` only.

    Says that it runs in `started`, and that it was cancelled in `cleaned`.
    """
    Path(payload.get("started", os.devnull)).touch()
    if ctx.attempt > payload.get("until", 100):
        return f"attempt {ctx.attempt}"
    try:
        _wait_for(Path(payload["open"]))
    except TaskCancelled:
        Path(payload["cleaned"]).touch()
        raise
    return f"attempt {ctx.attempt}"


def stubborn(payload: dict[str, Any], ctx: Context) -> None:
    """Wait at the gate, whatever happens."""
    while not Path(payload["open"]).exists():
        try:
            Path(payload["started"]).touch()
            _wait_for(Path(payload["open"]))
        except BaseException:
            continue


def watchful(payload: dict[str, Any], ctx: Context) -> None:
    """Look at `cancelled` as a handler on a thread does."""
    Path(payload["started"]).touch()
    end = time.monotonic() + _LONGEST_WAIT
    while not ctx.cancelled and time.monotonic() < end:
        time.sleep(0.02)
    Path(payload["cleaned"]).touch()


def fail(payload: dict[str, Any], ctx: Context) -> str:
    """Raise ValueError up to attempt `until`."""
    if ctx.attempt <= payload["until"]:
        raise ValueError(payload["words"])
    return f"attempt {ctx.attempt}"


def die(payload: dict[str, Any], ctx: Context) -> str:
    """Kill the process that runs it, up to attempt `until`."""
    if ctx.attempt <= payload["until"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return f"attempt {ctx.attempt}"


def job(payload: dict[str, Any], ctx: Context) -> str:
    """A line in `file` says whose it was. An agent whose HELPER_BROKEN file exists fails at once; any other takes a
    moment."""
    with Path(payload["file"]).open("a") as file:
        file.write(f"{ctx.agent_id}\n")
    if Path(os.environ.get("HELPER_BROKEN", "/nowhere/broken")).exists():
        raise RuntimeError("out of order")
    time.sleep(payload.get("seconds", 0.03))
    return ctx.agent_id


def ask(payload: dict[str, Any], ctx: Context) -> float:
    """Ask an upstream that answers 429 up to attempt `until`; when it was asked is a line in `file`."""
    with Path(payload["file"]).open("a") as file:
        file.write(f"{ctx.agent_id} {time.time()}\n")
    if ctx.attempt <= payload["until"]:
        raise Throttled("429", retry_after=payload["pause"])
    return time.time()


def reject(payload: Any, ctx: Context) -> None:
    raise RejectTask("the question makes no sense")


def leave(payload: Any, ctx: Context) -> None:
    sys.exit(3)


def unprintable(payload: Any, ctx: Context) -> None:
    raise Unprintable


def not_json(payload: Any, ctx: Context) -> dict[str, Any]:
    return {"handle": object()}


def greet(payload: dict[str, Any], ctx: Context) -> str:
    return " ".join([f"Hello {payload['name']}"] * payload["times"])


async def later(payload: Any, ctx: Context) -> list[Any]:
    return await asyncio.gather(asyncio.sleep(0.01, "a"), asyncio.sleep(0.01, payload))


def family(payload: dict[str, Any], ctx: Context) -> list[Any]:
    """Run `children` as sub-tasks of the type `of`; wait here or, with `aside`, step aside."""
    ids = [ctx.submit(payload["of"], child, required_capabilities=payload["needs"]) for child in payload["children"]]
    return ctx.wait(*ids, step_aside=payload.get("aside", False))


def install(agent: Agent) -> None:
    """Give `agent` all of them, each by its own name."""
    for handler in (
        *(
            echo,
            note,
            gate,
            stubborn,
            watchful,
            fail,
            die,
            job,
            ask,
            reject,
            leave,
            unprintable,
            not_json,
            later,
            family,
        ),
    ):
        agent.task(handler.__name__)(handler)
    agent.task("greet", schema=Greeting)(greet)


def _wait_for(path: Path) -> None:
    end = time.monotonic() + _LONGEST_WAIT
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.02)
