"""Workspaces in the store: each one's settings in its own slot, where its scripts read them; their names in the
fleet's."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import redis

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import Workspace
from aragora_cp.ratelimits import from_json, limits_json, read_limits
from aragora_cp.store import scripts
from aragora_cp.store.connection import translated
from aragora_cp.store.keys import fleet_keys, workspace_keys

_NUMBERS = (
    "weight",
    "max_pending",
    "max_running",
    "max_payload_bytes",
    "max_result_bytes",
    "max_agents",
    "max_tokens",
    "created_at",
)


class WorkspaceStore:
    """Raises StoreUnavailable from every method."""

    def __init__(self, client: redis.Redis, config: ControlPlaneConfig) -> None:
        self._client = client
        self._prefix = config.key_prefix
        self._fleet = fleet_keys(config.key_prefix)

    def create(self, workspace: str, settings: Mapping[str, Any]) -> tuple[str, Workspace]:
        """Enter a workspace. Answers created, exists or deleting, and the workspace that there is. Two round trips."""
        flat = [part for pair in _fields(settings).items() for part in pair if pair[1] != ""]
        word, record = self._run("create_workspace", workspace, uuid.uuid4().hex, workspace, *flat)
        if word != b"deleting":
            # Also for one that was there: its creator may have died between the two.
            with translated():
                self._client.zadd(self._fleet("workspaces"), {workspace: 0})
        return word.decode(), _read(workspace, record)

    def read(self, workspace: str) -> Workspace | None:
        """One round trip."""
        with translated():
            record = self._client.hgetall(workspace_keys(self._prefix, workspace)("workspace"))
        return _read(workspace, record) if record else None

    def change(self, workspace: str, settings: Mapping[str, Any], action: str) -> tuple[str, Workspace | None]:
        """Change the given settings (None: none any more), noted as `action`; answers changed, deleting (refused) or
        unknown, and what there is after it. Caches are told, and the monitor looks at it anew. Two round trips."""
        flat = [part for pair in _fields(settings).items() for part in pair]
        word, *more = self._run("change_workspace", workspace, workspace, action, *flat)
        if word == b"changed":
            with translated():
                pipe = self._client.pipeline(transaction=False)
                pipe.zadd(self._fleet("active"), {workspace: 0}, lt=True)
                pipe.publish(self._fleet("changes"), f"workspace:{workspace}")
                pipe.execute()
        return word.decode(), _read(workspace, more[0]) if more else None

    def page(self, after: str, most: int) -> tuple[list[Workspace], str | None]:
        """Up to `most` workspaces by name, those after the name `after`; and the name after which the next page begins.
        Two round trips."""
        with translated():
            found: Any = self._client.zrangebylex(
                self._fleet("workspaces"), f"({after}" if after else "-", "+", start=0, num=most + 1
            )
            names = [name.decode() for name in found]
            pipe = self._client.pipeline(transaction=False)
            for name in names[:most]:
                pipe.hgetall(workspace_keys(self._prefix, name)("workspace"))
            records = pipe.execute()
        rows = [_read(name, record) for name, record in zip(names, records, strict=False) if record]
        return rows, names[most - 1] if len(names) > most else None

    def _run(self, name: str, workspace: str, *args: Any) -> Any:
        root = workspace_keys(self._prefix, workspace).root
        with translated():
            return scripts.run(self._client, scripts.Call(scripts.script(name), root, args))


def _fields(settings: Mapping[str, Any]) -> dict[str, Any]:
    """As a hash has them: '' is none, truth is 1 or 0."""
    return {name: _field(value) for name, value in settings.items()}


def _field(value: Any) -> Any:
    if isinstance(value, Mapping):
        return limits_json(read_limits(value))
    return "" if value is None else int(value) if isinstance(value, bool) else value


def _read(workspace: str, record: Any) -> Workspace:
    pairs = record.items() if isinstance(record, dict) else zip(record[::2], record[1::2], strict=True)
    text = {name.decode(): value.decode() for name, value in pairs}
    found: dict[str, Any] = {
        name: text[name] for name in ("name", "status", "placement", "unknown_price") if name in text
    }
    found |= {name: int(text[name]) for name in _NUMBERS if name in text}
    if "retention" in text:
        found["retention"] = float(text["retention"])
    if "rate_limits" in text:
        found["rate_limits"] = from_json(text["rate_limits"])
    return Workspace(workspace, **found, encryption=text.get("encryption") in ("1", "true"))
