"""Notary: seals what is new in every trail, each second, and removes what is older than it is kept; for the monitor.

Which monitor does it does not matter to a trail: a seal is appended only after the one that it was made after.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.store.trails import PLATFORM, Row, TrailStore, Unsealed
from aragora_cp.tenancy.audit import (
    NOTHING,
    Record,
    body,
    entry_record,
    leaf,
    seal_fields,
    seal_hash,
    seal_record,
    stored_seal,
)
from aragora_cp.tenancy.signing import Signer

log = logging.getLogger(__name__)

#: How often trails are sealed, in seconds.
SEAL_EVERY = 1.0
#: How often old segments are looked for.
TRIM_EVERY = 60.0
#: The most that one seal covers, and that one round of sealing covers; what is left is sealed in the next tick.
ENTRIES_A_SEAL = 500
ENTRIES_A_ROUND = 10_000
TRAILS_AT_ONCE = 20
#: Workspaces that nobody spoke of, looked at in a round: an entry may be made where there is nothing else to do.
STROLL = 100
#: Old segments go in batches: when the oldest is overdue by this share of the time that it is kept, an hour at most.
OVERDUE = 0.05
MOST_OVERDUE = 3600.0
#: What an entry about the platform's own tokens and agents names as its workspace.
_NO_WORKSPACE = ("", "*")


class Notary:
    """Call `saw` with the workspaces that were looked at, then `tick`. One thread."""

    def __init__(
        self,
        store: TrailStore,
        config: ControlPlaneConfig,
        signer: Signer | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Without `signer` the seals are chained and not signed."""
        self._store = store
        self._retention = config.audit_retention
        self._signer = signer
        self._clock = clock
        self._waiting: dict[str, None] = {}
        self._seen: set[str] = {PLATFORM}
        self._sealed_at = self._trimmed_at = float("-inf")
        self._strolled = 0
        self._behind = False
        self._caught_up_at = clock()

    def saw(self, workspaces: Iterable[str]) -> None:
        """These had something to do, and so may have entries."""
        self._waiting |= dict.fromkeys(workspaces)

    def begin(self) -> None:
        """It is this monitor's turn: what was not sealed until now was another's to seal."""
        self._caught_up_at = self._clock()

    def lag(self) -> float:
        """Seconds since it had last sealed all that it knew of."""
        return self._clock() - self._caught_up_at

    def tick(self) -> int:
        """Seal, when it is time; answers how many entries. Raises StoreUnavailable."""
        due = self._clock() - self._sealed_at >= SEAL_EVERY
        if due:
            self._sealed_at = self._clock()
            self.saw([PLATFORM, *self._stroll()])
        elif not self._behind:
            return 0
        sealed = self._round()
        if due and self._clock() - self._trimmed_at >= TRIM_EVERY:
            self._trimmed_at = self._clock()
            self._trim()
        return sealed

    def _stroll(self) -> list[str]:
        found = self._store.known(self._strolled, STROLL)
        self._strolled = self._strolled + STROLL if found else 0
        return found

    def _round(self) -> int:
        left = ENTRIES_A_ROUND
        while self._waiting and left > 0:
            trails = list(self._waiting)[:TRAILS_AT_ONCE]
            found = self._store.unsealed(trails, ENTRIES_A_SEAL)
            for trail in trails:
                del self._waiting[trail]
            self._seen |= {each.trail for each in found}
            self._share(next((each for each in found if each.trail == PLATFORM), None))
            seals = [self._seal(each) for each in found if each.entries]
            self._store.append(seals)
            left -= sum(len(each.entries) for each in found)
            # What is beyond one seal's bound gets the next seal; a seal that came too late is made anew.
            self.saw(each.trail for each in found if len(each.entries) == ENTRIES_A_SEAL)
        self._behind = bool(self._waiting)
        if not self._behind:
            self._caught_up_at = self._clock()
        return ENTRIES_A_ROUND - left

    def _share(self, platform: Unsealed | None) -> None:
        """What the platform's trail tells of a workspace's tokens and agents goes into that workspace's trail too.
        Before it is sealed: whoever seals it after a crash has it in hand once more, and a trail takes it over once."""
        rows: dict[str, list[Row]] = {}
        for row in platform.entries if platform else ():
            after = entry_record(PLATFORM, *row)["after"]
            workspace = after.get("workspace") if isinstance(after, dict) else None
            if isinstance(workspace, str) and workspace not in _NO_WORKSPACE:
                rows.setdefault(workspace, []).append(row)
        if rows:
            self._store.take_over(rows)
            self.saw(rows)

    def _seal(self, found: Unsealed) -> tuple[str, int, dict[str, bytes | str | int]]:
        entries = [entry_record(found.trail, entry_id, fields) for entry_id, fields in found.entries]
        before: Record | None = None
        if found.seal is not None:
            number = int(found.seal[0].partition("-")[0])
            before = stored_seal(found.trail, number, found.seal[1])
        seal = seal_record(
            found.trail,
            before["seal"] + 1 if before else 1,
            found.now,
            previous=seal_hash(before) if before else NOTHING,
            leaves=[leaf(entry) for entry in entries],
            first=entries[0]["id"],
            last=entries[-1]["id"],
            total=(before["total"] if before else 0) + len(entries),
            key=self._signer.key if self._signer else "",
        )
        signature = self._signer.sign(body(seal)) if self._signer else ""
        return found.trail, before["seal"] if before else 0, seal_fields(seal | {"signature": signature})

    def _trim(self) -> None:
        trails, now = sorted(self._seen), self._store.now()
        self._seen = {PLATFORM}
        overdue = min(self._retention * OVERDUE, MOST_OVERDUE)
        before_ms = now - round(self._retention * 1000)
        for n in range(0, len(trails), TRAILS_AT_ONCE):
            removed = self._store.trim(
                trails[n : n + TRAILS_AT_ONCE], begin_ms=before_ms - round(overdue * 1000), before_ms=before_ms
            )
            for trail, count in removed.items():
                log.info("old audit entries removed", extra={"trail": trail, "count": count})
                self._seen.add(trail)
