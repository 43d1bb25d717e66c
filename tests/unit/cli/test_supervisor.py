"""The supervisor with small real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from aragora_cp.cli import supervisor as module
from aragora_cp.cli.supervisor import GaveUp, Program, Supervisor
from tests.waiting import eventually

SLEEPER = "echo ready; exec sleep 600"
#: Ignores SIGTERM, and has a child that does the same.
STUBBORN = "trap '' TERM; sleep 600 & echo child $!; while :; do sleep 600; done"


class Stage:
    """A supervisor and what it said."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []
        self.exits: list[str] = []
        self.changes: list[dict[str, int]] = []
        self.supervisor = Supervisor(
            lambda name, line: self.said.append((name, line)),
            on_exit=self.exits.append,
            on_change=lambda: self.changes.append(self.supervisor.pids),
        )

    def start(self, script: str, *, name: str = "one", grace: float = 5.0) -> None:
        self.supervisor.start(Program(name, ("/bin/sh", "-c", script), dict(os.environ), grace))

    def until(self, check: Callable[[], object], what: str) -> None:
        def look() -> object:
            self.supervisor.step(0.02)
            return check()

        eventually(look, 10, what, pause=0)

    def lines(self, name: str) -> list[str]:
        return [line for speaker, line in self.said if speaker == name]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    stage = Stage()
    yield stage
    stage.supervisor.close()


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_every_line_is_passed_on_whole(stage: Stage) -> None:
    stage.start("printf 'one\\r\\ntw'; printf 'o\\n\\377'; exec sleep 600")
    stage.until(lambda: "two" in stage.lines("one"), "both lines are there")
    assert stage.lines("one") == ["one", "two"]
    stage.supervisor.stop()
    assert stage.lines("one") == ["one", "two", "\ufffd"]


def test_output_without_line_ends_is_passed_on_too(stage: Stage) -> None:
    stage.start("head -c 200000 /dev/zero | tr '\\0' x; exec sleep 600")
    stage.until(lambda: sum(map(len, stage.lines("one"))) >= 130_000, "long output is passed on in pieces")


def test_a_program_may_close_its_output_and_go_on(stage: Stage) -> None:
    stage.start("exec sleep 600 >/dev/null 2>&1")
    for _ in range(3):
        stage.supervisor.step(0.01)
    assert list(stage.supervisor.pids) == ["one"]


def test_whatever_dies_is_named_and_started_again(stage: Stage) -> None:
    stage.start(SLEEPER)
    stage.start(SLEEPER, name="other")
    stage.until(lambda: len(stage.said) == 2, "both run")
    before = stage.supervisor.pids
    os.kill(before["one"], signal.SIGKILL)
    stage.until(lambda: len(stage.lines("one")) == 2, "it runs again")
    after = stage.supervisor.pids
    assert after["other"] == before["other"]
    assert after["one"] != before["one"]
    death, rebirth = stage.lines("")
    assert death == f"one (process {before['one']}) was killed by SIGKILL; starting it again in 0.01 s"
    assert rebirth == f"one is process {after['one']} now"
    assert stage.exits == ["one"]
    assert stage.changes[-2:] == [{"other": before["other"]}, after]


def test_one_that_keeps_dying_at_its_start_is_given_up(stage: Stage) -> None:
    stage.start(SLEEPER, name="other")
    stage.start("exit 3")
    with pytest.raises(GaveUp, match=r"one \(process \d+\) exited with status 3, at its start and 5 times in a row"):
        stage.until(lambda: False, "it is given up")
    assert stage.exits == ["one"] * 4


def test_one_that_lived_long_is_never_given_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHORT_LIFE", 0.0)
    stage.start("exit 3")
    stage.until(lambda: len(stage.exits) > 2 * module.MOST_SHORT_LIVES, "it is started again and again")


def test_what_a_dead_program_leaves_behind_is_killed(stage: Stage) -> None:
    stage.start("sleep 600 & echo $!; wait")
    stage.until(lambda: stage.lines("one"), "its child runs")
    child = int(stage.lines("one")[0])
    os.kill(stage.supervisor.pids["one"], signal.SIGKILL)
    stage.until(lambda: stage.exits, "its death is noticed")
    eventually(lambda: gone(child), 5, "its child is gone")


def test_stopping_asks_first_and_starts_nothing_again(stage: Stage) -> None:
    stage.start("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done")
    stage.until(lambda: stage.lines("one"), "it runs")
    stage.supervisor.stop()
    assert stage.lines("one") == ["ready", "bye"]
    stage.supervisor.step(0.05)
    assert stage.supervisor.pids == {}
    assert stage.lines("") == []


@pytest.mark.parametrize(("grace", "at_once"), [(0.2, False), (600.0, True)])
def test_what_does_not_stop_is_killed_with_its_children(stage: Stage, grace: float, at_once: bool) -> None:
    stage.start(STUBBORN, grace=grace)
    stage.until(lambda: stage.lines("one"), "it runs")
    child = int(stage.lines("one")[0].split()[1])
    stage.supervisor.stop(at_once=lambda: at_once)
    assert stage.supervisor.pids == {}
    eventually(lambda: gone(child), 5, "its child is gone")


def test_some_can_be_stopped_before_the_others(stage: Stage) -> None:
    stage.start(SLEEPER)
    stage.start(SLEEPER, name="store")
    stage.supervisor.stop(["one", "never started"])
    assert list(stage.supervisor.pids) == ["store"]


def test_a_killed_watcher_is_replaced(stage: Stage) -> None:
    stage.start(SLEEPER)
    first = stage.supervisor.watcher_pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    stage.until(lambda: stage.supervisor.watcher_pid != first, "there is another")
    stage.start(SLEEPER, name="other")
    stage.until(lambda: len(stage.said) == 2, "both run")


def test_a_program_that_is_not_there_is_told_at_once(stage: Stage) -> None:
    with pytest.raises(FileNotFoundError):
        stage.supervisor.start(Program("one", ("/no/such/program",), {}))


OWNER = """
import os, sys
from aragora_cp.cli.supervisor import Program, Supervisor
supervisor = Supervisor(lambda name, line: print(line, flush=True))
for name, script in zip(("one", "two"), sys.argv[1:]):
    supervisor.start(Program(name, ("/bin/sh", "-c", script), dict(os.environ)))
while True:
    supervisor.step(1)
"""


def test_nothing_outlives_an_owner_that_is_killed(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, SLEEPER.replace("ready", "ready $$"), STUBBORN], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    for _ in range(2):
        owner.stdout.readline()
    family = psutil.Process(owner.pid).children(recursive=True)
    assert len(family) >= 4  # the watcher, both programs, the stubborn one's child
    owner.kill()
    owner.wait()
    owner.stdout.close()
    eventually(lambda: all(gone(process.pid) for process in family), 10, "all are gone")
