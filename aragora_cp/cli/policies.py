"""`aragora-cp policies`: rules about who may do what."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from aragora_cp.cli.failure import CommandFailed
from aragora_cp.cli.output import moment, print_fields, print_json, print_table
from aragora_cp.cli.session import Session, segment, with_session

json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")
platform_option = click.option("--platform", is_flag=True, help="The platform's policies; for its admins.")
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def policies() -> None:
    """Look after the rules that say who may do what."""


@policies.command(name="list")
@platform_option
@json_option
@with_session
def list_(session: Session, platform: bool, as_json: bool) -> None:
    """List the policies in force, and those that only watch."""
    _show_all(session.request("GET", "/policies", params=_scope(platform))["items"], as_json)


@policies.command()
@click.argument("name")
@platform_option
@json_option
@with_session
def show(session: Session, name: str, platform: bool, as_json: bool) -> None:
    """Show a policy's rules, and how often its shadow would have decided otherwise."""
    found = session.request("GET", f"/policies/{segment(name)}", params=_scope(platform))
    if as_json:
        print_json(found)
        return
    for each in found["versions"]:
        _show(each, as_json=False)
        click.echo(each["source"])
    for each in found["mismatches"]:
        click.echo(f"version {each['version']} in shadow mode: {each['count']} decisions would be others")


@policies.command()
@click.argument("name")
@click.argument("source", type=_FILE)
@click.option("--tests", type=_FILE, required=True, help="JSON: a list of {request, expect}.")
@click.option("--mode", type=click.Choice(["enforce", "shadow"]), default="enforce", show_default=True)
@platform_option
@json_option
@with_session
def put(session: Session, name: str, source: Path, tests: Path, mode: str, platform: bool, as_json: bool) -> None:
    """Publish the rules in the file SOURCE as a new version; only when its tests pass."""
    body = {"source": _text(source), "tests": _json(tests), "mode": mode}
    _show(session.request("PUT", f"/policies/{segment(name)}", body=body, params=_scope(platform)), as_json)


@policies.command()
@click.argument("name")
@platform_option
@with_session
def delete(session: Session, name: str, platform: bool) -> None:
    """Take a policy out of force; its versions stay."""
    session.request("DELETE", f"/policies/{segment(name)}", params=_scope(platform))
    click.echo(f"{name} is not in force any more")


@policies.command()
@click.argument("source", type=_FILE)
@click.option("--tests", type=_FILE, required=True, help="JSON: a list of {request, expect}.")
@json_option
@with_session
def test(session: Session, source: Path, tests: Path, as_json: bool) -> None:
    """Run tests against the rules in the file SOURCE alone; the exit status is 0 only when all pass."""
    cases, text = _json(tests), _text(source)
    if not isinstance(cases, list) or not all(isinstance(each, dict) and "request" in each for each in cases):
        raise CommandFailed(f"{tests} must hold a list of {{request, expect}}")
    rows = []
    for case in cases:
        decision = session.request("POST", "/policies/test", body={"request": case["request"], "source": text})
        rows.append({"expect": case.get("expect"), "got": decision["effect"], "reason": decision["reason"]})
    if as_json:
        print_json(rows)
    else:
        print_table(
            ["test", "expected", "got", "why"],
            ((f"{n}", row["expect"], row["got"], row["reason"]) for n, row in enumerate(rows, start=1)),
            empty="no tests",
        )
    wrong = sum(row["expect"] != row["got"] for row in rows)
    if wrong:
        raise CommandFailed(f"{wrong} of {len(rows)} tests fail")


@policies.command()
@click.argument("request", type=_FILE)
@json_option
@with_session
def explain(session: Session, request: Path, as_json: bool) -> None:
    """Say how the request in a JSON file is decided now, and by which rules."""
    found = session.request("POST", "/policies/test", body={"request": _json(request)})
    if as_json:
        print_json(found)
        return
    print_fields(
        {
            "effect": found["effect"],
            "why": found["reason"],
            "rules": found["rules"],
            "version": found["policy_version"],
            "approvals": f"{found['approvals']}" if found["approvals"] else "",
        }
    )


@policies.command()
@click.argument("name")
@platform_option
@json_option
@with_session
def versions(session: Session, name: str, platform: bool, as_json: bool) -> None:
    """List the versions of a policy, newest first."""
    found = session.request("GET", f"/policies/{segment(name)}/versions", params=_scope(platform))
    _show_all(found["items"], as_json)


@policies.command()
@click.argument("name")
@click.option("--version", type=click.IntRange(1), help="Default: what was in force before the present one.")
@platform_option
@json_option
@with_session
def rollback(session: Session, name: str, version: int | None, platform: bool, as_json: bool) -> None:
    """Put an earlier version of a policy in force."""
    body = {"version": version} if version else {}
    path = f"/policies/{segment(name)}/rollback"
    _show(session.request("POST", path, body=body, params=_scope(platform)), as_json)


@policies.command()
@click.argument("name")
@click.argument("source", type=_FILE)
@click.option("--last", type=click.IntRange(1, 1000), default=1000, show_default=True, help="So many decisions.")
@platform_option
@json_option
@with_session
def replay(session: Session, name: str, source: Path, last: int, platform: bool, as_json: bool) -> None:
    """Judge the last decisions again with the rules in the file SOURCE in the place of NAME; nothing changes."""
    body = {"source": _text(source), "last": last}
    found = session.request("POST", f"/policies/{segment(name)}/replay", body=body, params=_scope(platform))
    if as_json:
        print_json(found)
        return
    click.echo(f"{found['differing']} of {found['replayed']} decisions would be others")
    print_table(
        ["at", "who", "was", "would be", "rules"],
        (
            (
                moment(each["decision"]["at"]),
                each["decision"]["actor"],
                each["decision"]["effect"],
                each["effect"],
                " ".join(each["rules"]),
            )
            for each in found["differences"]
        ),
        empty="no differences",
    )


def _scope(platform: bool) -> dict[str, Any]:
    return {"platform": "true" if platform else None}


def _text(path: Path) -> str:
    """Raises CommandFailed."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandFailed(f"{path} is not UTF-8") from error


def _json(path: Path) -> Any:
    """Raises CommandFailed."""
    try:
        return json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise CommandFailed(f"{path} is not JSON: {error}") from error


def _show_all(found: Sequence[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print_table(
        ["policy", "version", "mode", "author", "published"],
        (
            (each["name"], f"{each['version']}", each["mode"], each["author"], moment(each["created_at"]))
            for each in found
        ),
        empty="no policies",
    )


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print_fields(
        {
            "policy": found["name"],
            "version": f"{found['version']}",
            "mode": found["mode"],
            "author": found["author"],
            "published": moment(found["created_at"]),
        }
    )
