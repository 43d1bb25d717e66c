"""With encryption on, what tasks say stands nowhere but in the answers of the API: not in the store, its files, the
broker, the logs, nor in Flower."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from aragora_cp.embedded import free_port
from tests.dump import dump
from tests.faults.world import World
from tests.waiting import eventually

pytestmark = pytest.mark.slow

CANARY = "k4nari-7f3a"
#: What may be read, to show that we look in the right places.
MARK = "v1sible-5c2e"
VISITOR = ("visitor", "pass")
KEY = base64.b64encode(os.urandom(32)).decode()
#: The canary as it would stand in JSON, in base64 (whatever comes before it) and in UTF-16.
SIGNS = (
    CANARY.encode(),
    *(base64.b64encode(b"x" * n + CANARY.encode())[4:-4] for n in range(3)),
    CANARY.encode("utf-16-le"),
    KEY.encode(),
    base64.b64decode(KEY),
)


class Caller:
    def __init__(self, world: World) -> None:
        headers = {"Authorization": f"Bearer {world.admin_token}"}
        self._client = httpx.Client(base_url=world.url, headers=headers, timeout=30)

    def submit(self, task_type: str = "chaos.tell", **more: Any) -> httpx.Response:
        body = {"task_type": task_type, "payload": {"secret": CANARY}, "required_capabilities": ["chaos"]}
        body |= {"metadata": {"mark": MARK}, "retry_backoff": {"initial": 0.05}, "max_retries": 2}
        return self._client.post("/tasks/submit", json=body | more)

    def final(self, submitted: httpx.Response) -> dict[str, Any]:
        assert submitted.status_code == 202, submitted.text
        return self.get(submitted.json()["task_id"], wait=20)

    def get(self, task_id: str, wait: int = 0) -> dict[str, Any]:
        return self._client.get(f"/tasks/{task_id}?wait={wait}").json()

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def world(make_world: Callable[..., World], port: int) -> World:
    world = make_world(encryption_keys=f"k1:{KEY}", log_level="DEBUG", log_format="json")
    world.monitor()
    world.agent("a1")
    world._start("flower", ["flower", "--port", str(port)], env={"FLOWER_BASIC_AUTH": ":".join(VISITOR)})
    world.web()
    return world


@pytest.fixture
def caller(world: World) -> Iterator[Caller]:
    caller = Caller(world)
    yield caller
    caller.close()


def pages_of(board: str, caller: Caller) -> bytes:
    """What Flower shows, once it knows a task that failed."""
    try:
        tasks = httpx.get(f"{board}/api/tasks", auth=VISITOR).json()
        if not any(task["name"] == "chaos.tell" and task["state"] == "FAILURE" for task in tasks.values()):
            caller.final(caller.submit(payload={"secret": CANARY, "reject": True}))
            return b""
        paths = [
            "/api/tasks",
            "/tasks",
            "/workers",
            "/api/workers?refresh=1",
            *(f"/task/{task_id}" for task_id in tasks),
        ]
        return b"\n".join(httpx.get(f"{board}{path}", auth=VISITOR, timeout=20).content for path in paths)
    except httpx.TransportError:
        return b""


def hits(data: bytes) -> list[bytes]:
    return [sign for sign in SIGNS if sign in data]


def test_the_canary_is_seen_nowhere(world: World, caller: Caller, port: int) -> None:
    world.ready("a1")
    # Success after two failures, with a sub-task; a rejection; a killed process; submits that are wrong.
    everything = {"secret": CANARY, "fails": 2, "child": True}
    done = caller.final(caller.submit(payload=everything, idempotency_key="once", cache_ttl=600))
    assert done["status"] == "COMPLETED", done
    assert done["payload"]["secret"] == done["result"]["secret"] == CANARY
    assert done["progress"]["message"] == f"half of {CANARY}"
    messages = [entry["message"] for entry in done["error"]["history"]]
    assert messages == [f"RuntimeError: could not find {CANARY}"] * 2
    assert caller.get(done["result"]["child"], wait=20)["result"]["secret"] == CANARY
    rejected = caller.final(caller.submit(payload={"secret": CANARY, "reject": True}))
    assert rejected["error"]["message"] == f"no {CANARY}"
    killed = caller.final(caller.submit("chaos.die", payload={"times": 1, "secret": CANARY}))
    assert killed["status"] == "COMPLETED", killed
    strange = caller.final(caller.submit("chaos.unknown", max_retries=0))
    assert strange["error"]["code"] == "no-handler"
    assert caller.submit(CANARY * 20).status_code == 422
    assert caller.submit(payload={"secret": CANARY}, idempotency_key="once").status_code == 409

    shown = eventually(lambda: pages_of(f"http://127.0.0.1:{port}", caller), 30, "Flower shows a task", pause=0.3)
    commands = [word for member in world.members.values() for word in psutil.Process(member.pid).cmdline()]

    # And tickets that wait in Celery's own queue, while both slots are taken.
    holding = {"gate": str(world.folder / "gate"), "secret": CANARY}
    for held in [caller.submit("chaos.hold", payload=holding).json()["task_id"] for _ in range(2)]:
        world.started(held)
    waiting = [caller.submit().json()["task_id"] for _ in range(4)]
    eventually(lambda: any(task_id in queued(world) for task_id in waiting), 10, "a ticket waits in the queue")
    stored = dump(world.plane.client)
    world.open_gate()
    logs = {name: member.log.read_bytes() for name, member in world.members.items()}
    files = b"".join(path.read_bytes() for path in (world.folder / "store").rglob("*") if path.is_file())

    places = {"the store": stored, "its files": files, "Flower": shown, "commands": " ".join(commands).encode(), **logs}
    for name in ("web", "monitor", "a1"):
        assert logs[name], name
    for name in ("the store", "its files"):
        assert MARK.encode() in places[name], name
    assert {name: found for name, data in places.items() if (found := hits(data))} == {}


def queued(world: World) -> str:
    """What stands in Celery's queues of the lane."""
    client = world.plane.client
    lists = [key for key in client.scan_iter(match="*cp.shared.chaos*") if client.type(key) == b"list"]
    return str([client.lrange(key, 0, -1) for key in lists])


def test_without_keys_the_canary_is_found(make_world: Callable[..., World]) -> None:
    """So the other test looks in the right places."""
    world = make_world()
    world.submit("tell", payload={"secret": CANARY})
    assert hits(dump(world.plane.client)) == [CANARY.encode()]
    files = b"".join(path.read_bytes() for path in Path(world.folder / "store").rglob("*") if path.is_file())
    assert hits(files) == [CANARY.encode()]
