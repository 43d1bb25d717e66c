"""Sealed values: AES-256-GCM, in a form that says what it is. Pure. The whole scheme: docs/explanation/encryption.md.

A value (V) and a wrapped key (W), all numbers of bytes; the header, up to the nonce, is authenticated too:

    V   FF 'C' 'V' 01 · id of the workspace's key (8) · nonce (12) · ciphertext and tag (n + 16)
    W   FF 'C' 'W' 01 · length of the root key's id (1) · that id · nonce (12) · ciphertext and tag (32 + 16)

No UTF-8 text has the byte FF, so a sealed value cannot be taken for a plain one, nor the other way round.
Every task has a key of its own (HKDF-Expand, RFC 5869, of the workspace's key), so the random nonces of one key are
those of one task: a few thousand at most, where NIST SP 800-38D allows 2**32.
"""

from __future__ import annotations

import hmac
import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from aragora_cp.errors import AragoraError
from aragora_cp.rootkeys import KEY_BYTES, RootKeys

KEY_ID_BYTES = 8

_VALUE = b"\xffCV\x01"
_WRAPPED = b"\xffCW\x01"
#: What every sealed value of any version begins with.
_ANY_VALUE = _VALUE[:3]
_NONCE_BYTES = 12
_TAG_BYTES = 16
_HEADER_BYTES = len(_VALUE) + KEY_ID_BYTES
OVERHEAD = _HEADER_BYTES + _NONCE_BYTES + _TAG_BYTES


class Unreadable(AragoraError):
    """It is encrypted, and its key is gone, or it was changed."""


class KeyNotHere(Unreadable):
    """It is encrypted under a root key that this process does not have."""


def is_sealed(data: bytes) -> bool:
    return data.startswith(_ANY_VALUE)


def seal(key: bytes, key_id: bytes, place: tuple[str, str, str], plain: bytes) -> bytes:
    """`plain` under the workspace's `key`. `place` is workspace, task and field: in another place it does not open."""
    header, nonce = _VALUE + key_id, os.urandom(_NONCE_BYTES)
    return header + nonce + AESGCM(_task_key(key, place)).encrypt(nonce, plain, header + _packed(*place))


def key_id_of(data: bytes) -> bytes:
    """Which key of the workspace a sealed value needs. Raises Unreadable for a form that is not known here."""
    if not data.startswith(_VALUE) or len(data) < OVERHEAD:
        raise Unreadable
    return data[len(_VALUE) : _HEADER_BYTES]


def unseal(key: bytes, place: tuple[str, str, str], data: bytes) -> bytes:
    """Raises Unreadable when it was changed, comes from another place, or is under another key."""
    header, nonce, sealed = _split(data, _HEADER_BYTES)
    try:
        return AESGCM(_task_key(key, place)).decrypt(nonce, sealed, header + _packed(*place))
    except InvalidTag:
        raise Unreadable from None


def wrap(roots: RootKeys, workspace: str, name: str, key: bytes) -> bytes:
    """A workspace's `key`, called `name`, under the newest root key."""
    root_id = roots.newest.encode()
    header, nonce = _WRAPPED + bytes([len(root_id)]) + root_id, os.urandom(_NONCE_BYTES)
    root = _derived(roots.by_id[roots.newest], "wrap", workspace)
    return header + nonce + AESGCM(root).encrypt(nonce, key, header + _packed(workspace, name))


def root_of(wrapped: bytes) -> str:
    """The id of the root key that a wrapped key needs. Raises Unreadable for a form that is not known here."""
    start = len(_WRAPPED) + 1
    if not wrapped.startswith(_WRAPPED) or len(wrapped) <= start:
        raise Unreadable
    end = start + wrapped[start - 1]
    if len(wrapped) != end + _NONCE_BYTES + KEY_BYTES + _TAG_BYTES:
        raise Unreadable
    return wrapped[start:end].decode(errors="replace")


def unwrap(roots: RootKeys, workspace: str, name: str, wrapped: bytes) -> bytes:
    """Raises KeyNotHere when no root key of that id is here, or another one; Unreadable for what is no wrapped key."""
    root = roots.by_id.get(root_of(wrapped))
    if root is None:
        raise KeyNotHere
    header, nonce, sealed = _split(wrapped, len(_WRAPPED) + 1 + wrapped[len(_WRAPPED)])
    try:
        return AESGCM(_derived(root, "wrap", workspace)).decrypt(nonce, sealed, header + _packed(workspace, name))
    except InvalidTag:
        raise KeyNotHere from None


def new_key() -> bytes:
    return os.urandom(KEY_BYTES)


def new_key_id() -> bytes:
    """Random, so that it never comes back for another key."""
    return os.urandom(KEY_ID_BYTES)


def keyed_digest(key: bytes, data: bytes) -> str:
    """HMAC-SHA256, hexadecimal: equal for equal data, and nobody without the key can try what it was."""
    return hmac.digest(_derived(key, "digest"), data, "sha256").hex()


def _split(data: bytes, header: int) -> tuple[bytes, bytes, bytes]:
    nonce_end = header + _NONCE_BYTES
    return data[:header], data[header:nonce_end], data[nonce_end:]


def _task_key(key: bytes, place: tuple[str, str, str]) -> bytes:
    return _derived(key, "task", place[0], place[1])


def _derived(key: bytes, *purpose: str) -> bytes:
    return HKDFExpand(SHA256(), KEY_BYTES, b"aragora-cp 1" + _packed(*purpose)).derive(key)


def _packed(*parts: str) -> bytes:
    """One text for each list of texts: ("a", "bc") and ("ab", "c") differ."""
    return b"".join(struct.pack(">I", len(raw)) + raw for raw in (part.encode() for part in parts))
