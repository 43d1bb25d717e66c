"""Agents for fault tests. Every start and end is a line in a file: nothing depends on what the store says."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from aragora_cp import Agent, Context, RejectTask, TaskCancelled

agent = Agent(capabilities=["chaos"], concurrency=2)
app = agent.app if os.environ.get("ARAGORA_CP_AGENT_TOKEN") else None

JOURNAL = Path(os.environ.get("FAULTS_JOURNAL", os.devnull))


def note(word: str, ctx: Context) -> None:
    """One whole line, whatever else writes: O_APPEND and a single write."""
    with JOURNAL.open("ab", buffering=0) as file:
        file.write(f"{word} {ctx.task_id} {ctx.attempt} {ctx.agent_id}\n".encode())


@agent.task("chaos.work")
def work(payload: dict[str, Any], ctx: Context) -> dict[str, Any]:
    note("start", ctx)
    time.sleep(payload["seconds"])
    note("end", ctx)
    return {"n": payload["n"], "attempt": ctx.attempt}


@agent.task("chaos.hold")
def hold(payload: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Runs until its gate, a file, is there."""
    note("start", ctx)
    gate = Path(payload["gate"])
    while not gate.exists():
        time.sleep(0.02)
    note("end", ctx)
    return {"agent": ctx.agent_id, "attempt": ctx.attempt}


@agent.task("chaos.die")
def die(payload: dict[str, Any], ctx: Context) -> str:
    """Takes its own process down on the first `times` attempts."""
    note("start", ctx)
    if ctx.attempt <= payload["times"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


@agent.task("chaos.clean")
def clean(payload: dict[str, Any], ctx: Context) -> str:
    """Runs until it is told to stop, and cleans up."""
    note("start", ctx)
    try:
        while True:
            time.sleep(0.02)
    except TaskCancelled:
        note("cleaned", ctx)
        raise


@agent.task("chaos.fork")
def fork(payload: dict[str, Any], ctx: Context) -> int:
    """Forks, and both come back."""
    note("start", ctx)
    os.fork()
    return os.getpid()


@agent.task("chaos.closed-stdout")
def closed_stdout(payload: dict[str, Any], ctx: Context) -> None:
    note("start", ctx)
    with open(os.devnull, "w") as out:
        pass
    print("to nobody", file=out)


@agent.task("chaos.signals")
def signals(payload: dict[str, Any], ctx: Context) -> None:
    """Takes every signal that it can for itself."""
    note("start", ctx)
    for word in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT):
        signal.signal(word, signal.SIG_IGN)


class Odd(BaseException):
    def __str__(self) -> str:
        raise RuntimeError("cannot be printed")


@agent.task("chaos.base-exception")
def base_exception(payload: dict[str, Any], ctx: Context) -> None:
    note("start", ctx)
    raise Odd


@agent.task("chaos.huge")
def huge(payload: dict[str, Any], ctx: Context) -> str:
    note("start", ctx)
    return "x" * 10_000_000


@agent.task("chaos.not-json")
def not_json(payload: dict[str, Any], ctx: Context) -> object:
    note("start", ctx)
    return {"a set": {1, 2}}


@agent.task("chaos.nan")
def nan(payload: dict[str, Any], ctx: Context) -> float:
    note("start", ctx)
    return float("nan")


@agent.task("chaos.tell")
def tell(payload: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Says its payload's secret in every way that a handler has; fails as often as it is told to."""
    note("start", ctx)
    secret = payload["secret"]
    ctx.progress(50, f"half of {secret}")
    if ctx.attempt <= payload.get("fails", 0):
        raise RuntimeError(f"could not find {secret}") from KeyError(secret)
    if payload.get("reject"):
        raise RejectTask(f"no {secret}")
    child = (
        ctx.submit("chaos.tell", {"secret": secret}, required_capabilities=["chaos"]) if payload.get("child") else None
    )
    return {"secret": secret, "child": child}
