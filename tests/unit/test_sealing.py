"""Sealed values: what goes in comes out, in its own place, unchanged, and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aragora_cp.rootkeys import RootKeys
from aragora_cp.store import sealing
from aragora_cp.store.sealing import KeyNotHere, Unreadable

KEY, KEY_ID = bytes(range(32)), b"\x01" * 8
PLACE = ("acme", "task-1", "payload")
ROOTS = RootKeys("k2", {"k2": b"2" * 32, "k1": b"1" * 32})


def opened(data: bytes) -> bytes:
    """As a vault does it that has this one key."""
    return sealing.unseal(KEY if sealing.key_id_of(data) == KEY_ID else b"?" * 32, PLACE, data)


places = st.tuples(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))


@given(st.binary(max_size=4096), places)
def test_what_goes_in_comes_out(plain: bytes, place: tuple[str, str, str]) -> None:
    sealed = sealing.seal(KEY, KEY_ID, place, plain)
    assert sealing.is_sealed(sealed)
    assert sealing.key_id_of(sealed) == KEY_ID
    assert len(sealed) == len(plain) + sealing.OVERHEAD
    assert sealing.unseal(KEY, place, sealed) == plain


@given(places, places)
def test_it_opens_in_its_own_place_only(place: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    sealed = sealing.seal(KEY, KEY_ID, place, b"secret")
    if other == place:
        return
    with pytest.raises(Unreadable):
        sealing.unseal(KEY, other, sealed)


@pytest.mark.parametrize("other", [("ac", "metask-1", "payload"), ("acme", "task-", "1payload")])
def test_the_borders_between_the_parts_of_a_place_count(other: tuple[str, str, str]) -> None:
    with pytest.raises(Unreadable):
        sealing.unseal(KEY, other, sealing.seal(KEY, KEY_ID, PLACE, b"secret"))


def test_every_changed_bit_is_found() -> None:
    sealed = sealing.seal(KEY, KEY_ID, PLACE, b"secret")
    for n in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[n // 8] ^= 1 << n % 8
        with pytest.raises(Unreadable):
            opened(bytes(changed))


@given(st.integers(0, sealing.OVERHEAD + 5))
def test_a_cut_one_is_refused(length: int) -> None:
    sealed = sealing.seal(KEY, KEY_ID, PLACE, b"secret")[:length]
    with pytest.raises(Unreadable):
        opened(sealed)


def test_the_same_twice_is_never_the_same() -> None:
    assert len({sealing.seal(KEY, KEY_ID, PLACE, b"secret") for _ in range(1000)}) == 1000


@given(st.text())
def test_no_text_is_taken_for_sealed(text: str) -> None:
    assert not sealing.is_sealed(text.encode())


def test_another_key_does_not_open_it() -> None:
    with pytest.raises(Unreadable):
        sealing.unseal(b"\0" * 32, PLACE, sealing.seal(KEY, KEY_ID, PLACE, b"secret"))


def test_a_form_that_is_not_known_is_refused() -> None:
    sealed = sealing.seal(KEY, KEY_ID, PLACE, b"secret")
    later = sealed[:3] + b"\x02" + sealed[4:]
    assert sealing.is_sealed(later)
    with pytest.raises(Unreadable):
        sealing.key_id_of(later)


def test_the_newest_root_key_wraps_and_all_unwrap() -> None:
    wrapped = sealing.wrap(ROOTS, "acme", "id", KEY)
    assert sealing.root_of(wrapped) == "k2"
    assert sealing.unwrap(ROOTS, "acme", "id", wrapped) == KEY
    assert sealing.unwrap(RootKeys("k3", {"k3": b"3" * 32, **ROOTS.by_id}), "acme", "id", wrapped) == KEY


@pytest.mark.parametrize("roots", [RootKeys(), RootKeys("k1", {"k1": b"1" * 32}), RootKeys("k2", {"k2": b"x" * 32})])
def test_without_the_right_root_key_it_is_not_here(roots: RootKeys) -> None:
    with pytest.raises(KeyNotHere):
        sealing.unwrap(roots, "acme", "id", sealing.wrap(ROOTS, "acme", "id", KEY))


@pytest.mark.parametrize(("workspace", "name"), [("other", "id"), ("acme", "other")])
def test_a_wrapped_key_is_good_for_its_own_place_only(workspace: str, name: str) -> None:
    with pytest.raises(KeyNotHere):
        sealing.unwrap(ROOTS, workspace, name, sealing.wrap(ROOTS, "acme", "id", KEY))


@given(st.binary(max_size=100))
def test_what_is_no_wrapped_key_is_unreadable(data: bytes) -> None:
    wrapped = sealing.wrap(ROOTS, "acme", "id", KEY)
    for wrong in (data, wrapped[:5] + data, wrapped[:-1], wrapped + b"x"):
        with pytest.raises(Unreadable):
            sealing.unwrap(ROOTS, "acme", "id", wrong)


def test_digests_need_the_key() -> None:
    assert sealing.keyed_digest(KEY, b"a") == sealing.keyed_digest(KEY, b"a")
    assert len({sealing.keyed_digest(key, data) for key in (KEY, b"x" * 32) for data in (b"a", b"b")}) == 4


def test_the_format_stays_as_it_is() -> None:
    """A value of version 1, made when the format was fixed: whoever changes it must raise the version."""
    kept = bytes.fromhex("ff4356010101010101010101000102030405060708090a0bb3bf1c4e7a450a39d34536def328eb893db9487e6193")
    assert sealing.unseal(KEY, PLACE, kept) == b"secret"
