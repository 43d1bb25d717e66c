"""Flower as its users see it: behind its password, with tasks and agents of a real control plane, in a real browser."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from aragora_cp.embedded import free_port
from tests.faults.world import World
from tests.waiting import eventually

pytestmark = pytest.mark.slow

VISITOR = ("visitor", "pass-4711")


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def world(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("flower"))
    try:
        world._start("flower", ["flower", "--port", str(port)], env={"FLOWER_BASIC_AUTH": ":".join(VISITOR)})
        world.monitor()
        world.agent("a1")
        world.ready("a1")
        yield world
    finally:
        world.close()


@pytest.fixture(scope="module")
def site(world: World, port: int) -> str:
    """Flower's address, once it has seen a task that completed and one that failed."""
    url = f"http://127.0.0.1:{port}"

    def seen() -> bool:
        try:
            states = {task["state"] for task in get(url, "/api/tasks").values()}
        except httpx.TransportError:
            return False
        if states >= {"SUCCESS", "FAILURE"}:
            return True
        good = world.submit("tell", payload={"secret": "k4nari"})
        bad = world.submit("tell", payload={"secret": "k4nari", "reject": True})
        world.final(good, bad)
        return False

    eventually(seen, 40, "Flower has seen both", pause=0.5)
    return url


def get(url: str, path: str) -> Any:
    answer = httpx.get(f"{url}{path}", auth=VISITOR, timeout=20)
    answer.raise_for_status()
    return answer.json()


def test_nothing_is_shown_without_the_password(site: str) -> None:
    for path in ("/", "/tasks", "/workers", "/api/tasks", "/api/workers", "/metrics"):
        assert httpx.get(f"{site}{path}").status_code == 401, path
        assert httpx.get(f"{site}{path}", auth=("visitor", "wrong")).status_code == 401, path


def test_the_api_names_types_workspaces_outcomes_and_capabilities(site: str) -> None:
    tasks = list(get(site, "/api/tasks").values())
    assert {task["name"] for task in tasks} == {"chaos.tell"}
    assert {task["args"] for task in tasks} == {"workspace=default attempt=1"}
    outcomes = {(task["state"], task["result"], task["exception"]) for task in tasks}
    assert ("SUCCESS", "COMPLETED", None) in outcomes
    assert ("FAILURE", None, "AttemptEnded('handler-error')") in outcomes
    assert "k4nari" not in str(tasks)
    agents = eventually(lambda: get(site, "/api/workers?refresh=1"), 20, "the agent is listed", pause=0.5)
    assert list(agents) == ["a1@cp"]
    assert agents["a1@cp"]["conf"]["aragora_agent"]["capabilities"] == ["chaos"]
    assert [queue["name"] for queue in agents["a1@cp"]["active_queues"]] == ["cp.shared.chaos", "cp.agent.a1"]


@pytest.fixture(scope="module")
def look(site: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """A page's text after its scripts have run. A missing browser skips at home and fails in CI."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("chromium is not on PATH")
    profile = tmp_path_factory.mktemp("profile")

    def show(path: str) -> str:
        url = f"{site.replace('://', '://' + ':'.join(VISITOR) + '@')}{path}"
        dom = subprocess.run(
            [str(browser), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
             "--virtual-time-budget=5000", "--window-size=1400,900", "--dump-dom", url],
            capture_output=True, text=True, timeout=90, check=True,
        ).stdout  # fmt: skip
        return " ".join(re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", dom, flags=re.DOTALL).split())

    return show


def test_a_browser_shows_tasks_with_workspace_and_outcome(look: Callable[[str], str]) -> None:
    text = look("/tasks")
    assert re.search(
        r"chaos\.tell [0-9a-f-]{36} [0-9a-f]{8} SUCCESS workspace=default attempt=1 COMPLETED .* a1@cp", text
    ), text
    assert re.search(
        r"chaos\.tell [0-9a-f-]{36} [0-9a-f]{8} FAILURE workspace=default attempt=1 handler-error", text
    ), text
    assert "k4nari" not in text


def test_a_browser_shows_agents_with_their_capabilities(look: Callable[[str], str]) -> None:
    assert re.search(r"a1@cp Online", look("/workers"))
    agent = look("/worker/a1@cp")
    assert "cp.shared.chaos" in agent
    assert re.search(r"aragora_agent \{.capabilities.: \[.chaos.\]", agent, re.IGNORECASE), agent


def test_without_a_password_it_makes_one(world: World, tmp_path: Path) -> None:
    port = free_port()
    member = world._start("open", ["flower", "--port", str(port)])

    def refused() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/tasks").status_code == 401
        except httpx.TransportError:
            return False

    eventually(refused, 30, "it answers, to nobody")
    said = re.search(r"user is (\S+), its password this time (\S+)", member.text())
    assert said
    assert httpx.get(f"http://127.0.0.1:{port}/tasks", auth=(said[1], said[2])).status_code == 200
    member.end()
