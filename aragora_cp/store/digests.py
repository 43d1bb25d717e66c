"""Digests of submits: which of them say the same.

They are kept in the store, and the digest of a body is as good as the body to whoever can guess it: with encryption on
it is a keyed one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from aragora_cp.model import NewTask
from aragora_cp.store.vault import Vault


def cache_digest(new: NewTask, vault: Vault) -> str:
    """Equal for tasks whose result may stand for one another: same type, payload and capabilities; '' when none may."""
    if not new.cache_ttl:
        return ""
    told = {"type": new.task_type, "caps": ",".join(sorted(new.required_capabilities))}
    return vault.digest(new.workspace, _text(told, new.payload))


def idempotency_digests(new: NewTask, vault: Vault) -> tuple[str, str, str] | None:
    """Of the key; of the body, equal for submits that say the same thing, whoever sends them and under whatever
    correlation id; and as it was kept before encryption was on ('' when it is off). None without a key."""
    if not new.idempotency_key:
        return None
    told = replace(new, payload=b"", correlation_id="", actor="", idempotency_key=None, metadata={})
    body = _text({"task": repr(told), "metadata": repr(sorted(new.metadata.items()))}, new.payload)
    return _plain(new.idempotency_key.encode()), vault.digest(new.workspace, body), _plain(body) if vault.seals else ""


def _plain(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _text(told: Mapping[str, str], payload: bytes) -> bytes:
    text = "\n".join(f"{name}={value}" for name, value in sorted(told.items()))
    return text.encode() + b"\0" + payload
