"""FlagCopies: this process's copy of the flags, never older than `FRESH` while the store answers."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from openfeature.contrib.tools.flagd.core import FlagdCore

from aragora_cp.errors import StoreUnavailable
from aragora_cp.model import FlagVersion

log = logging.getLogger(__name__)

#: How old a copy may be, in seconds. A change must hold within 2 s everywhere, also when nobody says that there was
#: one; the rest is left for the read itself.
FRESH = 1.5
#: Workspaces whose flags a process keeps; the one used longest ago goes first.
KEPT = 10_000

_NEVER = float("-inf")


class FlagRecords(Protocol):
    """Where flags are kept. Raises StoreUnavailable."""

    def read(self, homes: Sequence[str | None]) -> list[Mapping[str, FlagVersion]]:
        """The flags of each home by name; None is the platform. One round trip."""
        ...


@dataclass(frozen=True, slots=True)
class Flagset:
    """The flags of one home, ready to be evaluated. `on`: those that are not disabled."""

    versions: Mapping[str, FlagVersion] = field(default_factory=dict)
    core: FlagdCore = field(default_factory=FlagdCore)
    on: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Copy:
    flags: Flagset
    at: float


class FlagCopies:
    """Never raises: while the store is away, what was read last counts; what was never read is empty. Safe to share
    between threads: one of them reads what has become old, the others go on with what there is meanwhile."""

    def __init__(
        self,
        records: FlagRecords,
        *,
        clock: Callable[[], float] = time.monotonic,
        fresh: float = FRESH,
        kept: int = KEPT,
    ) -> None:
        self._records = records
        self._clock = clock
        self._fresh = fresh
        self._kept = kept
        self._lock = threading.Lock()
        self._copies: OrderedDict[str | None, _Copy] = OrderedDict()
        self._changes = 0

    def of(self, *homes: str | None) -> list[Flagset]:
        """The flags of each home. One round trip when one of them is old, else none."""
        self.look(homes)
        with self._lock:
            return [copy.flags if (copy := self._copies.get(home)) else Flagset() for home in homes]

    def look(self, homes: Iterable[str | None]) -> None:
        """Read anew, all in one round trip, what is old of `homes`."""
        with self._lock:
            now = self._clock()
            old = [home for home in homes if (copy := self._copies.get(home)) is None or now - copy.at >= self._fresh]
            for home in old:
                if copy := self._copies.get(home):
                    copy.at = now  # this thread reads it
            changes = self._changes
        if not old:
            return
        try:
            found = self._records.read(old)
        except StoreUnavailable as error:
            log.info("flags are not read for now, the last ones count", extra={"reason": str(error)})
            return
        except Exception:  # whatever stands there: no task may fail for it
            log.exception("flags cannot be read, the last ones count")
            return
        with self._lock:
            at = now if changes == self._changes else _NEVER  # else it may have been read before the change
            for home, versions in zip(old, found, strict=True):
                self._keep(home, versions, at)

    def forget(self, home: str | None = None, *, everything: bool = False) -> None:
        """Read it anew next time."""
        with self._lock:
            self._changes += 1
            for each in list(self._copies) if everything else [home]:
                if copy := self._copies.get(each):
                    copy.at = _NEVER

    def _keep(self, home: str | None, versions: Mapping[str, FlagVersion], at: float) -> None:
        copy = self._copies.get(home)
        flags = copy.flags if copy is not None and copy.flags.versions == versions else _ready(versions)
        self._copies[home] = _Copy(flags, at)
        self._copies.move_to_end(home)
        if None in self._copies:
            self._copies.move_to_end(None)
        while len(self._copies) > self._kept:
            self._copies.popitem(last=False)


def _ready(versions: Mapping[str, FlagVersion]) -> Flagset:
    """One that cannot be read is left out, and logged: the others count."""
    flags = {}
    for name, version in versions.items():
        try:
            flags[name] = json.loads(version.text)
            FlagdCore().set_flags({"flags": {name: json.loads(version.text)}})
        except Exception:
            log.exception("a flag cannot be read", extra={"flag": name, "version": version.version})
            flags.pop(name, None)
    on = frozenset(name for name, flag in flags.items() if flag.get("state") == "ENABLED")
    core = FlagdCore()
    core.set_flags({"flags": flags})
    return Flagset(versions, core, on)
