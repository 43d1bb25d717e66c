"""Whether a trail is as it was sealed: a pure reader of its records, in the order of an export. Needs no store.

An export begins with a header, has each segment's entries before its seal, then the entries that are not sealed yet,
and ends with a trailer. Nothing in it is believed because it stands there: the keys that may sign and a checkpoint
kept elsewhere come from whoever verifies.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import orjson

from aragora_cp.tenancy.audit import (
    NOTHING,
    SEAL_MEMBERS,
    TRIM,
    Record,
    body,
    leaf,
    merkle_root,
    place,
    seal_hash,
    split_marks,
)
from aragora_cp.tenancy.diagnosis import Difference, Leaf, differences
from aragora_cp.tenancy.findings import Break, Checkpoint, Report
from aragora_cp.tenancy.signing import signed_by


class Verifier:
    """Feed it the records one after the other, then `end` it. Holds one segment at a time."""

    def __init__(
        self,
        *,
        keys: Collection[str] = (),
        checkpoint: Checkpoint | None = None,
        after: Record | None = None,
        part: bool = False,
    ) -> None:
        """`keys`: the public keys that may sign; none: the checkpoint's, or any, and they are told. `after`: a seal
        that was verified before, where this goes on. `part`: what comes is no whole export, so no trailer is missed."""
        self.report = Report()
        self._named = bool(keys)
        self._trusted = set(keys) or ({checkpoint.key} if checkpoint and checkpoint.key else set())
        self._checkpoint = checkpoint
        self._part = part
        self._segment: list[Leaf] = []
        self._last: Record | None = after
        self._last_hash = seal_hash(after) if after else NOTHING
        self._sound = True  # the last segment gave its seal's root
        self._anchor = 0
        self._trimmed = 0
        self._header: Mapping[str, Any] = {}
        self._trailer: Mapping[str, Any] | None = None

    def feed(self, record: Any) -> None:
        """One record. What is none is a break, not an error."""
        try:
            kind = record["type"]
            if self._trailer is not None:
                self.report.note_break("added", f"a record of type {kind!r} after the end")
            if kind == "entry":
                self._entry(record)
            elif kind == "seal":
                self._seal(record)
            elif kind == "trail":
                self._begin(record)
            elif kind == "end":
                self._trailer = record
            else:
                self.report.note_break("malformed", f"a record of type {str(kind)[:40]!r}")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self.report.note_break("malformed", "a record", f"{type(error).__name__}: {str(error)[:80]}")

    def feed_lines(self, lines: Iterable[bytes | str]) -> None:
        for number, line in enumerate(lines, start=1):
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError:
                self.report.note_break("malformed", f"line {number}", "not JSON; the file may have been cut there")
                continue
            self.feed(record)

    def end(self) -> Report:
        """All that was found; call it once."""
        report, last = self.report, self._last
        report.unsealed = len(self._segment)
        self._unsealed_in_order()
        number = 0
        if last is not None:
            number = int(last["seal"])
            report.head = Checkpoint(report.trail, number, self._last_hash, int(last["total"]), last["key"])
        self._begins_where_it_says()
        self._ends_where_it_says(number)
        if self._checkpoint:
            self._knows(self._checkpoint, number)
        if len(report.keys) > 1 and not self._trusted:
            report.notes.append(f"signed with {len(report.keys)} keys; name those you trust")
        if report.seals and not report.keys:
            report.notes.append("the seals are not signed: whoever can write to the store can make them anew")
        return report

    def _begin(self, header: Record) -> None:
        self._same_trail(header, "the header")
        place(header["last_entry"])
        self._header = {"last_seal": int(header["last_seal"]), "last_entry": header["last_entry"]}

    # --- one record ------------------------------------------------------------------------------------------------

    def _entry(self, record: Record) -> None:
        if record["trail"] != self.report.trail:
            self._same_trail(record, f"entry {record['id']}")
        if record["action"] == TRIM and record["actor"] == "monitor":
            self._trimmed = max(self._trimmed, int(record["target"]))
        place(record["id"])
        self._segment.append(Leaf(record["id"], leaf(record)))

    def _seal(self, seal: Record) -> None:
        number = int(seal["seal"])
        name, first = f"seal {number}", self._last is None
        self._same_trail(seal, name)
        if not _is_seal(seal):
            self.report.note_break("edited", name, "it does not say what a seal says")
            return
        believed = self._signature(seal, name)
        if not self._chain(seal, number, name):
            return
        found, self._segment = self._segment, []
        gap = self._last is not None and number > int(self._last["seal"]) + 1
        self._last, self._last_hash = seal, seal_hash(seal)
        self.report.seals += 1
        if self._checkpoint and number == self._checkpoint.seal and self._last_hash != self._checkpoint.hash:
            self.report.note_break("fork", name, "the checkpoint knows another one of that number")
        if first and not found:
            self._anchor, self._sound = number, True
            return
        if first and number > 1:
            self.report.note_break("removed", _seals(1, number - 1), "the trail does not begin with its first seal")
        if gap:
            found = [each for each in found if place(each.id) >= place(seal["first"])]
        self._segment_of(seal, name, found, believed)

    def _chain(self, seal: Record, number: int, name: str) -> bool:
        """Whether to go on with this seal."""
        last = self._last
        if last is None:
            if number == 1 and (seal["previous"] != NOTHING or seal["total"] != seal["count"]):
                self.report.note_break("edited", name, "it is not a first seal")
            return True
        before = int(last["seal"])
        if number < before:
            self.report.note_break("reordered", name, f"it stands after seal {before}")
        elif number == before and seal_hash(seal) == self._last_hash:
            self.report.note_break("added", name, "it stands here twice")
        elif number == before:
            self.report.note_break("fork", name, "there are two of that number")
        elif number > before + 1:
            more = seal["total"] - last["total"] - seal["count"]
            self.report.note_break("removed", _seals(before + 1, number - 1), f"and {more} entries")
        elif seal["previous"] != self._last_hash:
            if self._sound:
                self.report.note_break("fork", name, f"it continues another seal {before} than the one here")
            else:
                self.report.note_break("edited", f"seal {before}", f"{name} carries another hash of it")
        elif seal["total"] != last["total"] + seal["count"] or place(seal["first"]) <= place(last["last"]):
            self.report.note_break("edited", name, "its counts do not go on from the seal before")
        return number > before

    def _segment_of(self, seal: Record, name: str, found: list[Leaf], believed: bool) -> None:
        leaves = [each.digest for each in found]
        self._sound = len(leaves) == seal["count"] and merkle_root(leaves).hex() == seal["root"]
        self.report.entries += len(leaves)
        if self._sound:
            ends = (found[0].id, found[-1].id)
            if ends != (seal["first"], seal["last"]):
                self._sound = False
                self.report.note_break("edited", name, "it names other entries than it was made of")
        elif believed:
            for difference in _differences(seal, found):
                self.report.note_break(difference.kind, difference.what, f"of {name}")

    def _signature(self, seal: Record, name: str) -> bool:
        """Whether what the seal says can be believed."""
        key, told = seal["key"], self.report
        # What a checkpoint knows was signed by whoever might sign then.
        vouched = self._checkpoint is not None and not self._named and int(seal["seal"]) <= self._checkpoint.seal
        if not key:
            if told.keys or (self._trusted and not vouched):
                told.note_break("unsigned", name, "it should be signed")
            return True
        if key not in told.keys:
            told.keys.append(key)
            if self._trusted and key not in self._trusted and not vouched:
                told.note_break("foreign-key", name, f"signed with {key}")
        if signed_by(key, seal["signature"], body(seal)):
            return True
        told.note_break("edited", name, "its signature does not fit it")
        return False

    def _same_trail(self, record: Record, name: str) -> None:
        self.report.trail = self.report.trail or str(record["trail"])
        if record["trail"] != self.report.trail:
            self.report.note_break("added", name, f"it is of the trail {record['trail']!r}")

    # --- the whole -------------------------------------------------------------------------------------------------

    def _unsealed_in_order(self) -> None:
        newest = place(self._last["last"]) if self._last else (-1, 0)
        for each in self._segment:
            if place(each.id) <= newest:
                self.report.note_break("added", f"entry {each.id}", "it stands after newer ones")
            newest = max(newest, place(each.id))

    def _begins_where_it_says(self) -> None:
        """A trail whose old segments are gone says itself, in an entry of the monitor, which was the last of them."""
        self.report.begins_after = self._anchor
        if self._anchor > self._trimmed:
            gone = f"the entries of {_seals(self._trimmed + 1, self._anchor)}"
            self.report.breaks.insert(0, Break("removed", gone, "retention did not remove them"))

    def _ends_where_it_says(self, number: int) -> None:
        report, header, trailer = self.report, self._header, self._trailer
        if not self._part and not header:
            report.note_break("cut-head", "the header is missing")
        if not self._part and trailer is None:
            report.note_break("cut-tail", "the trailer is missing", "the export did not come to its end, or was cut")
        if header.get("last_seal", 0) > number:
            report.note_break("cut-tail", _seals(number + 1, header["last_seal"]), "the store has seen them")
        newest = header.get("last_entry", "0-0")
        here = self._segment[-1].id if self._segment else self._last["last"] if self._last else "0-0"
        if place(newest) > place(here):
            report.note_break("cut-tail", f"entries after {here}", f"the store has seen {newest}")
        if trailer is not None and report.ok:
            told = {"last_seal": number, "unsealed": report.unsealed}
            if {name: trailer.get(name) for name in told} != told:
                report.note_break("cut-tail", f"after seal {number}", "the trailer tells of others")

    def _knows(self, held: Checkpoint, number: int) -> None:
        if held.trail != self.report.trail:
            self.report.note_break("malformed", "the checkpoint", f"it is of the trail {held.trail!r}")
        elif number < held.seal:
            told = "the checkpoint has seen more: the store was rolled back, or the export cut"
            self.report.note_break("rolled-back", f"to seal {number} from seal {held.seal}", told)
        elif held.seal < self._anchor:
            self.report.notes.append(f"the checkpoint's seal {held.seal} is older than what is kept")


def _is_seal(seal: Record) -> bool:
    try:
        ordered = place(seal["first"]) <= place(seal["last"])
        return ordered and all(type(seal[name]) is kind for name, kind in SEAL_MEMBERS.items())
    except (KeyError, ValueError, AttributeError):
        return False


def _differences(seal: Record, found: list[Leaf]) -> list[Difference]:
    try:
        return differences(split_marks(seal["marks"]), found)
    except ValueError:
        return [Difference("edited", "the marks")]


def _seals(first: int, last: int) -> str:
    return f"seal {first}" if first == last else f"seals {first} to {last}"
