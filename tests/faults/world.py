"""A whole control plane in processes of its own, made to be killed: store, web, monitors, agents."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.embedded import EmbeddedStore, free_port
from aragora_cp.model import NewTask, Role, Task
from aragora_cp.store.codec import dumps
from aragora_cp.store.inspection import Finding, Inspector
from aragora_cp.store.keys import fleet_keys
from aragora_cp.tenancy.tokens import TokenIssuer
from aragora_cp.wiring import ControlPlane, build
from tests.waiting import eventually

HEARTBEAT_TIMEOUT = 3.0


@dataclass
class Member:
    """One process; `argv` starts it anew each time."""

    name: str
    argv: list[str]
    env: dict[str, str]
    log: Path
    pass_fds: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0

    def start(self) -> None:
        self.starts += 1
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv, env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                pass_fds=self.pass_fds, start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def signal(self, word: signal.Signals) -> None:
        os.kill(self.pid, word)

    def kill_group(self) -> None:
        """-9 for the process and all of its children: what a machine that loses power looks like."""
        assert self.process is not None
        os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def kill(self) -> None:
        """-9 for the one process."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self, timeout: float = 20.0) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill_group()
        with contextlib.suppress(ProcessLookupError):  # what a wrapper has left behind
            os.killpg(self.pid, signal.SIGKILL)
        return self.process.returncode

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


@dataclass
class World:
    """Start what a test needs; everything ends with the test."""

    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.journal = self.folder / "journal"
        self.journal.touch()
        self.embedded = EmbeddedStore(self.folder / "store")
        self.embedded.open()
        self.store = self._member("store", self.embedded.command, pass_fds=self.embedded.pass_fds)
        self.start_store()
        defaults: dict[str, Any] = {
            "redis_url": self.embedded.url,
            "redis_timeout": 2.0,
            "heartbeat_timeout": HEARTBEAT_TIMEOUT,
            "heartbeat_interval": 1.0,
            "kill_grace": 2.0,
        }
        self.config = ControlPlaneConfig(**(defaults | self.settings))
        self.plane: ControlPlane = build(self.config)
        issuer = TokenIssuer(self.plane.tokens)
        self.agent_token = issuer.issue(workspace=None, role=Role.AGENT).text
        self.admin_token = issuer.issue(workspace=None, role=Role.ADMIN).text
        self.url = ""

    # --- processes -------------------------------------------------------------------------------------------------

    def start_store(self) -> None:
        self.store.start()
        eventually(self.embedded.ready, 20, "the store takes commands")

    def monitor(self, name: str = "monitor") -> Member:
        """Answers when a monitor leads: one of an earlier start, perhaps."""
        member = self._start(name, ["monitor"])
        leader = fleet_keys(self.config.key_prefix)("leader")
        eventually(lambda: self.plane.client.exists(leader), 20, "a monitor leads")
        return member

    def web(self, *options: str) -> Member:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/api/control-plane"
        member = self._start("web", ["serve", "--port", str(port), *options])
        eventually(self.web_answers, 20, "web answers")
        return member

    def web_answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/livez", timeout=1).status_code == 200
        except httpx.HTTPError:
            return False

    def agent(self, name: str, *options: str, prefix: tuple[str, ...] = (), **env: str) -> Member:
        command = ["worker", "tests.faults.agents:agent", "--agent-id", name, *options]
        return self._start(name, command, prefix=prefix, env=env)

    def submit(self, kind: str, *, payload: dict[str, Any] | None = None, **options: Any) -> str:
        """Submit in this process, without HTTP; answers the id."""
        new = NewTask(
            workspace="default",
            task_type=f"chaos.{kind}",
            payload=dumps(payload or {}),
            required_capabilities=("chaos",),
            **options,
        )
        return self.plane.scheduler.submit(new)[0].task_id

    def task(self, task_id: str) -> Task:
        return self.plane.scheduler.get("default", task_id)

    def hold(self, gate: str = "gate", **options: Any) -> str:
        """A task that runs until `open_gate`."""
        return self.submit("hold", payload={"gate": str(self.folder / gate)}, **options)

    def open_gate(self, gate: str = "gate") -> None:
        (self.folder / gate).touch()

    def started(self, task_id: str, attempt: int = 1, timeout: float = 15.0) -> str:
        """Wait until the attempt has started; answers by whom."""
        return eventually(
            lambda: next((who for _, n, who in self.lines("start", task_id) if n == attempt), None),
            timeout,
            f"attempt {attempt} of {task_id} starts",
        )

    def final(self, *task_ids: str, timeout: float = 30.0) -> list[Task]:
        """Wait until they are final."""

        def look() -> list[Task] | None:
            tasks = [self.task(task_id) for task_id in task_ids]
            return tasks if all(task.status.final for task in tasks) else None

        return eventually(look, timeout, f"{len(task_ids)} tasks are final")

    def audit(self, action: str, outcome: str) -> list[str]:
        """The tasks of the audit entries with this action and outcome."""
        entries: Any = self.plane.client.xrange(f"{self.config.key_prefix}{{default}}:audit")
        return [
            fields[b"target"].decode()
            for _, fields in entries
            if fields[b"action"].decode() == action and fields[b"outcome"].decode() == outcome
        ]

    def ready(self, *names: str, timeout: float = 30.0) -> None:
        """Wait until these agents can take work."""
        eventually(lambda: set(names) <= self.live_agents(), timeout, f"agents {', '.join(names)} are there")

    def live_agents(self) -> set[str]:
        page = self.plane.registry.list("default", limit=200)
        return {agent.agent_id for agent in page.items if agent.status.value in ("IDLE", "BUSY")}

    def _start(
        self, name: str, command: list[str], prefix: tuple[str, ...] = (), env: dict[str, str] | None = None
    ) -> Member:
        if name not in self.members:
            self._member(name, [*prefix, sys.executable, "-m", "aragora_cp.cli", *command]).env.update(env or {})
        self.members[name].start()
        return self.members[name]

    def _member(self, name: str, argv: list[str], pass_fds: tuple[int, ...] = ()) -> Member:
        env = dict(os.environ)
        if name != "store":
            env |= self.config.to_env() | {
                "ARAGORA_CP_AGENT_TOKEN": self.agent_token,
                "FAULTS_JOURNAL": str(self.journal),
                "PYTHONPATH": os.getcwd(),
                "PYTHONUNBUFFERED": "1",
            }
        self.members[name] = Member(name, argv, env, self.folder / f"{name}.log", pass_fds)
        return self.members[name]

    def close(self) -> None:
        self.plane.close()
        for name, member in reversed(list(self.members.items())):
            if member.process is not None and name != "store":
                member.end(5)
        if self.store.process is not None:
            self.store.end()
        self.embedded.close()

    # --- what happened ---------------------------------------------------------------------------------------------

    def lines(self, word: str, task_id: str | None = None) -> list[tuple[str, int, str]]:
        """(task, attempt, agent) of each line of the journal."""
        found = []
        for line in self.journal.read_text().splitlines():
            said, task, attempt, agent = line.split(" ")
            if said == word and task_id in (None, task):
                found.append((task, int(attempt), agent))
        return found

    def completions(self) -> Counter[str]:
        """How often each task was completed, from the workspace's events."""
        client = self.plane.client
        events: Any = client.xrange(f"{self.config.key_prefix}{{default}}:events")
        return Counter(fields[b"task_id"].decode() for _, fields in events if fields[b"event"] == b"completed")

    def findings(self) -> list[Finding]:
        """What the deep check finds, once everything has come to rest."""
        inspector = Inspector(self.plane.client, self.config)
        return [finding for name in inspector.workspaces() for finding in inspector.inspect(name)]

    def assert_sound(self) -> None:
        """Every fault test ends with this: nothing held, nothing counted twice, nothing in two places."""
        eventually(lambda: not self.findings(), 10, f"the deep check is clean: {self.findings()}")

    def now(self) -> float:
        """The store's clock, in seconds."""
        return self.plane.tokens.now() / 1000


def pause(seconds: float) -> None:
    """Let the world run on, in a test whose subject is time itself."""
    time.sleep(seconds)
