"""Board: what `top` shows, made to fit the terminal that it is drawn on. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from aragora_cp.cli.output import STATUS_STYLES
from aragora_cp.cli.queues import required, span

#: From this width on, tables have all their columns.
WIDE = 110
_BREAKER_STYLES = {"open": "bold red", "half-open": "yellow", "closed": "green"}
_ORDER = {"OFFLINE": 3, "IDLE": 2, "BUSY": 1, "DRAINING": 0}
#: Lines that are not rows: the head, and each section's title and columns and the blank line before it.
_HEAD_LINES = 2
_SECTION_LINES = 3


@dataclass(frozen=True)
class Reading:
    """What was read at one time: the answer of `/queues`, and agents; `more_agents`: there are others."""

    queues: Mapping[str, Any]
    agents: Sequence[Mapping[str, Any]]
    more_agents: bool = False

    def as_json(self) -> dict[str, Any]:
        return {**self.queues, "agents": list(self.agents), "more_agents": self.more_agents}


@dataclass(frozen=True)
class Column:
    """`wide`: shown only where there is room; `left`: text, which gives way when there is not."""

    title: str
    wide: bool = False
    left: bool = False


class Board:
    """Draws the latest of two readings; the earlier one tells how fast agents are. `trouble`: why there is no newer."""

    def __init__(self, where: str, reading: Reading, before: Reading | None = None, trouble: str = "") -> None:
        self._where = where
        self._reading = reading
        self._before = before
        self._trouble = trouble

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= WIDE
        yield from self._head()
        sections = [
            ("Queues", _QUEUE_COLUMNS, list(self._queue_rows()), "nothing waits, nothing runs"),
            ("Lanes", _LANE_COLUMNS, list(self._lane_rows()), "no agent is online"),
            ("Agents", _AGENT_COLUMNS, list(self._agent_rows()), "no agents"),
        ]
        height = options.height or 10_000
        rooms = share(height - _HEAD_LINES - _SECTION_LINES * len(sections), [len(rows) for _, _, rows, _ in sections])
        for (title, columns, rows, empty), room in zip(sections, rooms, strict=True):
            yield Text()
            yield Text(_titled(title, rows, room, more=title == "Agents" and self._reading.more_agents), style="bold")
            yield _table(columns, rows[:room], wide) if rows else Text(empty, style="dim")

    def _head(self) -> Iterator[RenderableType]:
        queues = self._reading.queues
        last = queues["last_minute"]
        yield Text.assemble(
            ("aragora-cp top  ", "bold"), self._where, ("  " + queues["measured_at"][11:19] + " UTC", "dim"),
            (f"  {self._trouble}", "bold red"), no_wrap=True, overflow="ellipsis",
        )  # fmt: skip
        failed = ("red", last["failed"]) if last["failed"] else ("", 0)
        yield Text.assemble(
            f"pending {queues['pending']}  running {queues['running']}  delayed {queues['delayed']}",
            ("   last minute: ", "dim"), f"{last['completed']} done  ", (f"{failed[1]} failed", failed[0]),
            f"  {last['cancelled']} cancelled", no_wrap=True, overflow="ellipsis",
        )  # fmt: skip

    def _queue_rows(self) -> Iterator[list[str]]:
        for queue in self._reading.queues["items"]:
            waiting = [queue["waiting"][name] for name in ("critical", "high", "normal", "low")]
            served = queue["agents"] or queue["agent_id"] or not any(waiting)
            yield [
                escape(required(queue)),
                *(str(count) if count else "[dim]0[/]" for count in waiting),
                span(queue["oldest_wait"]),
                str(queue["running"]),
                "-" if queue["agent_id"] else str(queue["agents"]) if served else "[bold red]0[/]",
            ]

    def _lane_rows(self) -> Iterator[list[str]]:
        for lane in self._reading.queues["lanes"]:
            yield [
                escape(lane["lane"]),
                str(lane["agents"]),
                str(lane["slots"]),
                str(lane["running"]),
                str(lane["tickets"]),
            ]

    def _agent_rows(self) -> Iterator[list[str]]:
        earlier = {agent["agent_id"]: agent for agent in self._before.agents} if self._before else {}
        seconds = _seconds_between(self._before, self._reading)
        for agent in sorted(self._reading.agents, key=_urgency):
            status, breaker = agent["status"], agent["breaker"]
            yield [
                escape(agent["agent_id"]),
                f"[{STATUS_STYLES.get(status, '')}]{status}[/]" if status in STATUS_STYLES else escape(status),
                f"[{_BREAKER_STYLES.get(breaker, 'bold')}]{escape(breaker)}[/]",
                f"{len(agent['running'])}/{agent['concurrency']}",
                _rate(agent, earlier.get(agent["agent_id"]), seconds),
                _count(agent["completed"]),
                f"[red]{agent['failed']}[/]" if agent["failed"] else _count(agent["failed"]),
                escape(agent["model"]),
                escape(", ".join(agent["capabilities"])),
            ]


_QUEUE_COLUMNS = (
    Column("requires", left=True),
    *map(Column, ("critical", "high", "normal", "low", "oldest", "running", "agents")),
)
_LANE_COLUMNS = (Column("lane", left=True), *map(Column, ("agents", "slots", "running", "tickets")))
_AGENT_COLUMNS = (
    Column("agent", left=True),
    Column("status"),
    Column("breaker"),
    Column("runs"),
    Column("per min"),
    Column("done", wide=True),
    Column("failed"),
    Column("model", wide=True, left=True),
    Column("capabilities", left=True),
)


def share(lines: int, wanted: Sequence[int]) -> list[int]:
    """How many rows each section gets of `lines`: at least one each, what one does not need goes to the others."""
    given = [min(1, want) for want in wanted]
    while sum(given) < lines:
        needy = [n for n, want in enumerate(wanted) if given[n] < want]
        if not needy:
            break
        given[min(needy, key=lambda n: given[n])] += 1
    return given


def _titled(title: str, rows: Sequence[Any], room: int, *, more: bool) -> str:
    if more:
        return f"{title} ({room} of more than {len(rows)})"
    return f"{title} ({room} of {len(rows)})" if room < len(rows) else f"{title} ({len(rows)})"


def _table(columns: Sequence[Column], rows: Iterable[Sequence[str]], wide: bool) -> Table:
    kept = [n for n, column in enumerate(columns) if wide or not column.wide]
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="dim")
    for n in kept:
        column = columns[n]
        table.add_column(
            column.title,
            justify="left" if column.left or column.title in ("status", "breaker") else "right",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if column.left and n == kept[-1] else None,
            min_width=None if column.left else len(column.title),
        )
    for row in rows:
        table.add_row(*(row[n] for n in kept))
    return table


def _urgency(agent: Mapping[str, Any]) -> tuple[bool, int, str]:
    """What wants a look stands first: breakers that are not closed, then agents that work."""
    return agent["breaker"] == "closed", _ORDER.get(agent["status"], 0), agent["agent_id"]


def _rate(agent: Mapping[str, Any], before: Mapping[str, Any] | None, seconds: float) -> str:
    if before is None or seconds <= 0 or agent["completed"] is None or before["completed"] is None:
        return "-"
    return f"{max(0, agent['completed'] - before['completed']) * 60 / seconds:.0f}"


def _count(number: int | None) -> str:
    return "-" if number is None else str(number)


def _seconds_between(before: Reading | None, after: Reading) -> float:
    if before is None:
        return 0.0
    first, last = (datetime.fromisoformat(each.queues["measured_at"]) for each in (before, after))
    return (last - first).total_seconds()
