"""Each way to tamper with a trail is found, and called by its name."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aragora_cp.tenancy.audit import Record, body
from aragora_cp.tenancy.findings import Checkpoint, Report
from aragora_cp.tenancy.verification import Verifier
from tests.trails import an_entry, export, framed, sealed, signer

KEY = signer()
#: Header, four entries, seal 1, four entries, seal 2, four entries, seal 3, two unsealed, trailer.
SEAL_1, SEAL_2, SEAL_3 = 5, 10, 15


def verify(records: list[Any], **more: Any) -> Report:
    verifier = Verifier(**more)
    for record in records:
        verifier.feed(record)
    return verifier.end()


@pytest.fixture(params=[KEY, None], ids=["signed", "unsigned"])
def records(request: pytest.FixtureRequest) -> list[Record]:
    return export(4, 4, 4, unsealed=2, key=request.param)


def first(report: Report) -> tuple[str, str]:
    assert report.breaks, "nothing was found"
    return report.breaks[0].kind, report.breaks[0].where


def test_a_sound_trail(records: list[Record]) -> None:
    report = verify(records)
    assert report.ok, report.breaks
    assert (report.trail, report.entries, report.seals, report.unsealed) == ("acme", 12, 3, 2)
    assert report.head is not None
    assert (report.head.seal, report.head.total) == (3, 12)
    assert report.keys == ([KEY.key] if records[SEAL_1]["key"] else [])
    assert bool(report.notes) == (not report.keys)


def test_an_empty_trail_is_sound() -> None:
    report = verify(framed([]))
    assert report.ok
    assert report.head is None


@pytest.mark.parametrize(
    ("member", "value"), [("actor", "token:x"), ("outcome", "refused"), ("after", {"status": "FAILED"}), ("time", "x")]
)
def test_an_edited_entry(records: list[Record], member: str, value: Any) -> None:
    records[7][member] = value
    assert first(verify(records)) == ("edited", f"entry {records[7]['id']}")


def test_a_removed_entry(records: list[Record]) -> None:
    before = records[7]["id"]
    del records[8]
    assert first(verify(records)) == ("removed", f"one entry after entry {before}")


def test_an_added_entry(records: list[Record]) -> None:
    forged = an_entry(5) | {"id": records[7]["id"].replace("-0", "-1")}
    records.insert(8, forged)
    assert first(verify(records)) == ("added", f"entry {forged['id']}")


def test_reordered_entries(records: list[Record]) -> None:
    records[7], records[8] = records[8], records[7]
    assert first(verify(records)) == ("reordered", f"entry {records[7]['id']}")


def test_an_entry_of_another_trail(records: list[Record]) -> None:
    records[7]["trail"] = "beta"
    assert first(verify(records)) == ("added", f"entry {records[7]['id']}")


def test_a_removed_segment(records: list[Record]) -> None:
    del records[6:11]
    assert first(verify(records)) == ("removed", "seal 2")
    assert len(verify(records).breaks) == 1


def test_a_removed_seal(records: list[Record]) -> None:
    del records[SEAL_2]
    assert first(verify(records)) == ("removed", "seal 2")


def test_a_removed_beginning(records: list[Record]) -> None:
    del records[1:6]
    assert first(verify(records)) == ("removed", "seal 1")
    rest = export(4, 4, key=KEY)
    del rest[1:5]
    assert first(verify(rest)) == ("removed", "the entries of seal 1")


@pytest.mark.parametrize("kept", [14, 12, SEAL_1 + 1])
def test_a_cut_tail(records: list[Record], kept: int) -> None:
    assert "cut-tail" in {found.kind for found in verify(records[:kept]).breaks}
    whole = copy.deepcopy(records[:kept])
    whole.append({**records[-1], "last_seal": 1})
    assert "cut-tail" in {found.kind for found in verify(whole).breaks}


def test_removed_unsealed_entries_are_a_cut_tail(records: list[Record]) -> None:
    del records[-2]
    assert first(verify(records)) == ("cut-tail", f"entries after {records[-2]['id']}")


@pytest.mark.parametrize("member", ["root", "previous", "count", "total", "first", "last", "time", "marks", "key"])
def test_an_edited_seal(member: str) -> None:
    records = export(4, 4, 4, key=KEY)
    was = records[SEAL_2][member]
    records[SEAL_2][member] = was + 1 if isinstance(was, int) else was.replace(was[3], "A" if was[3] != "A" else "B")
    report = verify(records)
    assert ("edited", "seal 2") in [(found.kind, found.where) for found in report.breaks], report.breaks


def test_an_edited_signature() -> None:
    records = export(4, 4, key=KEY)
    for forged in ("", "00" * 64, "no"):
        records[SEAL_1]["signature"] = forged
        assert first(verify(records)) == ("edited", "seal 1")


def test_a_fork(records: list[Record]) -> None:
    """The same beginning, then two histories in one file."""
    other = [an_entry(n, outcome="other") for n in range(4, 8)]
    seal = sealed(other, 2, records[SEAL_1], KEY if records[SEAL_1]["key"] else None)
    assert first(verify([*records[: SEAL_2 + 1], *other, seal, *records[SEAL_2 + 1 :]])) == ("fork", "seal 2")
    # Or one history in place of the other, and the rest kept.
    assert first(verify([*records[: SEAL_1 + 1], *other, seal, *records[SEAL_2 + 1 :]])) == ("fork", "seal 3")


def test_a_checkpoint_finds_what_a_consistent_trail_hides() -> None:
    whole = export(4, 4, 4, key=KEY)
    held = verify(whole).head
    assert held is not None
    assert verify(whole, checkpoint=held).ok
    assert verify(export(4, 4, 4, 3, key=KEY), checkpoint=held).ok
    assert first(verify(export(4, 4, key=KEY), checkpoint=held)) == ("rolled-back", "to seal 2 from seal 3")
    assert first(verify(framed([]), checkpoint=held))[0] in ("malformed", "rolled-back")
    assert first(verify(export(4, 3, 5, 4, key=KEY), checkpoint=held)) == ("fork", "seal 3")
    assert first(verify(export(4, 4, 4, key=signer(2)), checkpoint=held))[0] == "fork"
    assert Checkpoint.loads(held.dumps()) == held
    for text in ("{}", "[]", "x", '{"trail": 1}'):
        with pytest.raises(ValueError, match=r".*"):
            Checkpoint.loads(text)


def test_keys_that_nobody_trusts() -> None:
    rewritten = export(4, 4, key=signer(2))
    assert verify(rewritten).ok
    assert first(verify(rewritten, keys=[KEY.key])) == ("foreign-key", "seal 1")
    assert first(verify(export(4, 4), keys=[KEY.key])) == ("unsigned", "seal 1")
    mixed = export(4, key=KEY)
    more = [an_entry(n) for n in range(4, 6)]
    late = framed([*mixed[1:-1], *more, sealed(more, 2, mixed[SEAL_1])])
    assert first(verify(late)) == ("unsigned", "seal 2")
    turned = framed([*mixed[1:-1], *more, sealed(more, 2, mixed[SEAL_1], signer(2))])
    assert verify(turned).ok
    assert verify(turned).notes
    held = verify(mixed).head
    assert first(verify(turned, checkpoint=held)) == ("foreign-key", "seal 2")
    assert verify(turned, checkpoint=held, keys=[KEY.key, signer(2).key]).ok


def test_a_key_may_be_given_later() -> None:
    begun = export(4)
    more = [an_entry(n) for n in range(4, 6)]
    assert verify(framed([*begun[1:-1], *more, sealed(more, 2, begun[SEAL_1], KEY)])).ok


def test_old_segments_may_go_when_the_trail_says_so() -> None:
    whole = export(4, 4, key=KEY)
    told = an_entry(8, actor="monitor", action="audit.trim", target="1")
    last = sealed([told], 3, whole[SEAL_2], KEY)
    kept = framed([*whole[SEAL_1 : SEAL_2 + 1], told, last])
    report = verify(kept)
    assert report.ok, report.breaks
    assert (report.begins_after, report.entries, report.seals) == (1, 5, 3)
    assert report.head is not None
    assert report.head.total == 9
    untold = framed(whole[SEAL_1 : SEAL_2 + 1])
    assert first(verify(untold)) == ("removed", "the entries of seal 1")
    more = framed([whole[SEAL_2], told, last])
    assert first(verify(more)) == ("removed", "the entries of seal 2")


@pytest.mark.parametrize(
    "junk",
    [None, 1, [], "x", {}, {"type": "entry"}, {"type": "seal", "seal": "x"}, {"type": "new"}, {"type": []},
     {"type": "entry", "trail": "acme", "id": "x", "action": "", "actor": ""}],
)  # fmt: skip
def test_what_is_no_record_is_a_break(junk: Any) -> None:
    records = export(4, key=KEY)
    assert not verify([*records[:3], junk, *records[3:]]).ok
    verifier = Verifier()
    verifier.feed_lines([b"{", b"\xff"])
    assert verifier.end().breaks[0].where == "line 1"


SOUND = export(3, 1, 5, 2, unsealed=1, key=KEY)


@settings(max_examples=150)
@given(st.data())
def test_no_change_of_any_record_goes_unseen(data: st.DataObject) -> None:
    """Whoever has neither the key nor the checkpoint, but the whole file, changes one thing in it."""
    records = copy.deepcopy(SOUND)
    at = data.draw(st.integers(1, len(records) - 3), label="record")  # the last entry is not sealed yet
    act = data.draw(st.sampled_from(["edit", "drop-member", "remove", "copy", "move"]), label="act")
    record = records[at]
    if act in ("edit", "drop-member"):
        member = data.draw(st.sampled_from(sorted(record)), label="member")
        if act == "edit":
            record[member] = data.draw(
                (st.text(max_size=3) | st.integers(-3, 99) | st.none()).filter(lambda new: new != record[member])
            )
        else:
            del record[member]
    elif act == "remove":
        del records[at]
    elif act == "copy":
        records.insert(data.draw(st.integers(1, len(records) - 1)), copy.deepcopy(record))
    else:
        to = data.draw(st.integers(1, len(records) - 2).filter(lambda n: n != at))
        records.insert(to, records.pop(at))
    assert not verify(records).ok


def test_a_seal_is_signed_over_all_that_it_says() -> None:
    seal = sealed([an_entry(1)], key=KEY)
    assert body(seal) == body({**seal, "signature": "x"})
    assert body(seal) != body({**seal, "more": 1})
