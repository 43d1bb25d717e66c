"""`aragora-cp queues`: what waits, for how long, and who could take it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from aragora_cp.cli.output import print_json, print_table
from aragora_cp.cli.session import Session, with_session


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@with_session
def queues(session: Session, as_json: bool) -> None:
    """Show what waits and runs, by required capabilities, the longest wait first."""
    found = session.request("GET", "/queues")
    if as_json:
        print_json(found)
        return
    print_table(
        ["requires", "critical", "high", "normal", "low", "oldest wait", "running", "agents", "lanes"],
        (
            (
                required(queue),
                *(queue["waiting"][name] for name in ("critical", "high", "normal", "low")),
                span(queue["oldest_wait"]),
                queue["running"],
                queue["agents"],
                queue["lanes"],
            )
            for queue in found["items"]
        ),
        empty="nothing waits, nothing runs",
    )
    if not found["complete"]:
        click.echo("There is more than one reading looks at: the counts are too low.", err=True)


def required(queue: Mapping[str, Any]) -> str:
    """What a queue asks of an agent, in one cell."""
    if queue["agent_id"]:
        return f"agent {queue['agent_id']}"
    text = ", ".join(queue["required_capabilities"]) or "nothing"
    return text if queue["placement"] == "auto" else f"{text} ({queue['placement']})"


def span(seconds: float | None) -> str:
    """A duration for people, in the largest unit that fits."""
    if seconds is None:
        return "-"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
