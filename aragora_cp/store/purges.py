"""Deleting a workspace, one bounded step after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import redis

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.store import scripts
from aragora_cp.store.connection import translated
from aragora_cp.store.keys import fleet_keys, workspace_keys

#: Tasks, tokens and agents that one step removes; and names of keys that it looks at, of whatever workspace.
MOST_REMOVED = 200
NAMES_LOOKED_AT = 2000
#: After so long no cache takes the workspace for alive any more, and nothing new is written for it.
SETTLED_MS = 3000

Stopped = tuple[str, str, int]  # agent, task, attempt


@dataclass(frozen=True, slots=True)
class Step:
    """`word`: more, gone, kept (it is not being deleted) or deposed. `stopped`: attempts that were cancelled."""

    word: str
    stopped: tuple[Stopped, ...] = ()


class WorkspacePurge:
    """The leading monitor takes a step at each look, until the workspace is gone. What one step did stays done, so it
    goes on after any crash. Raises StoreUnavailable."""

    def __init__(self, client: redis.Redis, config: ControlPlaneConfig) -> None:
        self._client = client
        self._prefix = config.key_prefix

    def step(self, epoch: int, workspace: str) -> Step:
        """Up to four round trips. The workspace's own record goes last, so that nobody can make one of the same name
        while something of this one is left."""
        forgotten = self._forget(epoch, workspace, last=False)
        if forgotten is None:
            return Step("deposed")
        word, stopped = self._purge(epoch, workspace, last=False)
        if word == "empty":
            word = "more"
            if forgotten and self._forget(epoch, workspace, last=True):
                word, _ = self._purge(epoch, workspace, last=True)
        return Step(word, stopped)

    def _forget(self, epoch: int, workspace: str, *, last: bool) -> bool | None:
        """Whether the fleet has nothing of it; None when another monitor leads."""
        root = fleet_keys(self._prefix).root
        answer = self._run("forget_workspace", root, epoch, workspace, MOST_REMOVED, int(last))
        return None if answer == b"deposed" else answer == 1

    def _purge(self, epoch: int, workspace: str, *, last: bool) -> tuple[str, tuple[Stopped, ...]]:
        root = workspace_keys(self._prefix, workspace).root
        word, flat = self._run("purge_workspace", root, epoch, MOST_REMOVED, NAMES_LOOKED_AT, SETTLED_MS, int(last))
        stopped = tuple((flat[n].decode(), flat[n + 1].decode(), int(flat[n + 2])) for n in range(0, len(flat), 3))
        return word.decode(), stopped

    def _run(self, name: str, root: str, *args: Any) -> Any:
        with translated():
            return scripts.run(self._client, scripts.Call(scripts.script(name), root, args))
