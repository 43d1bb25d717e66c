"""`aragora-cp budgets`: what may be spent, what is, and on what; and the prices that cost is worked out by."""

from __future__ import annotations

import json
from typing import Any

import click

from aragora_cp.cli.output import moment, print_fields, print_json, print_table
from aragora_cp.cli.session import Session, segment, with_session

json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


@click.group()
def budgets() -> None:
    """Look after a workspace's budgets."""


@budgets.command(name="list")
@json_option
@with_session
def list_(session: Session, as_json: bool) -> None:
    """List budgets, by name."""
    found = session.request("GET", "/budgets")["items"]
    if as_json:
        print_json(found)
        return
    print_table(
        ["budget", "for", "limit", "spent", "reserved", "overrun", "period", "resets", "kind"],
        (
            (
                each["name"],
                _scope(each),
                each["limit"],
                each["spent"],
                each["reserved"],
                each["overrun"],
                each["period"],
                moment(each["resets_at"]),
                "hard" if each["hard"] else "soft",
            )
            for each in found
        ),
        empty="no budgets",
    )


@budgets.command()
@click.argument("name")
@json_option
@with_session
def show(session: Session, name: str, as_json: bool) -> None:
    """Show a budget."""
    _show(session.request("GET", f"/budgets/{segment(name)}"), as_json)


@budgets.command(name="set")
@click.argument("name")
@click.argument("limit")
@click.option("--period", default="month", show_default=True, help="day, week, month or rolling:<seconds>.")
@click.option("--soft", is_flag=True, help="Only tell, refuse nothing.")
@click.option("--task-type", help="For tasks of this type only.")
@click.option("--model", help="For the use of this model only.")
@click.option("--token-id", help="For what this token submits only.")
@click.option("--timezone", default="UTC", show_default=True, help="Where its days begin.")
@click.option("--default-estimate", default="0", show_default=True, help="What a task is taken to cost, unless known.")
@json_option
@with_session
def set_(session: Session, name: str, limit: str, as_json: bool, soft: bool, **more: Any) -> None:
    """Set a budget: so much in each period, such as 10.00."""
    scope = {field: more.pop(field) for field in ("task_type", "model", "token_id")}
    given = {field: value for field, value in scope.items() if value is not None}
    body = {"limit": limit, "hard": not soft, **more, **({"scope": given} if given else {})}
    _show(session.request("PUT", f"/budgets/{segment(name)}", body=body), as_json)


@budgets.command()
@click.argument("name")
@with_session
def delete(session: Session, name: str) -> None:
    """Delete a budget, with what it has counted."""
    session.request("DELETE", f"/budgets/{segment(name)}")
    click.echo(f"{name}: deleted")


@budgets.command()
@click.option("--by", default="day", type=click.Choice(["day", "task_type", "model", "token"]), show_default=True)
@click.option("--from", "from_", help="A time such as 2026-01-31T00:00:00Z; default: 30 days before.")
@click.option("--to", help="Default: now.")
@json_option
@with_session
def usage(session: Session, by: str, from_: str | None, to: str | None, as_json: bool) -> None:
    """What the workspace has used."""
    found = session.request("GET", "/usage", params={"group_by": by, "from": from_, "to": to})
    if as_json:
        print_json(found)
        return
    columns = ("tasks", "cost", "input_tokens", "output_tokens", "cached_tokens")
    rows = [*found["items"], found["total"] | {"value": "total"}]
    print_table(
        [by.replace("_", " "), "tasks", "cost", "input", "output", "cached"],
        ((row["value"], *(f"{row[column]}" for column in columns)) for row in rows),
        empty="",
    )


@budgets.command()
@click.argument("file", type=click.File(), required=False)
@click.option("--platform", is_flag=True, help="The platform's own table.")
@click.option("--version", type=click.IntRange(1), help="An earlier version.")
@json_option
@with_session
def prices(session: Session, file: Any, platform: bool, version: int | None, as_json: bool) -> None:
    """Show the prices of models, or set all of them from FILE.

    FILE is JSON, of a million tokens each: {"model": {"input": "2.50", "output": "10.00", "cached_input": "1.25"}}.
    """
    params = {"platform": "true" if platform else None, "version": version}
    if file is not None:
        if version:
            raise click.UsageError("a version never changes: give FILE or --version")
        try:
            told = json.load(file)
        except ValueError as error:
            raise click.UsageError(f"{file.name} is not JSON: {error}") from None
        made = session.request("PUT", "/prices", body={"prices": told}, params=params)
        click.echo(f"version {made['version']}: prices of {len(made['prices'])} models")
        return
    found = session.request("GET", "/prices", params=params)
    if as_json:
        print_json(found)
        return
    print_table(
        ["model", "input", "output", "cached input", "of"],
        (
            (model, each["input"], each["output"], each["cached_input"], f"{whose}:{found[whose]['version']}")
            for whose in ("workspace", "platform")
            for model, each in found[whose]["prices"].items()
        ),
        empty="no prices",
    )


def _scope(budget: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in (budget["scope"] or {}).items()) or "everything"


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    kind = "hard" if found["hard"] else "soft"
    print_fields({**found, "hard": kind, "scope": _scope(found), "resets_at": moment(found["resets_at"])})
