"""Encrypting records anew, while everything runs: after a rotation, or when encryption was switched on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import redis

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.store import scripts
from aragora_cp.store.connection import translated
from aragora_cp.store.forms import Record, as_record, error_field
from aragora_cp.store.keys import workspace_keys
from aragora_cp.store.records import history_fields
from aragora_cp.store.sealing import Unreadable, is_sealed, key_id_of
from aragora_cp.store.vault import Vault

#: Records read at once: no more than so many payloads and results are in memory, or on the way.
STEP = 20

_FIELDS = ("payload", "result", "note")


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did. `looked_at` are records; `renewed` values that were encrypted anew, `unreadable` values that
    cannot be read here."""

    looked_at: int
    renewed: int
    unreadable: int


class Rewrapper:
    """Raises StoreUnavailable, and EncryptionUnavailable when a workspace's key cannot be used here."""

    def __init__(self, client: redis.Redis, config: ControlPlaneConfig, vault: Vault) -> None:
        self._client = client
        self._prefix = config.key_prefix
        self._vault = vault

    def count(self, workspace: str) -> int:
        """How many records there are. One round trip."""
        with translated():
            return self._client.zcard(workspace_keys(self._prefix, workspace)("tasks"))

    def renew(self, workspace: str) -> Iterator[Step]:
        """Bring every value under the workspace's current key. Two round trips a step; two more when records of it
        change: the audit entry, and then all of them, each whole, and only while it is what was read.

        Records of after the start are not looked at, they are new. May be stopped anywhere and begun again.
        """
        keys = workspace_keys(self._prefix, workspace)
        cursor = 0
        while True:
            with translated():
                rows: Any
                cursor, rows = self._client.zscan(keys("tasks"), cursor, count=STEP)
            ids = [task_id.decode() for task_id, _ in rows]
            for n in range(0, len(ids), STEP):  # a small set is answered whole
                yield self._step(workspace, ids[n : n + STEP])
            if cursor == 0:
                return

    def _step(self, workspace: str, ids: list[str]) -> Step:
        keys = workspace_keys(self._prefix, workspace)
        current = self._vault.current(workspace)
        with translated():
            pipe = self._client.pipeline(transaction=False)
            for task_id in ids:
                pipe.hgetall(keys("task", task_id))
            records = [as_record(found) for found in pipe.execute()]
        calls, unreadable = [], 0
        for task_id, record in zip(ids, records, strict=True):
            swaps, lost = self._swaps(workspace, task_id, record, current)
            unreadable += lost
            if swaps:
                args = (task_id, record["attempt"], *swaps)
                calls.append(scripts.Call(scripts.script("swap_fields"), keys.root, args))
        with translated():
            if calls:
                told = ("records.rewrap", "", json.dumps({"records": len(calls), "key": current}))
                scripts.run(self._client, scripts.Call(scripts.script("note_entry"), keys.root, told))
            renewed = sum(scripts.run_all(self._client, calls)) if calls else 0
        return Step(len(ids), renewed, unreadable)

    def _swaps(self, workspace: str, task_id: str, record: Record, current: str) -> tuple[list[Any], int]:
        """Field, old and new value of each that is not under the current key; and how many cannot be read."""
        swaps: list[Any] = []
        unreadable = 0
        for name, place, head, value in _values(record):
            if not value or _under(value, current):
                continue
            try:
                plain = self._vault.open(workspace, task_id, place, value)
            except Unreadable:
                unreadable += 1
                continue
            swaps += (name, record[name], head + self._vault.seal(workspace, task_id, place, plain))
        return swaps, unreadable


def _values(record: Record) -> Iterator[tuple[str, str, bytes, bytes]]:
    """Field of the record, field that it is sealed as, what stands before the value, the value."""
    for name in _FIELDS:
        yield name, name, b"", record.get(name, b"")
    if "err_message" in record:
        yield "err_message", error_field(int(record["attempt"])), b"", record["err_message"]
    for name, attempt in history_fields(record):
        *head, message = record[name].split(b"|", 4)
        yield name, error_field(attempt), b"|".join(head) + b"|", message


def _under(value: bytes, key_id: str) -> bool:
    try:
        return is_sealed(value) and key_id_of(value).hex() == key_id
    except Unreadable:
        return False
