"""`aragora-cp demo`: real tasks through real agents on a store of its own, then everything is stopped again."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from aragora_cp.cli.failure import CommandFailed
from aragora_cp.cli.material import Job, jobs
from aragora_cp.cli.output import console, progress
from aragora_cp.cli.results import show_result
from aragora_cp.cli.session import Session
from aragora_cp.cli.stack import Interrupted, Plan, Stack
from aragora_cp.cli.stopping import StopSignals
from aragora_cp.config import ControlPlaneConfig

#: Bound on one task, in seconds.
_PATIENCE = 60.0
#: Lines of each process that are kept to explain a failure.
_KEPT_LINES = 15


@click.command()
def demo() -> None:
    """Show it at work: start everything, send real tasks to the three sample agents, print the results, stop.

    The agents review this project's own code, index its documents, answer a query and hold a debate. It needs no
    network and leaves nothing behind.
    """
    with tempfile.TemporaryDirectory(prefix="aragora-cp-demo-") as folder, StopSignals() as signals:
        heard: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=_KEPT_LINES))
        stack = Stack(
            Plan(Path(folder), flower=False), ControlPlaneConfig.from_env(), lambda name, line: heard[name].append(line)
        )
        try:
            _run(stack, lambda: signals.asked)
        except Interrupted:
            raise click.exceptions.Exit(130) from None
        except CommandFailed:
            for name, lines in heard.items():
                click.echo("\n".join(f"{name or 'demo'} | {line}" for line in lines), err=True)
            raise
        finally:
            started = signals.count
            stack.stop(lambda: signals.count > started)


def _run(stack: Stack, interrupted: Callable[[], bool]) -> None:
    out = console()
    started = time.monotonic()
    with progress("starting the store", always=True) as tell:
        stack.open()
        stack.start(lambda missing: tell(f"waiting for {', '.join(missing)}"), interrupted)
    out.print(f"[green]✓[/] store, API, monitor and {len(stack.agents)} agents are up "
              f"[dim]({time.monotonic() - started:.1f} s)[/]")  # fmt: skip
    session = Session(stack.url, stack.keyring.token, None)
    try:
        for job in jobs():
            submitted = time.monotonic()
            with progress(f"{job.task_type} is running"):
                task = _finish(stack, session, job, interrupted)
            show_result(out, task, job.payload, time.monotonic() - submitted)
    finally:
        session.close()
    out.print("\n[green]✓[/] all tasks completed; stopping")


def _finish(stack: Stack, session: Session, job: Job, interrupted: Callable[[], bool]) -> dict[str, Any]:
    """Submit a task and wait until it has completed. Raises CommandFailed, Interrupted."""
    body = {"task_type": job.task_type, "payload": job.payload, "required_capabilities": [job.capability]}
    task: dict[str, Any] = session.request("POST", "/tasks/submit", body=body)
    end = time.monotonic() + _PATIENCE
    while task["status"] in ("PENDING", "RUNNING") and time.monotonic() < end:
        if interrupted():
            raise Interrupted
        stack.step(0)
        task = session.task(task["task_id"], wait=1.0)
    if task["status"] != "COMPLETED":
        error = task["error"] or {}
        raise CommandFailed(f"{job.task_type} is {task['status']}: {error.get('code')} {error.get('message')}")
    return task
