"""AuditTrail: reads a trail, exports it, verifies it, and notes refusals that reach no script."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from aragora_cp.errors import Conflict, MalformedRequest, NotFound
from aragora_cp.model import Page
from aragora_cp.store.trails import PLATFORM, Part, Row, TrailStore
from aragora_cp.telemetry.origin import Origin
from aragora_cp.tenancy.audit import Record, entry_record, stored_seal
from aragora_cp.tenancy.findings import Report
from aragora_cp.tenancy.verification import Verifier

#: Entries that one call of `verify` looks at before it says where to go on.
VERIFIED_AT_ONCE = 50_000

_ENTRY_ID = re.compile(r"[0-9]{1,15}-[0-9]{1,15}")
_SEAL = re.compile(r"[1-9][0-9]{0,15}")


@dataclass(frozen=True, slots=True)
class ExportPart:
    """Records in their order, and the cursor of the next part; `total` counts the entries of the whole."""

    records: tuple[Record, ...]
    next_cursor: str | None
    total: int


class AuditTrail:
    """A trail is named by its workspace, or PLATFORM. Raises StoreUnavailable from every method."""

    def __init__(self, store: TrailStore) -> None:
        self._store = store

    def refuse(self, trail: str, origin: Origin, action: str, target: str, outcome: str) -> None:
        """Note that an operation was refused before it reached a script. Bounded, whoever asks how often. One round
        trip."""
        self._store.refuse(trail, origin, action, target, outcome)

    def list(
        self,
        trail: str,
        *,
        earliest: int | None = None,
        latest: int | None = None,
        actor: str = "",
        action: str = "",
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Record]:
        """Entries, newest first, between two times in ms. `action` may end in ``*``. A page may be short and still have
        a cursor. Raises MalformedRequest for a cursor that is not ours. One round trip."""
        if cursor is not None and not _ENTRY_ID.fullmatch(cursor):
            raise MalformedRequest("the cursor is not one of ours")
        rows, following = self._store.page(
            trail, earliest=earliest, latest=latest, actor=actor, action=action, before=cursor or "", limit=limit
        )
        return Page(tuple(_entries(trail, rows)), following or None)

    def export(self, trail: str, cursor: str | None = None) -> ExportPart:
        """One part of a whole export, oldest first, as `tenancy.verification` reads it. Raises MalformedRequest, and
        Conflict when the trail was trimmed past the cursor: then begin anew. One round trip."""
        after = _seal_number(cursor) if cursor is not None else None
        part = self._part(trail, after)
        records: list[Record] = [] if cursor else [_header(trail, part)]
        records += _records(trail, part)
        if part.is_last:
            records.append({"type": "end", "last_seal": _last_seal(part, after), "unsealed": len(part.unsealed)})
            return ExportPart(tuple(records), None, part.total + len(part.unsealed))
        return ExportPart(tuple(records), _next(part), part.total)

    def verify(self, trail: str, cursor: str | None = None) -> tuple[Report, str | None]:
        """Whether the trail holds, from the seal at `cursor` on (None: from its beginning), and where to go on if that
        was not all. Raises as `export`, NotFound for a cursor without a seal. About a second's work."""
        after = _seal_number(cursor) if cursor is not None else None
        verifier = Verifier(after=self._known_seal(trail, after) if after is not None else None, part=True)
        looked_at = 0
        while True:
            part = self._part(trail, after)
            if part.is_last:
                verifier.feed(_header(trail, part))
            for record in _records(trail, part):
                verifier.feed(record)
                looked_at += 1
            if part.is_last:
                return verifier.end(), None
            after = int(_next(part))
            if looked_at >= VERIFIED_AT_ONCE:
                return verifier.end(), str(after)

    def _part(self, trail: str, after: int | None) -> Part:
        part = self._store.part(trail, after)
        if part is None:
            raise Conflict("old segments of this trail were removed meanwhile; begin anew")
        return part

    def _known_seal(self, trail: str, number: int) -> Record:
        row = self._store.seal(trail, number)
        if row is None:
            raise NotFound(f"there is no seal {number}")
        return stored_seal(trail, number, row[1])


def _seal_number(cursor: str) -> int:
    if not _SEAL.fullmatch(cursor):
        raise MalformedRequest("the cursor is not one of ours")
    return int(cursor)


def _header(trail: str, part: Part) -> Record:
    return {"type": "trail", "trail": trail, "last_seal": part.last_seal, "last_entry": part.last_entry}


def _last_seal(part: Part, after: int | None) -> int:
    return int(_next(part)) if part.segments else after or 0


def _next(part: Part) -> str:
    return part.segments[-1][1][0].partition("-")[0]


def _records(trail: str, part: Part) -> Iterator[Record]:
    for entries, (seal_id, fields) in part.segments:
        yield from _entries(trail, entries)
        yield stored_seal(trail, int(seal_id.partition("-")[0]), fields)
    yield from _entries(trail, part.unsealed)


def _entries(trail: str, rows: tuple[Row, ...]) -> Iterator[Record]:
    return (entry_record(trail, entry_id, fields) for entry_id, fields in rows)


__all__ = ["PLATFORM", "AuditTrail", "ExportPart"]
