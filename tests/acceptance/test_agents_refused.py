"""When an agent must not start: one clear line on stderr, and an exit status that says so."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from aragora_cp.embedded import free_port
from aragora_cp.model import Role
from aragora_cp.tenancy.tokens import TokenIssuer
from aragora_cp.wiring import ControlPlane
from tests.acceptance.cluster.caller import Caller
from tests.acceptance.cluster.nodes import AGENT_MODULE

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("celery_worker")]
AGENTS = {"only-one": {}}

Words = Callable[[str], list[str]]


@dataclass(frozen=True)
class Start:
    """``celery -A <module> worker <options>`` under these variables."""

    options: tuple[str, ...] = ()
    module: str = AGENT_MODULE
    env: Mapping[str, str] = field(default_factory=dict)

    def run(self, env: Mapping[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "celery", "-A", self.module, "worker", *self.options],
            env={**env, **self.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="module")
def words(plane: ControlPlane, agent_env: Mapping[str, str], celery_worker: object) -> Iterator[Words]:
    """The lines on stderr of each refused start. All are made side by side: a start takes its time."""
    token = agent_env["ARAGORA_CP_AGENT_TOKEN"]
    wrong = token[:-1] + ("b" if token.endswith("a") else "a")
    viewer = TokenIssuer(plane.tokens).issue(workspace="acme", role=Role.VIEWER).text
    starts = {
        "no token": Start(env={"ARAGORA_CP_AGENT_TOKEN": ""}),
        "wrong token": Start(env={"ARAGORA_CP_AGENT_TOKEN": wrong}),
        "wrong role": Start(env={"ARAGORA_CP_AGENT_TOKEN": viewer}),
        "no store": Start(env={"ARAGORA_CP_REDIS_URL": f"redis://127.0.0.1:{free_port()}"}),
        "unknown setting": Start(env={"ARAGORA_CP_HEARTBEAT_TIMOUT": "3"}),
        "no handler": Start(module="tests.acceptance.agents.idler"),
        "solo": Start(("-P", "solo")),
        "no number": Start(("-c", "auto")),
        "second": Start(("-n", "only-one@elsewhere")),
    }
    processes = {name: start.run(agent_env) for name, start in starts.items()}

    def told(name: str) -> list[str]:
        _, stderr = processes[name].communicate(timeout=60)
        assert processes[name].returncode > 0, stderr
        return stderr.strip().splitlines()

    try:
        yield told
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()


@pytest.mark.parametrize(
    ("start", "line"),
    [
        ("no token", "an agent needs a token; set ARAGORA_CP_AGENT_TOKEN"),
        ("wrong token", "the token is not valid"),
        ("wrong role", "the agent's token has the role viewer; it needs the role agent"),
        ("no store", "The store cannot be reached or refuses writes; nothing was changed."),
        ("no handler", "the agent has no handler; decorate one with @agent.task(...)"),
        ("solo", "the solo pool cannot keep time limits; use prefork or threads"),
        ("no number", "an agent's concurrency is a whole number, not 'auto'"),
    ],
)
def test_it_says_why_in_one_line(words: Words, start: str, line: str) -> None:
    assert words(start) == [f"aragora-cp worker: {line}"]


def test_an_unknown_setting_names_the_one_that_was_meant(words: Words) -> None:
    """Celery tells it at the end of its own report: the app cannot be made without settings."""
    assert "did you mean ARAGORA_CP_HEARTBEAT_TIMEOUT?" in words("unknown setting")[-1]


def test_a_second_process_of_a_live_agent(words: Words, caller: Caller) -> None:
    (line,) = words("second")
    assert line == (
        "aragora-cp worker: an agent called 'only-one' is alive already; stop it first, or choose another id"
    )
    assert caller.run("echo").agent_id == "only-one"
