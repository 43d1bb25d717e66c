"""Each probe goes red within five seconds of its cause, and green within five of its end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.world import World
from tests.servers import StoreServer
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

#: The bound, in seconds.
SOON = 5.0
DISK = 32 << 20


def ask(world: World, path: str) -> dict[str, Any]:
    return httpx.get(f"{world.url}/{path}", timeout=SOON).json()


def timed(what: str, condition: Callable[[], bool], since: float) -> None:
    eventually(condition, max(0.1, since + SOON - time.monotonic()), what)
    print(f"probe: {what} after {time.monotonic() - since:.1f} s")


def checks(world: World) -> dict[str, str]:
    return ask(world, "readyz")["checks"]


def status(world: World) -> str:
    return ask(world, "health")["status"]


def goes(world: World, check: str, break_it: Callable[[], object], mend_it: Callable[[], object]) -> None:
    """Readiness by one check, and health with it. What `mend_it` takes to start is not the probe's to answer for."""
    assert checks(world)[check] == "pass"
    since = time.monotonic()
    break_it()
    timed(f"{check} is red", lambda: checks(world)[check] == "fail" and status(world) != "healthy", since)
    assert httpx.get(f"{world.url}/readyz").status_code == 503
    mend_it()
    since = time.monotonic()
    timed(f"{check} is green", lambda: checks(world)[check] == "pass" and status(world) == "healthy", since)
    assert httpx.get(f"{world.url}/readyz").status_code == 200


@pytest.fixture
def healthy(world: World) -> World:
    world.monitor()
    world.web()
    world.agent("one", "--concurrency", "1")
    world.ready("one")
    eventually(lambda: status(world) == "healthy", 20, f"all is well at first: {ask(world, 'health')}")
    return world


def test_the_store_stopped(healthy: World) -> None:
    goes(healthy, "store", healthy.store.kill, healthy.start_store)


def test_the_store_hangs(healthy: World) -> None:
    goes(
        healthy,
        "store",
        lambda: healthy.store.signal(signal.SIGSTOP),
        lambda: healthy.store.signal(signal.SIGCONT),
    )


def test_the_leader_killed(healthy: World) -> None:
    monitor = healthy.members["monitor"]

    def lead_again() -> None:
        monitor.start()
        key = f"{healthy.config.key_prefix}{{@}}:monitor:leader"
        eventually(lambda: healthy.plane.client.exists(key), 20, "the new monitor leads")

    goes(healthy, "leader", monitor.kill, lead_again)


def test_all_agents_gone(healthy: World) -> None:
    agent = healthy.members["one"]
    since = time.monotonic()
    agent.kill_group()
    timed("agents are red", lambda: status(healthy) == "degraded", since)
    assert "no agent is online" in ask(healthy, "health")["reasons"]
    agent.start()
    healthy.ready("one")  # from here on, it is there
    since = time.monotonic()
    timed("agents are green", lambda: status(healthy) == "healthy", since)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[StoreServer]:
    server = StoreServer("valkey", tmp_path / "broker").start()
    yield server
    server.stop()


def test_the_broker_stopped(make_world: Callable[..., World], broker: StoreServer) -> None:
    world = make_world(broker_url=broker.url)
    world.monitor()
    world.web()
    world.agent("one", "--concurrency", "1")
    world.ready("one")
    eventually(lambda: status(world) == "healthy", 20, "all is well at first")
    goes(world, "broker", broker.kill, broker.start)


def mount(folder: Path) -> bool:
    """A small disk of its own, where this process may have one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    return os.geteuid() == 0 and shutil.which("mount") is not None and subprocess.run(command).returncode == 0


class SmallDisk(StoreServer):
    """A store whose append-only file lies on a small disk; with `everysec`, so that it refuses writes and lives on."""

    def settings(self) -> dict[str, str]:
        return {
            **super().settings(),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "auto-aof-rewrite-percentage": "0",
        }


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Full when a file `fill` is on it; a plain folder where none may be mounted, and then the test skips."""
    folder = tmp_path / "disk"
    mounted = mount(folder)
    yield folder
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_the_disk_of_the_append_only_file_full(make_world: Callable[..., World], disk: Path) -> None:
    if not os.path.ismount(disk):
        pytest.skip("no right to mount a small disk here; a store that refuses writes: tests/api/test_api_health.py")
    store = SmallDisk("valkey", disk).start()
    world = make_world(redis_url=store.url)
    world.store.end()
    try:
        world.monitor()
        world.web()
        world.agent("one", "--concurrency", "1")
        world.ready("one")
        eventually(lambda: status(world) == "healthy", 20, "all is well at first")
        filler = disk / "fill"

        def fill() -> None:
            """To the last byte."""
            filler.touch()
            while left := shutil.disk_usage(disk).free:
                with filler.open("ab") as file:
                    os.posix_fallocate(file.fileno(), filler.stat().st_size, left)

        goes(world, "store", fill, filler.unlink)
    finally:
        world.plane.close()
        store.stop()
