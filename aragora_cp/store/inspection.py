"""The deep check: do a workspace's records, leases, windows, backlogs, counters and reservations agree? Made for
operators."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import redis

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.store import scripts
from aragora_cp.store.connection import translated
from aragora_cp.store.keys import fleet_keys, workspace_keys

#: Records looked at in one script: a slice blocks the server for some milliseconds, not for all of its records.
SLICE = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not fit: its kind, and the task or counter it is about."""

    workspace: str
    kind: str
    about: str


class Inspector:
    """Each slice is judged, and mended, within one script: what is found was so at one instant, also on a live system.

    Raises StoreUnavailable from every method.
    """

    def __init__(self, client: redis.Redis, config: ControlPlaneConfig) -> None:
        self._client = client
        self._config = config

    def workspaces(self) -> list[str]:
        """Every workspace that ever had a task here. One round trip."""
        with translated():
            found: Any = self._client.zrange(fleet_keys(self._config.key_prefix)("active"), 0, -1)
        return [name.decode() for name in found]

    def inspect(self, workspace: str, *, fix: bool = False) -> Iterator[Finding]:
        """What does not fit, as it is found; with `fix` it is mended. One round trip for each slice of records."""
        first = 0
        while True:
            looked_at, findings = self._run("inspect_records", workspace, first, SLICE, int(fix))
            yield from self._findings(workspace, findings)
            gone = sum(kind == b"no-record" for kind, _ in findings) if fix else 0
            first += looked_at - gone
            if looked_at < SLICE:
                break
        with translated():
            lanes: Any = self._client.hkeys(fleet_keys(self._config.key_prefix)("lanes"))
        names = json.dumps([lane.decode() for lane in lanes])
        yield from self._findings(workspace, self._run("inspect_counters", workspace, names, int(fix)))
        yield from self._findings(workspace, self._run("inspect_budgets", workspace, int(fix)))
        if fix:
            with translated():
                self._client.zadd(fleet_keys(self._config.key_prefix)("active"), {workspace: 0}, lt=True)

    def _findings(self, workspace: str, rows: list[list[bytes]]) -> Iterator[Finding]:
        for kind, about in rows:
            yield Finding(workspace, kind.decode(), about.decode())

    def _run(self, name: str, workspace: str, *args: Any) -> Any:
        root = workspace_keys(self._config.key_prefix, workspace).root
        with translated():
            return scripts.run(self._client, scripts.Call(scripts.script(name), root, args))
