"""Trails made without a store, for tests of what reads them."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aragora_cp.tenancy.audit import NOTHING, Record, body, entry_record, leaf, seal_hash, seal_record
from aragora_cp.tenancy.signing import Signer

BEGAN = 1_700_000_000_000


def signer(seed: int = 1) -> Signer:
    return Signer(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


def an_entry(n: int, *, trail: str = "acme", **more: str) -> Record:
    fields = {
        "actor": "token:0123456789abcdef",
        "action": "task.submit",
        "target": f"0196f9a0-0000-7000-8000-{n:012d}",
        "outcome": "accepted",
        "corr": f"c-{n}",
        "from": "192.0.2.1",
        "before": "",
        "after": '{"status":"PENDING"}',
    } | more
    return entry_record(trail, f"{BEGAN + n}-0", {name.encode(): text.encode() for name, text in fields.items()})


def sealed(
    entries: Sequence[Record], number: int = 1, after: Record | None = None, key: Signer | None = None
) -> Record:
    """A seal over `entries`, which follows `after`."""
    seal = seal_record(
        entries[0]["trail"],
        number,
        BEGAN + 10**6 + number,
        previous=seal_hash(after) if after else NOTHING,
        leaves=[leaf(entry) for entry in entries],
        first=entries[0]["id"],
        last=entries[-1]["id"],
        total=(after["total"] if after else 0) + len(entries),
        key=key.key if key else "",
    )
    return seal | {"signature": key.sign(body(seal)) if key else ""}


def export(*sizes: int, unsealed: int = 0, key: Signer | None = None, trail: str = "acme") -> list[Record]:
    """A whole export: segments of so many entries, then some that are not sealed."""
    records: list[Record] = []
    n, seal = 0, None
    for number, size in enumerate(sizes, start=1):
        entries = [an_entry(n + k, trail=trail) for k in range(size)]
        n += size
        seal = sealed(entries, number, seal, key)
        records += [*entries, seal]
    rest = [an_entry(n + k, trail=trail) for k in range(unsealed)]
    return framed(records + rest)


def framed(records: Sequence[Record]) -> list[Record]:
    """`records` with the header and the trailer that belong to them."""
    entries = [record for record in records if record["type"] == "entry"]
    seals = [record for record in records if record["type"] == "seal"]
    number = seals[-1]["seal"] if seals else 0
    trail = records[0]["trail"] if records else "acme"
    header = {
        "type": "trail",
        "trail": trail,
        "last_seal": number,
        "last_entry": entries[-1]["id"] if entries else "0-0",
    }
    end = {"type": "end", "last_seal": number, "unsealed": len(entries) - len(_before_last_seal(records))}
    return copy.deepcopy([header, *records, end])


def _before_last_seal(records: Sequence[Record]) -> list[Record]:
    last = max((n for n, record in enumerate(records) if record["type"] == "seal"), default=0)
    return [record for record in records[:last] if record["type"] == "entry"]
