"""What became of a sealed segment whose entries do not give its root: which of them were edited, removed, added, moved.
Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from aragora_cp.tenancy.audit import MARK

#: Longer segments are not compared entry by entry: ours are much shorter.
LONGEST = 20_000


class Leaf(NamedTuple):
    """One entry that is there: its id and its hash."""

    id: str
    digest: bytes


class Difference(NamedTuple):
    """`kind` is edited, removed, added or reordered."""

    kind: str
    what: str


def differences(sealed: Sequence[bytes], found: Sequence[Leaf]) -> list[Difference]:
    """`sealed` are the marks of the entries that were sealed, `found` is what is there now. Never empty: what marks
    cannot tell apart is an edit somewhere in the segment."""
    present = [each.digest[:MARK] for each in found]
    told: list[Difference] = []
    if max(len(sealed), len(found)) <= LONGEST:
        told = list(_moved(sealed, present, found)) if sorted(sealed) == sorted(present) else []
        told = told or list(_changed(sealed, present, found))
    if told:
        return told
    more = len(found) - len(sealed)
    if more:
        return [Difference("added" if more > 0 else "removed", f"{abs(more)} entries")]
    return [Difference("edited", "an entry")]


def _moved(sealed: Sequence[bytes], present: Sequence[bytes], found: Sequence[Leaf]) -> Iterator[Difference]:
    for at, (was, now) in enumerate(zip(sealed, present, strict=True)):
        if was != now:
            yield Difference("reordered", f"entry {found[at].id}")
            return


def _changed(sealed: Sequence[bytes], present: Sequence[bytes], found: Sequence[Leaf]) -> Iterator[Difference]:
    """An edited entry is one removed and one added at the same place."""
    for _, was_from, was_to, now_from, now_to in _steps(sealed, present):
        both = min(was_to - was_from, now_to - now_from)
        for at in range(now_from, now_from + both):
            yield Difference("edited", f"entry {found[at].id}")
        for at in range(now_from + both, now_to):
            yield Difference("added", f"entry {found[at].id}")
        gone = was_to - was_from - both
        if gone:
            before = f"after entry {found[now_from + both - 1].id}" if now_from + both else "at the beginning"
            yield Difference("removed", f"{_entries(gone)} {before}")


def _steps(sealed: Sequence[bytes], present: Sequence[bytes]) -> Iterator[tuple[str, int, int, int, int]]:
    for step in SequenceMatcher(None, sealed, present, autojunk=False).get_opcodes():
        if step[0] != "equal":
            yield step


def _entries(count: int) -> str:
    return "one entry" if count == 1 else f"{count} entries"
