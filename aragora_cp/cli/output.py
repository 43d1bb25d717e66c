"""What commands print: tables for people, JSON for programs. Progress goes to standard error of a terminal only."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

#: Width of a table that no terminal bounds.
_WIDE = 200

STATUS_STYLES = {
    "COMPLETED": "green",
    "FAILED": "red",
    "CANCELLED": "yellow",
    "HELD": "magenta",
    "RUNNING": "cyan",
    "IDLE": "green",
    "BUSY": "cyan",
    "DRAINING": "yellow",
    "OFFLINE": "red",
    "active": "green",
    "suspended": "yellow",
    "deleting": "red",
}


def console(*, err: bool = False) -> Console:
    stream = sys.stderr if err else sys.stdout
    return Console(
        file=stream, width=None if stream.isatty() else _WIDE, highlight=False, soft_wrap=not stream.isatty()
    )


def print_json(value: Any) -> None:
    """Indented, as it came; for programs."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """One line a row. `empty` is said when there is none."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    count = 0
    for row in rows:
        table.add_row(*(styled(cell) for cell in row))
        count += 1
    if count:
        console().print(table)
    else:
        click.echo(empty)


def print_fields(fields: Mapping[str, Any]) -> None:
    """A record, one field a line; fields without a value are left out."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in fields.items():
        if value not in (None, "", [], {}):
            table.add_row(name.replace("_", " "), styled(value))
    console().print(table)


def styled(value: Any) -> str:
    """One cell, escaped; a known status in its colour."""
    if value is None or value == "":
        return "-"
    if isinstance(value, str) and value in STATUS_STYLES:
        return f"[{STATUS_STYLES[value]}]{value}[/]"
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return escape(", ".join(value)) or "-"
    return escape(value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False))


def moment(text: str | None) -> str:
    """An instant of the API, to the second."""
    return "-" if not text else f"{text[:10]} {text[11:19]}"


@contextmanager
def progress(text: str, *, always: bool = False) -> Iterator[Callable[[str], None]]:
    """A line that lives while something long goes on; call what you get to change it. Without a terminal nothing is
    shown, or with `always` each new text on a line of its own."""
    err = console(err=True)
    if err.is_terminal:
        with err.status(escape(text)) as status:
            yield lambda new: status.update(escape(new))
    elif always:
        click.echo(text, err=True)
        yield lambda new: click.echo(new, err=True)
    else:
        yield lambda _: None
