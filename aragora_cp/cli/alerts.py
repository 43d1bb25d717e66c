"""`aragora-cp alerts`: what is wrong, and what shall not be told for a while."""

from __future__ import annotations

import click

from aragora_cp.cli.output import moment, print_fields, print_json, print_table
from aragora_cp.cli.session import Session, segment, with_session

_json = click.option("--json", "as_json", is_flag=True, help="For programs.")


@click.group()
def alerts() -> None:
    """Look at alerts and silence them."""


@alerts.command(name="list")
@click.option("--ended", is_flag=True, help="Those that ended last, instead of those that are open.")
@_json
@with_session
def list_(session: Session, ended: bool, as_json: bool) -> None:
    """List alerts."""
    found = session.request("GET", "/alerts", params={"state": "ended" if ended else "open"})["items"]
    if as_json:
        print_json(found)
        return
    print_table(
        ["alert", "severity", "state", "since", "ended", "silenced", "about"],
        (
            (
                each["rule"],
                each["severity"],
                each["state"],
                moment(each["since"]),
                moment(each["ended_at"]),
                "yes" if each["silenced"] else "",
                each["text"],
            )
            for each in found
        ),
        empty="no alerts",
    )


@alerts.command()
@_json
@with_session
def silences(session: Session, as_json: bool) -> None:
    """List silences."""
    found = session.request("GET", "/alerts/silences")["items"]
    if as_json:
        print_json(found)
        return
    print_table(
        ["silence", "alert", "subject", "workspace", "ends", "by", "reason"],
        (
            (
                each["name"],
                each["rule"] or "any",
                each["subject"] or "any",
                each["workspace"] or "all",
                moment(each["ends"]),
                each["by"],
                each["reason"],
            )
            for each in found
        ),
        empty="no silences",
    )


@alerts.command()
@click.argument("name")
@click.option("--rule", default="", help="Only alerts of this rule.")
@click.option("--subject", default="", help="Only alerts about this.")
@click.option("--for", "duration", type=float, metavar="SECONDS", default=3600.0, show_default=True)
@click.option("--reason", default="", help="Why, for whoever wonders.")
@_json
@with_session
def silence(session: Session, name: str, rule: str, subject: str, duration: float, reason: str, as_json: bool) -> None:
    """Silence alerts for a time. A silence of the same NAME is changed."""
    body = {"rule": rule, "subject": subject, "duration": duration, "reason": reason}
    made = session.request("PUT", f"/alerts/silences/{segment(name)}", body=body)
    if as_json:
        print_json(made)
        return
    print_fields({**made, "ends": moment(made["ends"])})


@alerts.command()
@click.argument("name")
@with_session
def unsilence(session: Session, name: str) -> None:
    """End a silence."""
    session.request("DELETE", f"/alerts/silences/{segment(name)}")
    click.echo(f"the silence {name} has ended")


@alerts.command()
@click.option("--waiting", is_flag=True, help="Those that wait for another try, instead of those given up.")
@_json
@with_session
def deliveries(session: Session, waiting: bool, as_json: bool) -> None:
    """List deliveries that failed."""
    params = {"state": "waiting" if waiting else "dead"}
    found = session.request("GET", "/alerts/deliveries", params=params)["items"]
    if as_json:
        print_json(found)
        return
    print_table(
        ["sink", "kind", "incident", "tries", "created", "reason"],
        (
            (each["sink"], each["kind"], each["incident"], each["attempts"], moment(each["created"]), each["reason"])
            for each in found
        ),
        empty="none",
    )


@alerts.command()
@with_session
def test(session: Session) -> None:
    """Send one message to every sink."""
    told = session.request("POST", "/alerts/test")
    click.echo(f"on its way to: {', '.join(told['sinks'])}; see `alerts deliveries --waiting` for what fails")
