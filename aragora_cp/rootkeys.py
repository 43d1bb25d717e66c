"""RootKeys: the keys that protect the workspaces' keys. They live outside the store. Pure but for reading the file."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aragora_cp.errors import ConfigError

KEY_BYTES = 32

_ID = re.compile(r"[A-Za-z0-9._-]{1,32}")
_COMMENT = re.compile(r"#.*")
_BETWEEN = re.compile(r"[\s,]+")


@dataclass(frozen=True, slots=True)
class RootKeys:
    """By id; `newest` encrypts, all decrypt. Empty: nothing is encrypted here. A key never stands in its repr."""

    newest: str = ""
    by_id: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def __bool__(self) -> bool:
        return bool(self.by_id)


def parse_root_keys(text: str, where: str) -> RootKeys:
    """`id:key` entries between commas or white space, newest first; a key is 32 bytes in base64; `#` begins a comment.

    Raises ConfigError that names `where` and the entry's place in it, never what it holds.
    """
    by_id: dict[str, bytes] = {}
    entries = [entry for entry in _BETWEEN.split("\n".join(map(_bare, text.splitlines()))) if entry]
    for n, entry in enumerate(entries, start=1):
        name, _, encoded = entry.partition(":")
        if not _ID.fullmatch(name):
            raise ConfigError(f"{where}: entry {n} is not of the form id:key, the id 1 to 32 of letters, digits, . _ -")
        if name in by_id:
            raise ConfigError(f"{where}: entry {n} has the id of an earlier one, {name!r}")
        key = _decoded(encoded)
        if len(key) != KEY_BYTES:
            raise ConfigError(f"{where}: the key {name!r} is not {KEY_BYTES} bytes in base64")
        by_id[name] = key
    return RootKeys(next(iter(by_id), ""), by_id)


def read_root_keys(keys: str, file: str) -> RootKeys:
    """From `keys` itself, or from the file named `file` when that is not empty. Raises ConfigError."""
    if not file:
        return parse_root_keys(keys, "encryption_keys")
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"encryption_key_file: cannot read {file}: {why}") from None
    found = parse_root_keys(text, f"encryption_key_file {file}")
    if not found:
        raise ConfigError(f"encryption_key_file {file} holds no key")
    return found


def _bare(line: str) -> str:
    return _COMMENT.sub("", line)


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded.encode(), altchars=b"-_" if set(encoded) & set("-_") else None, validate=True)
    except (binascii.Error, ValueError):
        return b""
