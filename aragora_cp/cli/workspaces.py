"""`aragora-cp workspaces`: the tenants and their settings."""

from __future__ import annotations

import difflib
import json
import sys
from typing import Any

import click

from aragora_cp.cli.failure import CommandFailed
from aragora_cp.cli.output import moment, print_fields, print_json, print_table
from aragora_cp.cli.session import Session, segment, with_session

_NONE = "none"
_LIMITS = ("max_pending", "max_running", "max_payload_bytes", "max_result_bytes", "max_agents", "max_tokens")
_NAMES_ASKED = 1000

json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


class _Limit(click.ParamType):
    """A number, or `none`."""

    name = "number"

    def __init__(self, kind: type[int] | type[float]) -> None:
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == _NONE or not isinstance(value, str):
            return value
        try:
            return self._kind(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor {_NONE!r}", param, ctx)


class _Json(click.ParamType):
    """A JSON object, or `none`."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == _NONE or not isinstance(value, str):
            return value
        try:
            found = json.loads(value)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            self.fail(f"{value!r} is neither a JSON object nor {_NONE!r}", param, ctx)
        return found


def _settings(command: Any) -> Any:
    """Options for every setting."""
    options = [
        click.option("--name", help="For people."),
        click.option("--weight", type=int, help="Its share beside the others', 1 to 100."),
        *(
            click.option(f"--{limit.replace('_', '-')}", type=_Limit(int), metavar="NUMBER|none", help=told)
            for limit, told in zip(
                _LIMITS,
                (
                    "Tasks that may wait.",
                    "Tasks that may run at a time.",
                    "Size of a payload.",
                    "Size of a result.",
                    "Private agents at a time.",
                    "Tokens at a time.",
                ),
                strict=True,
            )
        ),
        click.option("--retention", type=_Limit(float), metavar="SECONDS|none", help="How long a result is kept."),
        click.option(
            "--placement", type=click.Choice(["auto", "private", "shared"]), help="Which agents run its tasks."
        ),
        click.option("--encryption/--no-encryption", default=None, help="Keep nothing unencrypted."),
        click.option("--unknown-price", metavar="PRICE|refuse|none", help="Of a million tokens without a price."),
        click.option(
            "--rate-limits",
            type=_Json(),
            metavar="JSON|none",
            help='All of them, as {"submit": {"limit": 100, "period": 60}}; none: the platform\'s.',
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def workspaces() -> None:
    """Look after workspaces; with a token of a platform admin."""


@workspaces.command()
@click.argument("tenant", metavar="WORKSPACE")
@_settings
@json_option
@with_session
def create(session: Session, tenant: str, as_json: bool, **settings: Any) -> None:
    """Create a workspace: 1 to 63 of a-z, 0-9 and -."""
    _show(session.request("POST", "/workspaces", body={"workspace": tenant, **_given(settings)}), as_json)


@workspaces.command(name="list")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True)
@json_option
@with_session
def list_(session: Session, limit: int, as_json: bool) -> None:
    """List workspaces, by name."""
    found = list(session.pages("/workspaces", {}, limit))
    if as_json:
        print_json(found)
        return
    print_table(
        ["workspace", "status", "weight", "max pending", "max running", "agents", "created", "name"],
        (
            (
                each["workspace"],
                each["status"],
                f"{each['weight']}",
                _number(each["max_pending"]),
                _number(each["max_running"]),
                each["placement"],
                moment(each["created_at"]),
                each["name"],
            )
            for each in found
        ),
        empty="no workspaces",
    )


@workspaces.command()
@click.argument("tenant", metavar="WORKSPACE")
@json_option
@with_session
def show(session: Session, tenant: str, as_json: bool) -> None:
    """Show a workspace."""
    _show(_ask(session, "GET", tenant), as_json)


@workspaces.command(name="set")
@click.argument("tenant", metavar="WORKSPACE")
@_settings
@json_option
@with_session
def set_(session: Session, tenant: str, as_json: bool, **settings: Any) -> None:
    """Change settings of a workspace; those that are not given stay as they are."""
    body = _given(settings)
    if not body:
        raise click.UsageError("which setting? `aragora-cp workspaces set --help` names them")
    _show(_ask(session, "PATCH", tenant, body), as_json)


@workspaces.command()
@click.argument("tenant", metavar="WORKSPACE")
@json_option
@with_session
def suspend(session: Session, tenant: str, as_json: bool) -> None:
    """Let nothing new in and nothing start; what runs is finished."""
    _show(_ask(session, "PATCH", tenant, {"status": "suspended"}), as_json)


@workspaces.command()
@click.argument("tenant", metavar="WORKSPACE")
@json_option
@with_session
def resume(session: Session, tenant: str, as_json: bool) -> None:
    """Undo `suspend`."""
    _show(_ask(session, "PATCH", tenant, {"status": "active"}), as_json)


@workspaces.command()
@click.argument("tenant", metavar="WORKSPACE")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@with_session
def delete(session: Session, tenant: str, yes: bool, as_json: bool) -> None:
    """Delete a workspace with all that it has: tasks, results, agents, tokens, keys. There is no way back."""
    if not yes:
        found = _ask(session, "GET", tenant)
        if not sys.stdin.isatty():
            raise CommandFailed("nothing was deleted: give --yes where nobody can be asked")
        click.confirm(f"Delete {found['workspace']} and all that it has?", abort=True, err=True)
    _show(_ask(session, "DELETE", tenant), as_json)


def _ask(session: Session, method: str, workspace: str, body: Any = None) -> Any:
    """Raises CommandFailed; for a name that is not there with the one that was probably meant."""
    try:
        return session.request(method, f"/workspaces/{segment(workspace)}", body=body)
    except CommandFailed as error:
        if "(not-found)" not in error.message:
            raise
        names = [each["workspace"] for each in session.pages("/workspaces", {}, _NAMES_ASKED)]
        raise CommandFailed(f"there is no workspace {workspace!r}{meant(workspace, names)}") from None


def meant(typed: str, names: list[str]) -> str:
    """What was probably meant, as the end of a message."""
    near = difflib.get_close_matches(typed, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    """As the body has them: what was not given is left out, `none` is no limit."""
    return {name: None if value == _NONE else value for name, value in settings.items() if value is not None}


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value}"


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    shown = {name: f"{value}" if isinstance(value, int | float) else value for name, value in found.items()}
    print_fields(
        shown | {"encryption": "required" if found["encryption"] else "", "created_at": moment(found["created_at"])}
    )
