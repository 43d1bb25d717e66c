"""Feature flags in the store: the platform's in the fleet's slot, a workspace's own in its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import redis

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import NotFound, QuotaExceeded
from aragora_cp.model import FlagVersion
from aragora_cp.store import scripts
from aragora_cp.store.connection import translated
from aragora_cp.store.keys import fleet_keys, workspace_keys

#: Flags that the platform may have, and each workspace of its own.
MOST_FLAGS = 200
#: What is said of the platform's flags on the channel of changes.
PLATFORM_HOME = "*"


class FlagStore:
    """`home` is a workspace, or None for the platform. One round trip a method. Raises StoreUnavailable from every
    method."""

    def __init__(self, client: redis.Redis, config: ControlPlaneConfig) -> None:
        self._client = client
        self._prefix = config.key_prefix

    def read(self, homes: Sequence[str | None]) -> list[Mapping[str, FlagVersion]]:
        """The flags of each home, by name."""
        with translated():
            pipe = self._client.pipeline(transaction=False)
            for home in homes:
                pipe.hgetall(self._keys(home)("flags"))
            answers = pipe.execute()
        return [{name.decode(): _entry(name.decode(), entry) for name, entry in found.items()} for found in answers]

    def versions(self, home: str | None, name: str) -> list[FlagVersion]:
        """The versions that are kept, newest first; those in which it was deleted have no text."""
        with translated():
            found: Any = self._client.lrange(self._keys(home)("flag_versions", name), 0, -1)
        return [_entry(name, entry) for entry in found]

    def put(self, home: str | None, name: str, text: str) -> FlagVersion:
        """Its next version; the present one when it says the same. Raises QuotaExceeded."""
        return self._change("set_flag", home, name, text)

    def delete(self, home: str | None, name: str) -> None:
        """Its versions are kept. Raises NotFound."""
        self._change("set_flag", home, name, "")

    def roll_back(self, home: str | None, name: str, version: int) -> FlagVersion:
        """Raises NotFound for a version that is not kept, or in which it was deleted; QuotaExceeded."""
        return self._change("roll_back_flag", home, name, version)

    def _change(self, script: str, home: str | None, name: str, what: Any) -> FlagVersion:
        channel = fleet_keys(self._prefix)("changes")
        args = (name, what, MOST_FLAGS, channel, f"flags:{home or PLATFORM_HOME}")
        with translated():
            word, *more = scripts.run(self._client, scripts.Call(scripts.script(script), self._keys(home).root, args))
        if word == b"quota":
            raise QuotaExceeded("flags", *more)
        if word == b"unknown":
            raise NotFound(f"there is no such flag or version: {name!r}")
        return _entry(name, more[0])

    def _keys(self, home: str | None) -> Any:
        return fleet_keys(self._prefix) if home is None else workspace_keys(self._prefix, home)


def _entry(name: str, entry: bytes) -> FlagVersion:
    told = json.loads(entry)
    return FlagVersion(name, int(told["version"]), int(told["at"]), told["by"], told["flag"])
