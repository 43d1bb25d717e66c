"""How entries and seals are encoded and hashed."""

from __future__ import annotations

import hashlib

import pytest

from aragora_cp.tenancy.audit import (
    canonical,
    entry_record,
    leaf,
    marks,
    merkle_root,
    seal_fields,
    seal_hash,
    split_marks,
    stored_seal,
)
from tests.trails import an_entry, sealed, signer


def data_leaf(data: bytes) -> bytes:
    return hashlib.sha256(b"\0" + data).digest()


#: The test data of the reference implementation of RFC 6962 (certificate-transparency): inputs, and the root over the
#: first n of them.
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("count", range(1, 9))
def test_the_root_is_that_of_rfc_6962(count: int) -> None:
    leaves = [data_leaf(bytes.fromhex(text)) for text in INPUTS[:count]]
    assert merkle_root(leaves).hex() == ROOTS[count - 1]


def test_nothing_has_the_hash_of_nothing() -> None:
    assert merkle_root([]) == hashlib.sha256(b"").digest()


@pytest.mark.parametrize("count", [*range(1, 40), 1000])
def test_the_root_is_the_recursive_one(count: int) -> None:
    def root(leaves: list[bytes]) -> bytes:
        if len(leaves) == 1:
            return leaves[0]
        split = 1 << (len(leaves) - 1).bit_length() - 1
        return hashlib.sha256(b"\1" + root(leaves[:split]) + root(leaves[split:])).digest()

    leaves = [data_leaf(str(n).encode()) for n in range(count)]
    assert merkle_root(leaves) == root(leaves)


def test_an_entry_is_encoded_as_written_down() -> None:
    fields = {
        b"actor": b"agent:a1",
        b"action": b"task.claim",
        b"target": b"t-1",
        b"outcome": b"accepted",
        b"corr": b"c",
        b"from": b"",
        b"before": b'{"status":"PENDING"}',
        b"after": b'{"status":"RUNNING","attempt":2}',
    }
    entry = entry_record("acme", "1700000000123-4", fields)
    assert canonical(entry).decode() == (
        '{"action":"task.claim","actor":"agent:a1","address":"","after":{"attempt":2,"status":"RUNNING"},'
        '"before":{"status":"PENDING"},"correlation_id":"c","id":"1700000000123-4","kind":"task","outcome":"accepted",'
        '"target":"t-1","time":"2023-11-14T22:13:20.123Z","trail":"acme","type":"entry"}'
    )
    assert leaf(entry) == hashlib.sha256(b"\0" + canonical(entry)).digest()
    assert leaf(entry_record("beta", "1700000000123-4", fields)) != leaf(entry)


def test_whatever_stands_in_the_store_can_be_encoded() -> None:
    fields = {b"actor": b"\xff", b"before": b"[1]", b"after": b'{"a":', b"more": b"x", b"target": "é\0\n".encode()}
    entry = entry_record("acme", "5-0", fields)
    assert (entry["before"], entry["after"], entry["other_more"]) == ("[1]", '{"a":', "x")
    assert canonical(entry)


def test_a_seal_comes_out_of_the_store_as_it_went_in() -> None:
    entries = [an_entry(n) for n in range(3)]
    seal = sealed(entries, 7, None, signer())
    fields = {
        name.encode(): value if isinstance(value, bytes) else str(value).encode()
        for name, value in seal_fields(seal).items()
    }
    again = stored_seal("acme", 7, fields)
    assert again == seal
    assert seal_hash(again) == seal_hash(seal)
    assert split_marks(seal["marks"]) == [leaf(entry)[:4] for entry in entries]
    assert marks([]) == b""


def test_the_signature_is_no_part_of_what_is_hashed() -> None:
    seal = sealed([an_entry(1)], key=signer())
    assert seal_hash(seal | {"signature": ""}) == seal_hash(seal)
    assert seal_hash(seal | {"key": ""}) != seal_hash(seal)
