"""`aragora-cp audit`: who did what, and whether that record still holds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import click

from aragora_cp.cli.failure import CommandFailed
from aragora_cp.cli.output import moment, print_fields, print_json, print_table, progress
from aragora_cp.cli.session import Session, optional_session, with_session
from aragora_cp.tenancy.audit_formats import FORMATS
from aragora_cp.tenancy.findings import Checkpoint, Report
from aragora_cp.tenancy.signing import public_key
from aragora_cp.tenancy.verification import Verifier

_LINES_A_WORD = 50_000
_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)

platform_option = click.option("--platform", is_flag=True, help="The platform's own trail; for a platform admin.")
as_json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


@click.group()
def audit() -> None:
    """Read, verify and export audit trails."""


@audit.command(name="list")
@click.option("--from", "earliest", metavar="TIME", help="ISO 8601, with its offset or Z.")
@click.option("--to", "latest", metavar="TIME")
@click.option("--actor", help="As token:<id>, agent:<id> or monitor.")
@click.option("--action", help="As task.submit; 'task.*' is every action on tasks.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@platform_option
@as_json_option
@with_session
def list_(
    session: Session,
    earliest: str | None,
    latest: str | None,
    actor: str | None,
    action: str | None,
    limit: int,
    platform: bool,
    as_json: bool,
) -> None:
    """List entries, newest first."""
    wanted = {"from": earliest, "to": latest, "actor": actor, "action": action, **_of(platform)}
    found = list(session.pages("/audit", wanted, limit))
    if as_json:
        print_json(found)
        return
    columns = ("actor", "action", "target", "outcome", "address", "correlation_id")
    print_table(
        ["time", *columns],
        ([moment(entry["time"]), *(entry[name] for name in columns)] for entry in found),
        empty="no entries",
    )


@audit.command()
@click.option("--format", "form", type=click.Choice(sorted(FORMATS)), default="jsonl", show_default=True)
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Without, standard output.")
@platform_option
@with_session
def export(session: Session, form: str, output: Path | None, platform: bool) -> None:
    """Write the whole trail, oldest first. JSON Lines has the seals and can be verified."""
    write, header = FORMATS[form]
    with _out(output) as out, progress("exporting", always=output is not None) as tell:
        if header:
            out.write(f"{header}\n")
        for record in exported(session, platform, tell):
            if form == "jsonl" or record["type"] == "entry":
                out.write(f"{write(record)}\n")


@audit.command()
@click.argument("file", required=False, type=_EXISTING)
@click.option(
    "--key", "keys", multiple=True, help="A public key that may sign: a file, or hexadecimal; may be repeated."
)
@click.option("--checkpoint", type=_EXISTING, help="What --write-checkpoint wrote before, kept elsewhere.")
@click.option("--write-checkpoint", type=click.Path(dir_okay=False, path_type=Path), help="Only when all is well.")
@platform_option
@as_json_option
@optional_session
def verify(
    find_session: Callable[[], Session],
    file: Path | None,
    keys: tuple[str, ...],
    checkpoint: Path | None,
    write_checkpoint: Path | None,
    platform: bool,
    as_json: bool,
) -> None:
    """Verify an exported FILE, without any network; or the running control plane's trail, judged here.

    The exit status is 0 only when nothing was found.
    """
    held = _read_checkpoint(checkpoint) if checkpoint else None
    verifier = Verifier(keys=[_read_key(key) for key in keys], checkpoint=held)
    with progress("verifying") as tell:
        if file is None:
            for record in exported(find_session(), platform, tell):
                verifier.feed(record)
        else:
            with file.open("rb") as lines:
                verifier.feed_lines(_told(lines, tell))
    report = verifier.end()
    _show(report, as_json)
    if not report.ok:
        raise CommandFailed(f"the trail does not hold: {report.breaks[0]}")
    if write_checkpoint and report.head:
        write_checkpoint.write_text(report.head.dumps() + "\n", encoding="utf-8")


def exported(session: Session, platform: bool, tell: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """The records of a whole trail, page after page."""
    cursor, seen = None, 0
    while True:
        page = session.request("GET", "/audit/export", params={**_of(platform), "cursor": cursor})
        yield from page["items"]
        seen += sum(record["type"] == "entry" for record in page["items"])
        tell(f"{seen:,} entries of at most {page['total']:,}")
        cursor = page["next_cursor"]
        if cursor is None:
            return


def _of(platform: bool) -> dict[str, str]:
    return {"platform": "true"} if platform else {}


def _told(lines: Any, tell: Callable[[str], None]) -> Iterator[bytes]:
    for number, line in enumerate(lines, start=1):
        if number % _LINES_A_WORD == 0:
            tell(f"{number:,} lines")
        yield line


@contextmanager
def _out(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    try:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            yield file
    except OSError as error:
        raise CommandFailed(f"cannot write {path}: {error.strerror}") from error


def _read_key(given: str) -> str:
    path = Path(given)
    try:
        return public_key(path.read_text(encoding="utf-8") if path.is_file() else given)
    except (OSError, ValueError, TypeError) as error:
        raise CommandFailed(f"--key: {given!r} is neither an Ed25519 public key nor a file that holds one") from error


def _read_checkpoint(path: Path) -> Checkpoint:
    try:
        return Checkpoint.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CommandFailed(f"--checkpoint: {path} holds no checkpoint") from error


def _show(report: Report, as_json: bool) -> None:
    if as_json:
        print_json(asdict(report) | {"holds": report.ok})
        return
    head = report.head
    print_fields(
        {
            "trail": report.trail,
            "sealed entries": f"{report.entries:,} in {report.seals:,} seals",
            "begins after": f"seal {report.begins_after}" if report.begins_after else "",
            "not sealed yet": f"{report.unsealed:,}" if report.unsealed else "",
            "last seal": f"{head.seal} {head.hash}" if head else "none",
            "signed by": report.keys,
            "notes": "; ".join(report.notes),
            "found": "nothing" if report.ok else [str(found) for found in report.breaks],
        }
    )
