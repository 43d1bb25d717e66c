"""What the monitor does in the store: one method, one round trip."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis
from redis.exceptions import ResponseError

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.lanes import narrowed
from aragora_cp.model import Lane, Ticket
from aragora_cp.ports import Switches
from aragora_cp.store import scripts
from aragora_cp.store.agents import read_lanes
from aragora_cp.store.connection import translated
from aragora_cp.store.forms import lanes_json, read_tickets
from aragora_cp.store.keys import fleet_keys, workspace_keys
from aragora_cp.store.purges import Stopped, WorkspacePurge

log = logging.getLogger(__name__)

#: Bound on each kind of repair in one look at one workspace: recovery is spread out, not one burst.
MOST_PER_LOOK = 100
MOST_WORKSPACES = 500
MOST_AGENTS = 200
#: An agent that has been offline for this long is forgotten.
FORGET_AGENT_MS = 24 * 3600 * 1000
#: A ticket that is missing from its queue is sent again when it is this old.
RESEND_MS = 1500
#: A ticket that waits in a busy lane goes to an idle one when it is this old.
MOVE_MS = 400
#: Whether a task that has reserved money is still there is looked at this often.
RESERVED_MS = 3600 * 1000


@dataclass(frozen=True, slots=True)
class Leadership:
    """`epoch` 0: another monitor leads. `judge`: silence of agents may be held against them."""

    epoch: int
    judge: bool
    new: bool


@dataclass(frozen=True, slots=True)
class Due:
    """Workspaces to look at, each with the score it was given for this look, and the lanes as they are now."""

    workspaces: tuple[tuple[str, float], ...]
    lanes: tuple[Lane, ...]
    now: int


@dataclass(frozen=True, slots=True)
class Queue:
    """What one workspace has to do. `oldest_since`: when the task that has waited longest began to, ms; `unserved`:
    since when a task waits for capabilities that no agent has, by these."""

    pending: int = 0
    delayed: int = 0
    running: int = 0
    oldest_since: int | None = None
    unserved: Mapping[str, int] = field(default_factory=dict)


#: The next look at a workspace that was deleted.
GONE = -1


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a workspace did. `next_look`: ms by the store's clock, 0 next tick, None never, `GONE` when
    there is no such workspace any more. `stopped` are attempts that were cancelled."""

    workspace: str
    next_look: int | None
    tickets: tuple[Ticket, ...]
    load: Mapping[str, int]
    repairs: Mapping[str, int]
    stopped: tuple[Stopped, ...] = ()
    #: Figures since the look before, by field.
    counted: Mapping[str, int] = field(default_factory=dict)
    queue: Queue = Queue()


class Deposed(Exception):
    """Another monitor has taken over."""


class SweepStore:
    """Raises StoreUnavailable from every method, Deposed where it says so."""

    def __init__(self, client: redis.Redis, config: ControlPlaneConfig, switches: Switches | None = None) -> None:
        self._client = client
        self._config = config
        self._switches = switches or Switches()
        self._keys = fleet_keys(config.key_prefix)
        self._purge = WorkspacePurge(client, config)

    def lead(self, token: str, *, lease_ms: int, gap_ms: int) -> Leadership:
        """Become or stay the leader, or learn that another one is."""
        epoch, judge, new = self._run("lead_monitors", token, lease_ms, gap_ms, self._config.heartbeat_timeout_ms)
        return Leadership(epoch, bool(judge), bool(new))

    def resign(self, token: str) -> None:
        """Let another monitor lead at once."""
        self._run("resign_monitor", token)

    def due(self, load: Mapping[str, int]) -> Due:
        """What to look at now; lanes carry the counts in `load`."""
        rows, lanes, slots, now = self._run("due_workspaces", MOST_WORKSPACES)
        workspaces = tuple((rows[n].decode(), float(rows[n + 1])) for n in range(0, len(rows), 2))
        found = read_lanes(_pairs(lanes), _pairs(slots), dict(load))
        return Due(workspaces, tuple(found), now)

    def retire(self, epoch: int) -> list[str]:
        """Mark silent agents offline; answers which. Raises Deposed."""
        answer = self._run("retire_agents", epoch, self._config.heartbeat_timeout_ms, FORGET_AGENT_MS, MOST_AGENTS)
        if answer == b"deposed":
            raise Deposed
        return [agent_id.decode() for agent_id in answer]

    def sweep(
        self,
        epoch: int,
        workspaces: Sequence[str],
        *,
        judge: bool,
        lanes: Sequence[Lane],
        short: Sequence[str],
        idle: Sequence[str],
        chance: float,
    ) -> list[Look]:
        """Look at each of `workspaces`, all in one round trip (and one more when flags must be read anew), and take a
        step with each that is being deleted. Raises Deposed.

        One that cannot be looked at is logged, left out and due again: its trouble must not become the others'.
        """
        retention = round(self._config.result_retention * 1000)
        control = {
            "epoch": epoch,
            "judge": int(judge),
            "window": self._config.window,
            "most": MOST_PER_LOOK,
            "grace": round(self._config.kill_grace * 1000),
            "retention": retention,
            "resend": RESEND_MS,
            "move": MOVE_MS,
            "ageing": round(self._config.ageing * 1000),
            "reserved": RESERVED_MS,
            "short": list(short),
            "idle": list(idle),
        }
        self._switches.look(workspaces)
        calls = []
        for workspace in workspaces:
            off = self._switches.switched_off(workspace)
            usable = [narrowed(lane, off) for lane in lanes if lane.pool in ("shared", workspace)]
            root = workspace_keys(self._config.key_prefix, workspace).root
            args = (json.dumps(control), lanes_json(usable), chance)
            calls.append(scripts.Call(scripts.script("sweep_workspace"), root, args))
        with translated():
            answers = scripts.run_all(self._client, calls, raise_errors=False)
        looks = []
        for workspace, answer in zip(workspaces, answers, strict=True):
            if isinstance(answer, Exception):
                _log_fault(workspace, answer)
                continue
            if answer[0] == b"deposed":
                raise Deposed
            if answer[0] == b"deleting":
                looks.append(self._delete(epoch, workspace))
                continue
            _, next_look, tickets, load, repairs, counted, gauges = answer
            looks.append(
                Look(
                    workspace,
                    None if next_look < 0 else next_look,
                    read_tickets(workspace, tickets),
                    _numbers(load),
                    _numbers(repairs),
                    counted=_numbers(counted),
                    queue=_queue(gauges),
                )
            )
        return looks

    def _delete(self, epoch: int, workspace: str) -> Look:
        """The next step of deleting a workspace."""
        step = self._purge.step(epoch, workspace)
        if step.word == "deposed":
            raise Deposed
        return Look(workspace, GONE if step.word == "gone" else 0, (), {}, {}, step.stopped)

    def schedule(self, load: Mapping[str, int] | None, looks: Sequence[tuple[str, float, float]]) -> None:
        """Note the lanes' load (None keeps it) and when to look next: (workspace, score given, next score) each."""
        rows = [part for row in looks for part in row]
        self._run("schedule_looks", "" if load is None else json.dumps(dict(load)), *rows)

    def _run(self, name: str, *args: Any) -> Any:
        with translated():
            return scripts.run(self._client, scripts.Call(scripts.script(name), self._keys.root, args))


def _log_fault(workspace: str, error: Exception) -> None:
    """A script's own fault is logged; raises StoreUnavailable when the server takes no writes now."""
    try:
        with translated():
            raise error
    except ResponseError:
        log.exception("a workspace cannot be looked at", extra={"workspace": workspace})


def _numbers(flat: Any) -> dict[str, int]:
    return {name.decode(): int(n) for name, n in _pairs(flat).items()}


def _queue(told: Any) -> Queue:
    pending, delayed, running, since, unserved = told
    return Queue(pending, delayed, running, None if since == b"" else int(since), _numbers(unserved))


def _pairs(flat: Any) -> dict[bytes, Any]:
    return flat if isinstance(flat, dict) else {flat[n]: flat[n + 1] for n in range(0, len(flat), 2)}
