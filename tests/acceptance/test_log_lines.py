"""What real processes log: every line JSON, with what it is about, and never a secret or an address."""

from __future__ import annotations

import base64
import json
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.faults.world import World
from tests.waiting import eventually

pytestmark = pytest.mark.slow

CANARY = "k4nari-51b2"
ALWAYS = {"time", "level", "process", "logger", "message"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, {"log_format": "json", "kill_grace": 0.5})
    try:
        world.monitor()
        world.agent("a1")
        world.web()
        world.ready("a1")
        yield world
    finally:
        world.close()


Call = Callable[..., httpx.Response]


@pytest.fixture
def call(world: World) -> Iterator[Call]:
    """A request with a correlation id, and a canary in its query."""
    with httpx.Client(base_url=world.url, headers={"Authorization": f"Bearer {world.admin_token}"}, timeout=30) as http:

        def call(method: str, path: str, correlation: str, **more: Any) -> httpx.Response:
            return http.request(
                method, path, headers={"X-Correlation-ID": correlation}, params={"secret": CANARY, **more.pop("q", {})},
                **more,
            )  # fmt: skip

        yield call


def submit(call: Call, kind: str, correlation: str, **more: Any) -> str:
    body = {"task_type": f"chaos.{kind}", "required_capabilities": ["chaos"], "max_retries": 0}
    body |= {"payload": {"secret": CANARY}, "retry_backoff": {"initial": 0.05}}
    return call("POST", "/tasks/submit", correlation, json=body | more).json()["task_id"]


def lines(world: World, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in world.members[name].text().splitlines()]


def work(call: Call) -> dict[str, str]:
    """Tasks that end in every way, by the correlation id of their submit."""
    return {
        "c-good": submit(call, "tell", "c-good", payload={"secret": CANARY, "fails": 1}, max_retries=1),
        "c-bad": submit(call, "tell", "c-bad", payload={"secret": CANARY, "reject": True}),
        "c-dead": submit(call, "die", "c-dead", payload={"secret": CANARY, "times": 9}),
        "c-late": submit(call, "work", "c-late", payload={"secret": CANARY, "seconds": 30, "n": 1}, timeout=1),
        "c-stuck": submit(call, "signals", "c-stuck"),
    }


def offend(world: World) -> None:
    """What gunicorn itself has to say no to."""
    where = urlsplit(world.url)
    for text in (f"GET /?secret={CANARY} HTTP/9.9\r\n\r\n", f"GET / HTTP/1.1\r\n{CANARY} : 1\r\n\r\n"):
        with socket.create_connection((where.hostname, where.port), timeout=5) as line:
            line.sendall(text.encode())
            line.recv(100)


def test_every_line_says_what_it_is_about(world: World, call: Call) -> None:
    tasks = work(call)
    world.final(*tasks.values())
    offend(world)
    world.store.kill()
    eventually(lambda: "away" in world.members["monitor"].text(), 20, "the monitor has noticed")
    eventually(lambda: "Cannot connect to" in world.members["a1"].text(), 20, "Celery has noticed")
    assert call("GET", "/tasks", "c-away").status_code == 503
    world.start_store()
    eventually(lambda: call("GET", "/tasks", "c-back").status_code in (200, 422), 20, "the store is back")
    for name in ("a1", "monitor", "web"):
        world.members[name].signal(signal.SIGTERM)
        assert world.members[name].process.wait(20) == 0, world.members[name].text()

    said = {name: lines(world, name) for name in ("web", "monitor", "a1")}
    for name, found in said.items():
        assert found, name
        assert [line for line in found if not set(line) >= ALWAYS] == []

    requests = [line for line in said["web"] if line["message"] == "request"]
    assert {line["correlation_id"] for line in requests} >= {*tasks, "c-away", "c-back"}
    submits = {line["correlation_id"]: line for line in requests if line["route"].endswith("/tasks/submit")}
    assert {name: submits[name]["task_id"] for name in tasks} == tasks
    assert {line["workspace"] for line in submits.values()} == {"default"}
    assert [line["message"] for line in said["web"] if line["message"].startswith("Invalid request")], "gunicorn's own"

    assert {line["agent_id"] for line in said["a1"]} - {"a1"} == set()
    of_tasks = [line for line in said["a1"] if "task_id" in line]
    by_task = {task_id: correlation for correlation, task_id in tasks.items()}
    for line in of_tasks:
        assert (line["workspace"], line["correlation_id"]) == ("default", by_task[line["task_id"]]), line
        assert line["attempt"] in (1, 2)
    # The child's lines, and what only the parent can say, by Celery's own loggers too.
    loggers = {(by_task[line["task_id"]], line["logger"]) for line in of_tasks}
    assert {("c-good", "aragora_cp.engine.task"), ("c-dead", "celery.worker.request")} <= loggers
    assert {line["task_id"] for line in of_tasks} >= {tasks[name] for name in ("c-good", "c-bad", "c-dead", "c-late")}

    text = "".join(member.text() for name, member in world.members.items() if name != "store")
    store = urlsplit(world.embedded.url)
    never = (
        CANARY,
        base64.b64encode(CANARY.encode()).decode(),
        f"{store.hostname}:{store.port}",
        store.password or CANARY,
        world.config.key_prefix,
    )
    never += tuple(token.rpartition("_")[2] for token in (world.admin_token, world.agent_token))
    assert [word for word in never if word in text] == []
