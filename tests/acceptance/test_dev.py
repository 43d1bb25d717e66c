"""`aragora-cp dev` as a person runs it: one start, everything that may happen to it, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.acceptance.dev_process import DevProcess, alive, listens
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

REVIEW = {
    "task_type": "code.review",
    "required_capabilities": ["code"],
    "payload": {"files": [{"path": "a.py", "source": "import os\n"}]},
}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    started: list[DevProcess] = []

    def start(*options: str) -> DevProcess:
        started.append(DevProcess(tmp_path / "data", *options))
        return started[-1]

    yield start
    for dev in started:
        dev.kill()


def review(dev: DevProcess) -> dict[str, Any]:
    submitted = dev.call("POST", "/tasks/submit", json=REVIEW)
    assert submitted.status_code == 202, submitted.text
    return dev.call("GET", f"/tasks/{submitted.json()['task_id']}?wait=20").json()


def test_dev_from_start_to_end(start: Any) -> None:
    dev = start()
    told = dev.until_ready()

    # What it tells programs.
    assert list(told) == [
        "url", "token", "agent_token", "workspace", "redis_url", "flower_url", "console_url", "pids",
    ]  # fmt: skip
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", told["url"])
    assert told["console_url"] == f"{told['url']}/console"
    assert told["workspace"] == "default"
    assert list(told["pids"]) == ["store", "web", "monitor", "flower", "agents"]
    assert set(told["pids"]["agents"]) == {"code-1", "search-1", "debate-1"}
    pids = [*(told["pids"][name] for name in ("store", "web", "monitor", "flower")), *told["pids"]["agents"].values()]
    assert all(psutil.pid_exists(pid) for pid in pids)
    assert len(set(pids)) == 7
    assert stat.S_IMODE(dev.file.stat().st_mode) == 0o600

    # What it tells people; and no secret of a process stands where `ps` shows it.
    assert told["url"] in dev.said
    password = re.search(r"password (\S+)", dev.said)
    assert password
    assert told["token"] not in dev.said
    commands = " ".join(word for pid in pids for word in psutil.Process(pid).cmdline())
    for secret in (told["agent_token"], told["redis_url"], password[1]):
        assert secret not in commands

    # The script of the quickstart, as printed there (tests/unit/test_docs.py).
    script = Path(__file__).parents[2] / "docs" / "quickstart" / "coordinator.py"
    env = os.environ | {"ARAGORA_CP_REDIS_URL": told["redis_url"]}
    printed = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True, timeout=60)
    assert printed.returncode == 0, printed.stderr
    assert "example.py:1 F401" in printed.stdout

    # A task over HTTP, and Flower that shows it by its type, behind the password.
    done = review(dev)
    assert done["status"] == "COMPLETED"
    assert done["result"]["findings"][0]["rule"] == "F401"
    assert httpx.get(told["flower_url"]).status_code == 401
    assert httpx.get(f"{told['flower_url']}/api/tasks").status_code == 401
    flower = httpx.Client(auth=("aragora", password[1]), base_url=told["flower_url"], timeout=20)
    with flower:
        workers = eventually(lambda: flower.get("/api/workers?refresh=1").json(), 30, "Flower sees workers", pause=1)
        assert any(name.startswith("code-1") for name in workers)

        def shown() -> bool:
            review(dev)
            return "code.review" in {task["name"] for task in flower.get("/api/tasks").json().values()}

        eventually(shown, 30, "Flower shows the task", pause=1)

    # An agent that is killed is named, started again, and serves again.
    old = told["pids"]["agents"]["code-1"]
    os.kill(old, signal.SIGKILL)
    new = eventually(lambda: (pid := dev.told["pids"]["agents"]["code-1"]) != old and pid, 15, "another runs")
    assert f"code (process {old}) was killed by SIGKILL" in dev.said
    assert psutil.pid_exists(new)
    assert review(dev)["status"] == "COMPLETED"

    # So is the store, with its data.
    os.kill(told["pids"]["store"], signal.SIGKILL)
    eventually(lambda: dev.told["pids"]["store"] != told["pids"]["store"], 15, "another store runs")
    eventually(lambda: httpx.get(f"{told['url']}/readyz", timeout=5).status_code == 200, 15, "the API is ready")
    assert dev.call("GET", f"/tasks/{done['task_id']}").json()["status"] == "COMPLETED"
    assert review(dev)["status"] == "COMPLETED"

    # Ctrl-C ends all of it.
    dev.remember_family()
    assert len(dev.family) >= 8
    assert dev.stop() == 0, dev.said
    assert not dev.file.exists()
    assert alive(dev.family) == []
    for url in (told["url"], told["redis_url"], told["flower_url"]):
        assert not listens(url)


def test_dev_keeps_its_data_and_tokens_and_survives_a_kill(start: Any) -> None:
    dev = start("--no-agents", "--no-flower")
    told = dev.until_ready()
    assert told["flower_url"] is None
    assert told["pids"]["flower"] is None
    assert told["pids"]["agents"] == {}
    task_id = dev.call("POST", "/tasks/submit", json=REVIEW).json()["task_id"]

    second = start("--no-agents", "--no-flower")
    assert second.process.wait(30) == 1
    assert f"in use by process {dev.process.pid}" in second.said
    assert dev.file.exists()

    dev.remember_family()
    dev.process.kill()
    dev.process.wait()
    eventually(lambda: not alive(dev.family), 15, "nothing outlives it")

    again = start("--no-agents", "--no-flower")
    eventually(lambda: "waiting for web" in again.said or again.process.poll() is not None, 60, "it has the folder")
    again.until_ready()
    assert again.told["token"] == told["token"]
    assert again.told["redis_url"] == told["redis_url"]
    assert again.call("GET", f"/tasks/{task_id}").json()["status"] == "PENDING"
    assert again.stop(signal.SIGTERM) == 0
