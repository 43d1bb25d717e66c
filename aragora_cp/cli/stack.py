"""Stack: everything on this machine over an embedded store. What `dev` keeps up and `demo` uses for a minute."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from aragora_cp.cli.failure import CommandFailed
from aragora_cp.cli.fleet import Line, Places, program, read_procfile
from aragora_cp.cli.keyring import FLOWER_USER, Keyring, audit_key_file, open_keyring
from aragora_cp.cli.supervisor import GaveUp, Program, Supervisor
from aragora_cp.config import ENV_PREFIX, ControlPlaneConfig
from aragora_cp.embedded import EmbeddedStore, EmbeddedStoreError, free_port
from aragora_cp.errors import AragoraError
from aragora_cp.model import AgentStatus
from aragora_cp.store.probes import StoreProbes
from aragora_cp.wiring import ControlPlane, build

STORE = "store"
_FLOWER_PORT = 5555
#: Bound on the start of everything, in seconds.
_START = 90.0
_STORE_START = 30.0
#: The parts that look after the processes must not hang on a store that is being restarted.
_LOOK_TIMEOUT = 1.0
_LOOK_EVERY = 0.2
#: They read no task, so they get no root key.
_WITHOUT_KEYS = ("monitor", "flower")


class Interrupted(Exception):
    """The person at the terminal wants it to stop while it still starts."""


@dataclass(frozen=True)
class Plan:
    """What to start, and where. `port` 0 is any free one."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 0
    procfile: Path | None = None
    agents: bool = True
    flower: bool = True


class Stack:
    """`open` it, `start` it, `step` it over and over, `stop` it. Main thread only.

    `say(name, line)` gets what the processes say, `on_change()` is called whenever `pids` changed.
    """

    def __init__(
        self,
        plan: Plan,
        config: ControlPlaneConfig,
        say: Callable[[str, str], None],
        *,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """Raises CommandFailed when the Procfile or the port cannot be used. Starts nothing."""
        self._plan = plan
        self._settings = config
        self._on_change = on_change
        self.lines = tuple(self._chosen(read_procfile(plan.procfile)))
        self.places = _places(plan)
        self._store = EmbeddedStore(plan.data_dir / STORE)
        self._supervisor = Supervisor(say, on_exit=self._forget_agent, on_change=self._remember)
        self._pids: dict[str, int] = {}
        self._ready: set[str] = set()
        self._plane: ControlPlane | None = None
        self._probes: StoreProbes | None = None
        self._http = httpx.Client(timeout=_LOOK_TIMEOUT)
        self.keyring = Keyring("", "", "")
        self.config = config

    @property
    def url(self) -> str:
        return f"http://{_reachable(self.places.host)}:{self.places.port}"

    @property
    def flower_url(self) -> str | None:
        return f"http://127.0.0.1:{self.places.flower_port}" if self._named("flower") else None

    @property
    def agents(self) -> list[str]:
        return [line.agent_id for line in self.lines if line.agent_id]

    @property
    def pids(self) -> dict[str, Any]:
        """As `dev.json` has them: of each process the one that runs, or ran last."""
        return {
            STORE: self._pids.get(STORE),
            "web": self._pids.get(self._named("serve")),
            "monitor": self._pids.get(self._named("monitor")),
            "flower": self._pids.get(self._named("flower")),
            "agents": {line.agent_id: self._pids[line.name] for line in self.lines if line.agent_id},
        }

    def open(self) -> None:
        """Take the folder. Raises EmbeddedStoreError when another process has it."""
        self._store.open()

    def start(self, waiting_for: Callable[[list[str]], None], interrupted: Callable[[], bool]) -> None:
        """Start everything and wait until it is ready; `waiting_for` is told what is missing whenever that changes.

        Raises AragoraError or CommandFailed with one line when something cannot be started, Interrupted.
        """
        self.config = replace(
            self._settings,
            redis_url=self._store.url,
            broker_url="",
            agent_token="",
            audit_key_file=self._settings.audit_key_file or audit_key_file(self._plan.data_dir),
            log_format="console" if self._settings.log_format == "auto" else self._settings.log_format,
        )
        env = _without_settings(os.environ)  # the store is what the keys are to be kept from
        self._supervisor.start(Program(STORE, tuple(self._store.command), env, 15.0, pass_fds=self._store.pass_fds))
        self._until(lambda: [] if self._store.ready() else [STORE], _STORE_START, waiting_for, interrupted)
        looking = replace(self.config, redis_timeout=_LOOK_TIMEOUT)
        self._plane, self._probes = build(looking), StoreProbes(looking)
        self.keyring = open_keyring(self._plan.data_dir / "keyring.json", self._plane.tokens)
        for line in self.lines:
            # A process of an earlier run that was killed would count as alive for a while, and keep the new one out.
            self._forget_agent(line.name)
            self._supervisor.start(
                program(line, self.places, self._environment(line), agent_grace=self.config.drain_timeout + 5)
            )
        self._until(self._missing, _START, waiting_for, interrupted)

    def step(self, timeout: float) -> None:
        """Look after the processes; lasts up to `timeout` seconds. Raises GaveUp."""
        try:
            self._supervisor.step(timeout)
        except GaveUp as error:
            if error.name == STORE:
                raise EmbeddedStoreError(f"{error}; its last words: {self._store.last_words()}") from error
            raise

    def stop(self, at_once: Callable[[], bool] = lambda: False) -> None:
        """Stop everything, the store last: agents report to it until they are gone."""
        self._supervisor.stop((line.name for line in self.lines), at_once=at_once)
        self._supervisor.stop(at_once=at_once)
        self._supervisor.close()
        self._store.close()
        for part in (self._plane, self._probes, self._http):
            if part is not None:
                part.close()

    # --- starting --------------------------------------------------------------------------------------------------

    def _chosen(self, lines: Iterable[Line]) -> Iterator[Line]:
        for line in lines:
            if not (line.agent_id and not self._plan.agents) and not (
                line.command == "flower" and not self._plan.flower
            ):
                yield line

    def _environment(self, line: Line) -> dict[str, str]:
        config = self.config
        if line.command in _WITHOUT_KEYS:
            config = replace(config, encryption_keys="", encryption_key_file="")
        if line.command != "monitor":
            config = replace(config, audit_key_file="")
        env = _without_settings(os.environ) | config.to_env() | {"PYTHONUNBUFFERED": "1"}
        if line.agent_id:
            env[f"{ENV_PREFIX}AGENT_TOKEN"] = self.keyring.agent_token
            env.setdefault("SEARCH_INDEX_DIR", str((self._plan.data_dir / "search").resolve()))
        if line.command == "flower":
            env["FLOWER_BASIC_AUTH"] = f"{FLOWER_USER}:{self.keyring.flower_password}"
        return env

    def _until(
        self,
        missing: Callable[[], list[str]],
        timeout: float,
        waiting_for: Callable[[list[str]], None],
        interrupted: Callable[[], bool],
    ) -> None:
        end = time.monotonic() + timeout
        last: list[str] = []
        while found := missing():
            if interrupted():
                raise Interrupted
            if time.monotonic() > end:
                raise CommandFailed(f"not ready after {timeout:g} s: {', '.join(found)}")
            if found != last:
                waiting_for(found)
                last = found
            look_again = time.monotonic() + _LOOK_EVERY
            while (left := look_again - time.monotonic()) > 0:
                self.step(left)

    def _missing(self) -> list[str]:
        """The names of what is not ready yet. What was ready once is not asked again."""
        self._ready |= {line.name for line in self.lines if line.name not in self._ready and self._is_ready(line)}
        return [line.agent_id or line.name for line in self.lines if line.name not in self._ready]

    def _is_ready(self, line: Line) -> bool:
        assert self._plane is not None
        assert self._probes is not None
        try:
            if line.agent_id:
                return self._plane.registry.get(line.agent_id, None).status is not AgentStatus.OFFLINE
            if line.command == "serve":
                return self._http.get(f"{self.url}/readyz").status_code == httpx.codes.OK
            if line.command == "flower":
                return self._http.get(f"{self.flower_url}/").status_code == httpx.codes.UNAUTHORIZED
        except (AragoraError, httpx.HTTPError):
            return False
        return line.command != "monitor" or self._probes.report().has_leader

    # --- while it runs ---------------------------------------------------------------------------------------------

    def _forget_agent(self, name: str) -> None:
        """Say goodbye for an agent that died, so that its successor need not wait until it counts as silent."""
        agent_id = next((line.agent_id for line in self.lines if line.name == name), None)
        if agent_id and self._plane:
            with suppress(AragoraError):
                self._plane.registry.leave(agent_id, self._plane.registry.get(agent_id, None).session)

    def _remember(self) -> None:
        self._pids |= self._supervisor.pids
        self._on_change()

    def _named(self, command: str) -> str:
        """The name of the line that runs `command`; empty when there is none."""
        return next((line.name for line in self.lines if line.command == command), "")


def _places(plan: Plan) -> Places:
    port = free_port(plan.host, preferred=plan.port)
    if plan.port and port != plan.port:
        raise CommandFailed(f"port {plan.port} on {plan.host} is in use; choose another with --port, 0 for any")
    return Places(plan.host, port, free_port(preferred=_FLOWER_PORT))


def _without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if not name.startswith(ENV_PREFIX)}


def _reachable(host: str) -> str:
    """Where this machine finds what listens on `host`."""
    if host in ("0.0.0.0", "", "::"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
