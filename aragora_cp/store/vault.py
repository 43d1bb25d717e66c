"""Vault: the workspaces' keys, and what is encrypted with them."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import redis

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import EncryptionUnavailable
from aragora_cp.rootkeys import RootKeys, read_root_keys
from aragora_cp.store import scripts, sealing
from aragora_cp.store.connection import translated
from aragora_cp.store.keys import workspace_keys
from aragora_cp.store.sealing import KeyNotHere, Unreadable

log = logging.getLogger(__name__)

#: How old a workspace's keys may be in a process, in seconds: a key that was destroyed or replaced is used no longer.
FRESH = 2.0
#: Of how many workspaces a process keeps keys.
MOST_WORKSPACES = 1000

_CURRENT, _DIGEST = "current", "digest"


@dataclass(slots=True)
class WorkspaceKeys:
    """A workspace's keys as one process sees them. `by_id` are unwrapped; `locked` are under a root key that is not
    here; `absent` are ids that were asked for and are nowhere."""

    at: float
    wrapped: Mapping[str, bytes] = field(repr=False)
    current: str = ""
    by_id: dict[str, bytes] = field(default_factory=dict, repr=False)
    locked: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)


class Vault:
    """Seals and opens values. Without root keys what is sealed stays as it is. Safe to share between threads.

    Each method asks the store for a workspace's keys when its copy is older than `FRESH`: one round trip, and one more
    when the workspace gets its first key. Raises StoreUnavailable from every method.
    """

    def __init__(
        self, client: redis.Redis, config: ControlPlaneConfig, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Raises ConfigError when the root keys cannot be read."""
        self.roots: RootKeys = read_root_keys(config.encryption_keys, config.encryption_key_file)
        self._client = client
        self._prefix = config.key_prefix
        self._clock = clock
        self._lock = threading.Lock()
        self._copies: OrderedDict[str, WorkspaceKeys] = OrderedDict()

    @property
    def seals(self) -> bool:
        """Whether this process can encrypt."""
        return bool(self.roots)

    def seal(self, workspace: str, task_id: str, field: str, plain: bytes) -> bytes:
        """Raises EncryptionUnavailable when the workspace's key is under a root key that is not here."""
        if not self.roots:
            return plain
        keys = self._with_current(workspace)
        key = self._unlocked(workspace, keys, keys.current)
        return sealing.seal(key, bytes.fromhex(keys.current), (workspace, task_id, field), plain)

    def open(self, workspace: str, task_id: str, field: str, data: bytes) -> bytes:
        """What `seal` was given; plain data as it is. Raises KeyNotHere, Unreadable."""
        if not sealing.is_sealed(data):
            return data
        if not self.roots:
            raise KeyNotHere
        key_id = sealing.key_id_of(data).hex()
        return sealing.unseal(self._key(workspace, key_id), (workspace, task_id, field), data)

    def digest(self, workspace: str, data: bytes) -> str:
        """Equal for equal data of one workspace, over every rotation; with encryption on it says nothing of the data to
        whoever has no key. Raises EncryptionUnavailable."""
        if not self.roots:
            return hashlib.sha256(data).hexdigest()
        key = self._unlocked(workspace, self._with_current(workspace), _DIGEST)
        return f"k1:{sealing.keyed_digest(key, data)}"

    def current(self, workspace: str) -> str:
        """The id of the key that encrypts now, hexadecimal. Raises EncryptionUnavailable when it is locked here."""
        keys = self._with_current(workspace)
        self._unlocked(workspace, keys, keys.current)
        return keys.current

    def rotate(self, workspace: str) -> bool:
        """Give the workspace a new key; within `FRESH` seconds every process encrypts with it. False when somebody else
        has just done so. Raises EncryptionUnavailable without root keys."""
        if not self.roots:
            raise EncryptionUnavailable
        before = self._load(workspace).current
        return self._add_key(workspace, before)

    def destroy(self, workspace: str) -> int:
        """Make everything that was ever encrypted for the workspace unreadable, at once here and within `FRESH` seconds
        everywhere; answers how many keys were destroyed. Needs no root key."""
        count: int = self._run("destroy_keys", workspace)
        with self._lock:
            self._copies.pop(workspace, None)
        return count

    def rewrap(self, workspace: str) -> int:
        """Bring the workspace's keys under the newest root key; answers how many were not. Raises EncryptionUnavailable
        when one is under a root key that is not here."""
        keys = self._load(workspace)
        swaps: list[Any] = []
        for name, wrapped in keys.wrapped.items():
            if sealing.root_of(wrapped) != self.roots.newest:
                key = self._unlocked(workspace, keys, name)
                swaps += (name, wrapped, sealing.wrap(self.roots, workspace, name, key))
        return self._run("swap_fields", workspace, "", "", *swaps) if swaps else 0

    def look(self, workspace: str) -> WorkspaceKeys:
        """The workspace's keys as they are in the store now. One round trip."""
        return self._load(workspace)

    def closed(self, workspaces: Iterable[str]) -> list[str]:
        """Those of `workspaces` whose tasks this process cannot read or must not take: they have keys or must have, and
        the root key for them is not here. One round trip."""
        names = list(workspaces)
        at = self._clock()
        with translated():
            pipe = self._client.pipeline(transaction=False)
            for name in names:
                keys = workspace_keys(self._prefix, name)
                pipe.hget(keys("workspace"), "encryption")
                pipe.hgetall(keys("keys"))
            answers = pipe.execute()
        closed = []
        for name, required, found in zip(names, answers[::2], answers[1::2], strict=True):
            keys_of = self._keep(name, at, found)
            if keys_of.locked or (required in (b"1", b"true") and not self.roots):
                closed.append(name)
        return closed

    # --- keys ------------------------------------------------------------------------------------------------------

    def _key(self, workspace: str, key_id: str) -> bytes:
        keys = self._copy(workspace)
        if key_id not in keys.wrapped and key_id not in keys.absent:
            keys = self._load(workspace)
            if key_id not in keys.wrapped:
                keys.absent.add(key_id)
        if key_id in keys.by_id:
            return keys.by_id[key_id]
        raise KeyNotHere if key_id in keys.locked else Unreadable

    def _unlocked(self, workspace: str, keys: WorkspaceKeys, name: str) -> bytes:
        if name not in keys.by_id:
            log.error(
                "a workspace's key is under a root key that this process does not have",
                extra={"workspace": workspace, "root_key": _root_of(keys.wrapped.get(name, b""))},
            )
            raise EncryptionUnavailable
        return keys.by_id[name]

    def _with_current(self, workspace: str) -> WorkspaceKeys:
        keys = self._copy(workspace)
        if not keys.current and self.roots:
            self._add_key(workspace, "")
            keys = self._copy(workspace)
        return keys

    def _copy(self, workspace: str) -> WorkspaceKeys:
        with self._lock:
            keys = self._copies.get(workspace)
        if keys is not None and self._clock() - keys.at < FRESH:
            return keys
        return self._load(workspace)

    def _load(self, workspace: str) -> WorkspaceKeys:
        at = self._clock()
        with translated():
            found: Any = self._client.hgetall(workspace_keys(self._prefix, workspace)("keys"))
        return self._keep(workspace, at, found)

    def _add_key(self, workspace: str, before: str) -> bool:
        key_id = sealing.new_key_id().hex()
        new, digest = (sealing.wrap(self.roots, workspace, name, sealing.new_key()) for name in (key_id, _DIGEST))
        at = self._clock()
        flat = self._run("add_key", workspace, before, key_id, new, digest)
        pairs = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
        return self._keep(workspace, at, pairs).current == key_id

    def _keep(self, workspace: str, at: float, found: Mapping[bytes, bytes]) -> WorkspaceKeys:
        wrapped = {name.decode(): value for name, value in found.items()}
        keys = WorkspaceKeys(at, wrapped, current=wrapped.pop(_CURRENT, b"").decode())
        for name, value in wrapped.items():
            try:
                keys.by_id[name] = sealing.unwrap(self.roots, workspace, name, value)
            except Unreadable:
                keys.locked.add(name)
        with self._lock:
            self._copies[workspace] = keys
            self._copies.move_to_end(workspace)
            while len(self._copies) > MOST_WORKSPACES:
                self._copies.popitem(last=False)
        return keys

    def _run(self, name: str, workspace: str, *args: Any) -> Any:
        root = workspace_keys(self._prefix, workspace).root
        with translated():
            return scripts.run(self._client, scripts.Call(scripts.script(name), root, args))


def _root_of(wrapped: bytes) -> str:
    try:
        return sealing.root_of(wrapped)
    except Unreadable:
        return ""
