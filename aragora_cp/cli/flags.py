"""`aragora-cp flags`: feature flags, the platform's and the workspaces' own."""

from __future__ import annotations

import json
from typing import Any

import click

from aragora_cp.cli.failure import CommandFailed
from aragora_cp.cli.output import moment, print_fields, print_json, print_table
from aragora_cp.cli.session import Session, segment, with_session
from aragora_cp.cli.tasks import read_payload

json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")
platform_option = click.option(
    "--platform", is_flag=True, help="The platform's flag, not the workspace's own; with a token of a platform admin."
)


@click.group()
def flags() -> None:
    """Look after feature flags."""


@flags.command(name="list")
@platform_option
@json_option
@with_session
def list_(session: Session, platform: bool, as_json: bool) -> None:
    """List the flags that count in the workspace, by name."""
    found = session.request("GET", "/flags", params=_home(platform))["items"]
    if as_json:
        print_json(found)
        return
    print_table(
        ["flag", "of", "version", "state", "default", "rules", "changed", "by"],
        (
            (
                each["name"],
                each["source"],
                f"{each['version']}",
                (each["flag"] or {}).get("state"),
                (each["flag"] or {}).get("defaultVariant"),
                "yes" if (each["flag"] or {}).get("targeting") else "",
                moment(each["at"]),
                each["by"],
            )
            for each in found
        ),
        empty="no flags",
    )


@flags.command()
@click.argument("name")
@platform_option
@json_option
@with_session
def show(session: Session, name: str, platform: bool, as_json: bool) -> None:
    """Show a flag and its versions."""
    found = session.request("GET", f"/flags/{segment(name)}", params=_home(platform))
    if as_json:
        print_json(found)
        return
    _show(found)
    print_table(
        ["version", "changed", "by", "flag"],
        (
            (
                f"{each['version']}",
                moment(each["at"]),
                each["by"],
                json.dumps(each["flag"]) if each["flag"] else "deleted",
            )
            for each in found["versions"]
        ),
        empty="",
    )


@flags.command(name="set")
@click.argument("name")
@click.argument("flag")
@platform_option
@json_option
@with_session
def set_(session: Session, name: str, flag: str, platform: bool, as_json: bool) -> None:
    """Give a flag its next version: FLAG is flagd's JSON for one flag, @FILE that holds it, or - for standard input."""
    body = read_payload(flag)
    if not isinstance(body, dict):
        raise CommandFailed("a flag must be a JSON object with state, variants and defaultVariant")
    made = session.request("PUT", f"/flags/{segment(name)}", body=body, params=_home(platform))
    print_json(made) if as_json else _show(made)


@flags.command()
@click.argument("name")
@platform_option
@with_session
def delete(session: Session, name: str, platform: bool) -> None:
    """Delete a flag; its versions are kept."""
    session.request("DELETE", f"/flags/{segment(name)}", params=_home(platform))
    click.echo(f"{name} is deleted")


@flags.command()
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@platform_option
@json_option
@with_session
def rollback(session: Session, name: str, version: int, platform: bool, as_json: bool) -> None:
    """Let a flag say again what it said in an earlier VERSION."""
    made = session.request(
        "POST", f"/flags/{segment(name)}/rollback", body={"version": version}, params=_home(platform)
    )
    print_json(made) if as_json else _show(made)


@flags.command()
@click.argument("name")
@click.option("--key", "targeting_key", help="What shares are of; without, the workspace.")
@click.option("--context", default="{}", help="JSON object that rules can ask, @FILE or -.")
@click.option("--default", help="JSON that answers when the flag cannot.")
@json_option
@with_session
def evaluate(
    session: Session, name: str, targeting_key: str | None, context: str, default: str | None, as_json: bool
) -> None:
    """Evaluate a flag for the workspace, and say how its value came about."""
    body: dict[str, Any] = {"name": name, "context": read_payload(context)}
    if targeting_key is not None:
        body["targeting_key"] = targeting_key
    if default is not None:
        body["default"] = read_payload(default)
    found = session.request("POST", "/flags/evaluate", body=body)
    if as_json:
        print_json(found)
        return
    version = f"{found['version']}" if found["version"] else ""
    print_fields({**found, "value": json.dumps(found["value"], ensure_ascii=False), "version": version})


def _home(platform: bool) -> dict[str, Any]:
    return {"platform": "true" if platform else None}


def _show(found: dict[str, Any]) -> None:
    print_fields(
        {
            "flag": found["name"],
            "of": found["source"],
            "version": f"{found['version']}",
            "changed": moment(found["at"]),
            "by": found["by"],
            "says": found["flag"],
        }
    )
