"""What an audit trail is made of, byte for byte: entries, the seals over them, and how both are hashed. Pure.

A record is a JSON object. Its canonical encoding is that of RFC 8785: UTF-8, members in order of their names, nothing
between them; texts and whole numbers only, at any depth. An entry is hashed as a leaf of RFC 6962, section 2.1:
SHA-256 over a zero byte and its canonical encoding, in which `trail` and `id` stand too; a seal carries the root over
the leaves of its entries, in the order of the trail. What is hashed and signed of a seal is the canonical encoding of
all its members but `signature`; each seal carries the hash of the one before it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

Record = dict[str, Any]

#: The hash that the first seal of a trail carries as the one before it.
NOTHING = "0" * 64
#: What an action of the monitor is called that removes old segments; a seal's number is its target.
TRIM = "audit.trim"
#: Bytes of each leaf hash that a seal keeps: they tell which entry of a segment is not the one that was sealed.
MARK = 4

#: What every seal says.
SEAL_MEMBERS: Mapping[str, type] = {
    **dict.fromkeys(("type", "trail", "time", "previous", "root", "marks", "first", "last", "key", "signature"), str),
    **dict.fromkeys(("seal", "count", "total"), int),
}

_HEXADECIMAL = ("previous", "root", "key", "signature")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def entry_record(trail: str, entry_id: str, fields: Mapping[bytes, bytes]) -> Record:
    """An entry as it is shown, exported and hashed, from its fields in the store."""
    text = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in fields.items()}
    action = text.pop("action", "")
    record = {
        "type": "entry",
        "trail": trail,
        "id": entry_id,
        "time": moment(milliseconds(entry_id)),
        "actor": text.pop("actor", ""),
        "action": action,
        "kind": action.partition(".")[0],
        "target": text.pop("target", ""),
        "outcome": text.pop("outcome", ""),
        "correlation_id": text.pop("corr", ""),
        "address": text.pop("from", ""),
        "before": _state(text.pop("before", "")),
        "after": _state(text.pop("after", "")),
    }
    return record | {f"other_{name}": value for name, value in text.items()}


def seal_record(
    trail: str,
    number: int,
    time_ms: int,
    *,
    previous: str,
    leaves: Sequence[bytes],
    first: str,
    last: str,
    total: int,
    key: str,
) -> Record:
    """Seal `number` over `leaves`, unsigned. `total` counts all entries so far; `key` is the public one that will sign,
    hexadecimal, '' for none."""
    return {
        "type": "seal",
        "trail": trail,
        "seal": number,
        "time": moment(time_ms),
        "previous": previous,
        "root": merkle_root(leaves).hex(),
        "marks": base64.b64encode(marks(leaves)).decode(),
        "first": first,
        "last": last,
        "count": len(leaves),
        "total": total,
        "key": key,
    }


def seal_fields(seal: Mapping[str, Any]) -> dict[str, bytes | str | int]:
    """A signed seal as the store keeps it: hashes, key and signature as bytes."""
    plain = {name: seal[name] for name in ("time", "first", "last", "count", "total")}
    packed = {name: bytes.fromhex(seal[name]) for name in _HEXADECIMAL}
    return plain | packed | {"marks": base64.b64decode(seal["marks"])}


def stored_seal(trail: str, number: int, fields: Mapping[bytes, bytes]) -> Record:
    """The seal again; what somebody changed in the store comes out changed."""
    text = {name: fields.get(name.encode(), b"").decode(errors="replace") for name in ("time", "first", "last")}
    packed = {name: fields.get(name.encode(), b"").hex() for name in _HEXADECIMAL}
    counts = {name: _whole(fields.get(name.encode(), b"")) for name in ("count", "total")}
    held = base64.b64encode(fields.get(b"marks", b"")).decode()
    return {"type": "seal", "trail": trail, "seal": number, **text, **packed, **counts, "marks": held}


def canonical(record: Mapping[str, Any]) -> bytes:
    """Raises TypeError for what cannot stand in a record."""
    return orjson.dumps(record, option=orjson.OPT_SORT_KEYS)


def leaf(entry: Mapping[str, Any]) -> bytes:
    """RFC 6962: the hash of a leaf begins with 0, that of a node with 1, so that neither can stand for the other."""
    return hashlib.sha256(b"\x00" + canonical(entry)).digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, over leaf hashes. Its trees are filled from the left, so a level's odd last node
    goes up as it is."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    level, sha256 = list(leaves), hashlib.sha256
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        level = [sha256(b"\x01" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)] + odd
    return level[0]


def marks(leaves: Sequence[bytes]) -> bytes:
    return b"".join(each[:MARK] for each in leaves)


def split_marks(text: str) -> list[bytes]:
    """What `seal["marks"]` holds, one for each entry. Raises ValueError."""
    held = base64.b64decode(text, validate=True)
    return [held[n : n + MARK] for n in range(0, len(held), MARK)]


def body(seal: Mapping[str, Any]) -> bytes:
    """What is hashed and signed of a seal."""
    return canonical({name: value for name, value in seal.items() if name != "signature"})


def seal_hash(seal: Mapping[str, Any]) -> str:
    return hashlib.sha256(body(seal)).hexdigest()


def milliseconds(entry_id: str) -> int:
    """When an entry was made, by the store's clock. Raises ValueError for what is no id."""
    return int(entry_id.partition("-")[0])


def place(entry_id: str) -> tuple[int, int]:
    """An id as it is ordered in its trail. Raises ValueError."""
    ms, _, n = entry_id.partition("-")
    return int(ms), int(n)


def moment(ms: int) -> str:
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _whole(text: bytes) -> int:
    return int(text) if text.isdigit() and len(text) < 19 else -1


def _state(text: str) -> Any:
    """What a script wrote of a target; a text as it is when it is no JSON object."""
    if not text:
        return None
    try:
        found = orjson.loads(text)
        canonical({"": found})
    except (orjson.JSONDecodeError, TypeError):
        return text
    return found if isinstance(found, dict) else text
