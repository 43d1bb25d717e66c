"""Audit trails in the store: a workspace's, or the platform's. One method, one round trip."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from redis.exceptions import ResponseError

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.store import scripts
from aragora_cp.store.connection import translated
from aragora_cp.store.keys import fleet_keys, workspace_keys
from aragora_cp.telemetry.origin import Origin

log = logging.getLogger(__name__)

#: The platform's trail lies where the fleet's keys lie, whose hash tag no workspace can have for its name.
PLATFORM = "@"
#: Entries that one page of a listing looks at, however few of them match.
EXAMINED = 2000
#: A part of an export ends with the segment that passes so many entries, or with so many seals.
ENTRIES_A_PART = 1000
SEALS_A_PART = 500
#: Entries without a seal that an export ends with, at most.
MOST_UNSEALED = 10_000
#: Bounds on one step of removing old segments.
TRIMMED_AT_ONCE = (20_000, 1000)

#: An id and the fields that it has.
Row = tuple[str, dict[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Unsealed:
    """`seal` is the last one, None before the first; `now` the store's time in ms."""

    trail: str
    seal: Row | None
    entries: tuple[Row, ...]
    now: int


@dataclass(frozen=True, slots=True)
class Part:
    """Segments, each with its seal; `unsealed` follow the last one, in the last part. `last_seal` and `last_entry` are
    the newest that there ever were, `total` the entries that were sealed so far."""

    segments: tuple[tuple[tuple[Row, ...], Row], ...]
    unsealed: tuple[Row, ...]
    is_last: bool
    last_seal: int
    last_entry: str
    total: int


class TrailStore:
    """Raises StoreUnavailable from every method."""

    def __init__(self, client: redis.Redis, config: ControlPlaneConfig) -> None:
        self._client = client
        self._prefix = config.key_prefix
        self._fleet = fleet_keys(config.key_prefix)

    # --- writing ---------------------------------------------------------------------------------------------------

    def refuse(self, trail: str, origin: Origin, action: str, target: str, outcome: str) -> None:
        """Note a refusal that no script has noted; who is refused again and again is counted only."""
        args = (origin.actor, action, target, outcome, origin.correlation_id)
        call = scripts.Call(scripts.script("note_refusal"), self._root(trail), args, origin)
        # The monitor must look at the workspace once more, or the entry would wait long for its seal.
        tell = [] if trail == PLATFORM else [("ZADD", self._fleet("active"), "LT", 0, trail)]
        with translated():
            scripts.run_all(self._client, [call], tell)

    def unsealed(self, trails: Sequence[str], most: int) -> list[Unsealed]:
        """What each of `trails` has that is not sealed, up to `most` entries each. One that cannot be read is logged
        and left out."""
        found = []
        for trail, answer in self._each("read_unsealed", trails, [(most,)] * len(trails)):
            seal, entries, now = answer
            found.append(Unsealed(trail, _row(seal) if seal else None, _rows(entries), now))
        return found

    def take_over(self, rows: Mapping[str, Sequence[Row]]) -> None:
        """Let workspaces' trails have entries of the platform's, each once; `rows` are oldest first."""
        args = []
        for entries in rows.values():
            flat: list[Any] = []
            for entry_id, fields in entries:
                flat += (entry_id, 2 * len(fields), *(part for pair in fields.items() for part in pair))
            args.append(tuple(flat))
        self._each("take_over_entries", list(rows), args)

    def append(self, seals: Sequence[tuple[str, int, dict[str, bytes | str | int]]]) -> list[str]:
        """Append seals, each (trail, number of the seal before, fields); answers the trails that have theirs now."""
        args = [(before, *(part for pair in fields.items() for part in pair)) for _, before, fields in seals]
        new = [("ZADD", self._fleet("trails"), 0, trail) for trail, before, _ in seals if before == 0]
        done = self._each("append_seal", [trail for trail, _, _ in seals], args, new)
        return [trail for trail, appended in done if appended]

    def trim(self, trails: Sequence[str], *, begin_ms: int, before_ms: int) -> dict[str, int]:
        """Remove old segments of trails whose oldest entry is from before `begin_ms`: those from before `before_ms`.
        Answers how many entries went."""
        args = [(begin_ms, before_ms, *TRIMMED_AT_ONCE)] * len(trails)
        return {trail: removed for trail, removed in self._each("trim_trail", trails, args) if removed}

    # --- reading ---------------------------------------------------------------------------------------------------

    def page(
        self,
        trail: str,
        *,
        earliest: int | None,
        latest: int | None,
        actor: str,
        action: str,
        before: str,
        limit: int,
    ) -> tuple[tuple[Row, ...], str]:
        """Entries, newest first; the second part is where the next page goes on, '' when there is none. A page may be
        short and still go on."""
        bounds = ("" if earliest is None else earliest, "" if latest is None else latest)
        entries, following = self._run("list_trail", trail, *bounds, actor, action, before, limit, EXAMINED)
        return _rows(entries), following.decode()

    def part(self, trail: str, after: int | None) -> Part | None:
        """The part of an export that follows seal `after` (None: the first one). None when that seal is gone."""
        bounds = (ENTRIES_A_PART, SEALS_A_PART, MOST_UNSEALED)
        answer = self._run("read_trail", trail, "" if after is None else after, *bounds)
        if len(answer) == 1:
            return None
        segments, unsealed, is_last, last_seal, last_entry, total = answer
        return Part(
            segments=tuple((_rows(entries), _row(seal)) for entries, seal in segments),
            unsealed=_rows(unsealed),
            is_last=bool(is_last),
            last_seal=int(last_seal.partition(b"-")[0]),
            last_entry=last_entry.decode(),
            total=int(total),
        )

    def seal(self, trail: str, number: int) -> Row | None:
        """One seal, None when it is gone."""
        key = workspace_keys(self._prefix, trail)("seals")
        with translated():
            found: Any = self._client.xrange(key, f"{number}-0", f"{number}-0")
        return (found[0][0].decode(), found[0][1]) if found else None

    def known(self, first: int, most: int) -> list[str]:
        """Workspaces that the monitor looks at, and those that have a seal, deleted ones too: `most` of each from place
        `first` on. Empty beyond the last."""
        with translated():
            pipe = self._client.pipeline(transaction=False)
            for name in ("active", "trails"):
                pipe.zrange(self._fleet(name), first, first + most - 1)
            return sorted({name.decode() for names in pipe.execute() for name in names})

    def now(self) -> int:
        """The store's time in ms."""
        with translated():
            seconds, micros = self._client.time()
        return seconds * 1000 + micros // 1000

    # --- inside ----------------------------------------------------------------------------------------------------

    def _root(self, trail: str) -> str:
        return workspace_keys(self._prefix, trail).root

    def _run(self, name: str, trail: str, *args: Any) -> Any:
        with translated():
            return scripts.run(self._client, scripts.Call(scripts.script(name), self._root(trail), args))

    def _each(
        self,
        name: str,
        trails: Sequence[str],
        args: Sequence[tuple[Any, ...]],
        extra: Sequence[tuple[Any, ...]] = (),
    ) -> list[tuple[str, Any]]:
        """One script for each trail, and `extra` commands before them, all in one round trip."""
        calls = [
            scripts.Call(scripts.script(name), self._root(trail), given)
            for trail, given in zip(trails, args, strict=True)
        ]
        with translated():
            answers = scripts.run_all(self._client, calls, extra, raise_errors=False) if calls else []
        found = []
        for trail, answer in zip(trails, answers, strict=True):
            if isinstance(answer, Exception):
                _log_fault(trail, name, answer)
            else:
                found.append((trail, answer))
        return found


def _log_fault(trail: str, name: str, error: Exception) -> None:
    """A trail's own trouble is logged; raises StoreUnavailable when the server takes no writes now."""
    try:
        with translated():
            raise error
    except ResponseError:
        log.exception("a trail cannot be worked on", extra={"trail": trail, "script": name})


def _row(row: Sequence[Any]) -> Row:
    row_id, flat = row
    return row_id.decode(), {flat[n]: flat[n + 1] for n in range(0, len(flat), 2)}


def _rows(rows: Sequence[Sequence[Any]]) -> tuple[Row, ...]:
    return tuple(_row(row) for row in rows)
