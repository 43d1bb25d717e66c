"""`aragora-cp top` in a real terminal, over a real control plane."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aragora_cp.model import AgentSpec
from tests.faults.world import World
from tests.terminal import Terminal
from tests.waiting import eventually

pytestmark = pytest.mark.slow

TOP = [sys.executable, "-m", "aragora_cp.cli", "top"]
#: Ends full-screen drawing and shows the cursor again.
LEFT = b"\x1b[?1049l"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    try:
        world.web()
        spec = AgentSpec("painter-1", ("paint",), model="brush", concurrency=2)
        world.plane.registry.register(spec, owner="tests", takeover=True)
        for _ in range(3):
            world.submit("hold")
        yield world
    finally:
        world.close()


@pytest.fixture
def env(world: World) -> dict[str, str]:
    told = {"ARAGORA_CP_URL": world.url.partition("/api")[0], "ARAGORA_CP_TOKEN": world.admin_token}
    return {**os.environ, **told, "PYTHONPATH": os.getcwd()}


@pytest.fixture
def watch(env: dict[str, str]) -> Iterator[Callable[[int, int], Terminal]]:
    opened: list[Terminal] = []

    def start(columns: int, rows: int) -> Terminal:
        opened.append(Terminal([*TOP, "--interval", "0.3"], columns, rows, env=env))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


def test_it_lives_follows_the_size_and_ends_by_a_key(world: World, watch: Callable[[int, int], Terminal]) -> None:
    terminal = watch(160, 30)
    for shown in ("painter-1", "pending 3", "brush", "shared.paint"):
        terminal.until(shown)

    world.submit("hold")
    terminal.until("pending 4")

    terminal.resize(80, 24)
    eventually(lambda: "painter-1" in terminal.text and "brush" not in terminal.text, 10, "it is drawn for 80 columns")
    lines = terminal.text.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(re.fullmatch(r"painter-1 +IDLE +closed +0/2 +\S+ +0 +paint", line) for line in lines), lines

    terminal.type("x")  # says nothing to it
    assert terminal.process.poll() is None
    terminal.type("q")
    assert terminal.ended() == 0
    assert LEFT in terminal.raw


@pytest.mark.parametrize("how", ["ctrl-c", "sigterm"])
def test_an_interrupt_leaves_the_terminal_as_it_was(watch: Callable[[int, int], Terminal], how: str) -> None:
    terminal = watch(80, 24)
    terminal.until("painter-1")
    if how == "ctrl-c":
        terminal.type("\x03")
    else:
        terminal.process.send_signal(signal.SIGTERM)
    assert terminal.ended() == 0
    assert LEFT in terminal.raw
    assert b"Traceback" not in terminal.raw
    assert b"Aborted" not in terminal.raw


def test_it_says_when_the_control_plane_is_gone_and_goes_on(
    world: World, watch: Callable[[int, int], Terminal]
) -> None:
    terminal = watch(120, 24)
    terminal.until("painter-1")
    world.members["web"].kill_group()
    assert "painter-1" in terminal.until("cannot reach")
    terminal.type("q")
    assert terminal.ended() == 0


def test_it_ends_with_its_terminal(watch: Callable[[int, int], Terminal]) -> None:
    terminal = watch(80, 24)
    terminal.until("painter-1")
    terminal.hang_up()
    assert terminal.process.wait(10) is not None


def test_without_a_terminal_it_prints_once(env: dict[str, str]) -> None:
    plain = subprocess.run(TOP, env=env, capture_output=True, text=True, timeout=30, check=True)
    assert "painter-1" in plain.stdout
    assert "\x1b" not in plain.stdout
    told = subprocess.run([*TOP, "--json"], env=env, capture_output=True, text=True, timeout=30, check=True)
    read = json.loads(told.stdout)
    assert (read["pending"], [agent["agent_id"] for agent in read["agents"]]) == (3, ["painter-1"])
    assert read["items"][0]["waiting"]["normal"] == 3
