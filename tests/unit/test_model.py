"""States, legal moves, priorities."""

from __future__ import annotations

import dataclasses

import pytest

from aragora_cp.model import FINAL, LEGAL_MOVES, AgentSpec, Lane, NewTask, Priority, RetryPolicy, TaskStatus
from aragora_cp.store.scripts import script

S = TaskStatus


def test_every_state_has_its_moves() -> None:
    assert set(LEGAL_MOVES) == set(TaskStatus)
    assert {S.COMPLETED, S.FAILED, S.CANCELLED} == FINAL


def test_a_completed_task_never_changes() -> None:
    assert LEGAL_MOVES[S.COMPLETED] == frozenset()


def test_only_a_person_reopens_a_task_that_ended() -> None:
    assert LEGAL_MOVES[S.FAILED] == LEGAL_MOVES[S.CANCELLED] == {S.PENDING, S.HELD}


def test_whatever_is_open_can_end_in_every_way() -> None:
    for status in {S.PENDING, S.RUNNING}:
        assert LEGAL_MOVES[status] >= FINAL


def test_what_is_held_never_runs_without_having_waited() -> None:
    assert LEGAL_MOVES[S.HELD] == {S.PENDING, S.FAILED, S.CANCELLED}


def test_nothing_moves_to_itself() -> None:
    assert all(status not in targets for status, targets in LEGAL_MOVES.items())


def test_the_scripts_carry_the_same_table() -> None:
    source = script("claim_task").source
    for status, targets in LEGAL_MOVES.items():
        row = ", ".join(f"{to} = true" for to in sorted(targets))
        assert f"  {status} = {{{row}}}," in source


def test_priorities_by_name() -> None:
    assert [Priority.parse(p.label) for p in Priority] == list(Priority)
    assert sorted([Priority.LOW, Priority.CRITICAL, Priority.NORMAL, Priority.HIGH]) == list(Priority)
    assert Priority.CRITICAL == 0


@pytest.mark.parametrize("text", ["", "CRITICAL", "urgent", "0", "normal "])
def test_other_priorities_name_the_four(text: str) -> None:
    with pytest.raises(ValueError, match="must be one of: critical, high, normal, low"):
        Priority.parse(text)


def test_a_new_task_has_the_decision_records_defaults() -> None:
    new = NewTask("acme", "t", b"{}")
    assert (new.timeout, new.max_retries, new.priority, new.retry) == (300.0, 3, Priority.NORMAL, RetryPolicy())


def test_records_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        AgentSpec("a", ()).model = "x"  # type: ignore[misc]


@pytest.mark.parametrize(("slots", "running", "free"), [(2, 1, 1), (2, 2, 0), (1, 3, 0)])
def test_free_slots_are_never_negative(slots: int, running: int, free: int) -> None:
    assert Lane("l", "shared", frozenset(), slots, running).free == free
