"""`aragora-cp agents`: who is there, and their circuit breakers."""

from __future__ import annotations

import click

from aragora_cp.cli import breakers
from aragora_cp.cli.output import moment, print_fields, print_json, print_table
from aragora_cp.cli.session import Session, segment, with_session


@click.group()
def agents() -> None:
    """Look at the agents, and after their circuit breakers."""


for _command in (breakers.breaker, breakers.force_open, breakers.force_close, breakers.reset):
    agents.add_command(_command)


@agents.command(name="list")
@click.option("--status", type=click.Choice(["IDLE", "BUSY", "DRAINING", "OFFLINE"], case_sensitive=False))
@click.option("--capability", help="Only agents that have it.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@with_session
def list_(session: Session, status: str | None, capability: str | None, limit: int, as_json: bool) -> None:
    """List agents."""
    found = list(session.pages("/agents", {"status": status, "capability": capability}, limit))
    if as_json:
        print_json(found)
        return
    print_table(
        ["agent", "status", "breaker", "capabilities", "model", "running", "done", "failed", "heartbeat"],
        (
            (
                agent["agent_id"],
                agent["status"],
                agent["breaker"],
                agent["capabilities"],
                agent["model"],
                f"{len(agent['running'])} of {agent['concurrency']}",
                agent["completed"],
                agent["failed"],
                moment(agent["last_heartbeat"]),
            )
            for agent in found
        ),
        empty="no agents",
    )


@agents.command()
@click.argument("agent_id")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@with_session
def show(session: Session, agent_id: str, as_json: bool) -> None:
    """Show an agent."""
    agent = session.request("GET", f"/agents/{segment(agent_id)}")
    if as_json:
        print_json(agent)
        return
    print_fields(
        {
            "agent": agent["agent_id"],
            "status": agent["status"],
            "breaker": agent["breaker"],
            "workspace": agent["workspace"] or "shared by all",
            "capabilities": agent["capabilities"],
            "model": agent["model"],
            "concurrency": agent["concurrency"],
            "running": agent["running"],
            "labels": agent["labels"],
            "version": agent["version"],
            "done": agent["completed"],
            "failed": agent["failed"],
            "registered": moment(agent["registered_at"]),
            "heartbeat": moment(agent["last_heartbeat"]),
        }
    )
