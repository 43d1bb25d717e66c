"""What `top` draws."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from aragora_cp.cli.board import Board, Reading, share

QUEUES: dict[str, Any] = {
    "items": [
        {
            "required_capabilities": ["code", "gpu"],
            "placement": "private",
            "agent_id": None,
            "waiting": {"critical": 1, "high": 0, "normal": 20, "low": 0},
            "oldest_wait": 75.0,
            "running": 0,
            "lanes": [],
            "agents": 0,
        }
    ],
    "lanes": [
        {"lane": f"shared.c{n}", "pool": "shared", "capabilities": [f"c{n}"], "agents": 1, "slots": 2, "running": 1,
         "tickets": 3}
        for n in range(5)
    ],
    "pending": 21,
    "running": 1,
    "delayed": 2,
    "last_minute": {"completed": 40, "failed": 3, "cancelled": 0},
    "complete": True,
    "measured_at": "2026-01-02T03:04:30.000Z",
}  # fmt: skip


def agent(n: int, **more: Any) -> dict[str, Any]:
    return {
        "agent_id": f"agent-{n:03}",
        "status": "IDLE",
        "breaker": "closed",
        "running": [],
        "concurrency": 2,
        "completed": 100,
        "failed": 0,
        "model": "ruff",
        "capabilities": ["code", "code.python", "code.review"],
    } | more


def drawn(reading: Reading, columns: int, rows: int = 40, **more: Any) -> list[str]:
    out = Console(file=io.StringIO(), width=columns, height=rows, force_terminal=False, highlight=False)
    with out.capture() as captured:
        out.print(Board("http://plane", reading, **more), height=rows)
    return [line.rstrip() for line in captured.get().splitlines()]


@pytest.mark.parametrize("columns", [40, 80, 160])
def test_it_fits_any_terminal(columns: int) -> None:
    lines = drawn(Reading(QUEUES, [agent(n) for n in range(300)]), columns, rows=24)
    assert max(map(len, lines)) <= columns
    assert len(lines) <= 24
    assert any("of 300" in line for line in lines)


def test_a_wide_terminal_has_more_columns() -> None:
    narrow, wide = ("\n".join(drawn(Reading(QUEUES, [agent(1)]), columns)) for columns in (80, 160))
    assert "model" not in narrow
    assert "model" in wide
    assert "code, code.python, code.review" in wide


def test_what_nobody_serves_and_how_long_it_waits_are_seen() -> None:
    text = "\n".join(drawn(Reading(QUEUES, []), 80))
    assert "code, gpu (private)         1     0      20    0  1.2 min        0       0" in text
    assert "40 done  3 failed" in text
    assert "pending 21  running 1  delayed 2" in text


def test_breakers_that_are_not_closed_stand_first_and_rates_follow_from_two_readings() -> None:
    before = Reading(QUEUES | {"measured_at": "2026-01-02T03:04:00.000Z"}, [agent(1), agent(2, completed=95)])
    after = Reading(QUEUES, [agent(1, completed=101), agent(2, breaker="open"), agent(3, completed=None)])
    rows = [line.split() for line in drawn(after, 80, before=before) if line.startswith("agent-")]
    assert [(row[0], row[2], row[4]) for row in rows] == [
        ("agent-002", "open", "10"),
        ("agent-001", "closed", "2"),
        ("agent-003", "closed", "-"),
    ]


def test_names_are_no_markup_and_trouble_is_told() -> None:
    text = "\n".join(drawn(Reading(QUEUES, [agent(1, agent_id="[red]x[/]")]), 80, trouble="cannot reach it"))
    assert "[red]x[/]" in text
    assert "cannot reach it" in text


@pytest.mark.parametrize(
    ("lines", "wanted", "given"),
    [(30, [2, 3, 4], [2, 3, 4]), (9, [1, 50, 50], [1, 4, 4]), (0, [5, 0, 5], [1, 0, 1])],
)
def test_sections_share_the_room(lines: int, wanted: list[int], given: list[int]) -> None:
    assert share(lines, wanted) == given
