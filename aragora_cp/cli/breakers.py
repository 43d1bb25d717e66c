"""`aragora-cp agents breaker`, `force-open`, `force-close`, `reset`: agents' circuit breakers."""

from __future__ import annotations

from typing import Any

import click

from aragora_cp.cli.output import moment, print_fields, print_json
from aragora_cp.cli.session import Session, segment, with_session

_agent = click.argument("agent_id")
_json = click.option("--json", "as_json", is_flag=True, help="For programs.")
_reason = click.option("--reason", required=True, help="Why; whoever looks later wants to know.")
_seconds = click.option(
    "--for", "seconds", type=click.FloatRange(0.001), required=True, help="Seconds after which it is its own again."
)


@click.command()
@_agent
@_json
@with_session
def breaker(session: Session, agent_id: str, as_json: bool) -> None:
    """Show an agent's circuit breaker."""
    _show(session.request("GET", _path(agent_id)), as_json)


@click.command(name="force-open")
@_agent
@_reason
@_seconds
@_json
@with_session
def force_open(session: Session, agent_id: str, reason: str, seconds: float, as_json: bool) -> None:
    """Let an agent take nothing, for a time."""
    body = {"state": "open", "reason": reason, "expires_in": seconds}
    _show(session.request("POST", _path(agent_id), body=body), as_json)


@click.command(name="force-close")
@_agent
@_reason
@_seconds
@_json
@with_session
def force_close(session: Session, agent_id: str, reason: str, seconds: float, as_json: bool) -> None:
    """Let an agent take tasks, for a time, whatever its breaker would say."""
    body = {"state": "closed", "reason": reason, "expires_in": seconds}
    _show(session.request("POST", _path(agent_id), body=body), as_json)


@click.command()
@_agent
@click.option("--reason", default="", help="Why, for the audit trail.")
@_json
@with_session
def reset(session: Session, agent_id: str, reason: str, as_json: bool) -> None:
    """Close an agent's circuit breaker, empty its window and end what was forced."""
    _show(session.request("POST", _path(agent_id), body={"state": "auto", "reason": reason}), as_json)


def _path(agent_id: str) -> str:
    return f"/agents/{segment(agent_id)}/breaker"


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    state = found["state"] + (" (forced)" if found["forced"] else "") + (" (spared)" if found["spared"] else "")
    print_fields(
        {
            "agent": found["agent_id"],
            "breaker": state,
            "until": moment(found["until"]),
            "reason": found["reason"],
            "by": found["actor"],
            "opened in a row": found["trips"],
            "window": f"{found['calls']} attempts, {found['failed']} failed, {found['slow']} slow",
            "model": found["model"],
            "model's breaker": found["model_state"],
            "paused until": moment(found["paused_until"]),
        }
    )
