"""Root keys from the settings: read, or refused without showing them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import ConfigError
from aragora_cp.rootkeys import parse_root_keys, read_root_keys

ONE, TWO = b"\xfb" * 32, bytes(range(32))
ONE_64, TWO_64 = (base64.b64encode(key).decode() for key in (ONE, TWO))


def test_the_first_is_the_newest() -> None:
    roots = parse_root_keys(f"k2:{TWO_64},k1:{ONE_64}", "here")
    assert roots.newest == "k2"
    assert dict(roots.by_id) == {"k2": TWO, "k1": ONE}


def test_none_is_none() -> None:
    assert not parse_root_keys("", "here")
    assert not read_root_keys("", "")


def test_both_alphabets_of_base64() -> None:
    assert parse_root_keys(f"k:{base64.urlsafe_b64encode(ONE).decode()}", "here").by_id["k"] == ONE


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"k1:{ONE_64} k/2:{TWO_64}", "entry 2 is not of the form id:key"),
        (ONE_64, "entry 1 is not of the form id:key"),
        (f"k1:{ONE_64} k1:{TWO_64}", "entry 2 has the id of an earlier one, 'k1'"),
        (f"k1:{ONE_64[:-4]}", "the key 'k1' is not 32 bytes in base64"),
        (f"k1:{ONE_64[:-1]}!", "the key 'k1' is not 32 bytes in base64"),
        ("k1:", "the key 'k1' is not 32 bytes in base64"),
        (f"k1:é{ONE_64}", "the key 'k1' is not 32 bytes in base64"),
    ],
)
def test_what_is_wrong_is_told_without_the_key(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=f"encryption_keys: {told}") as caught:
        ControlPlaneConfig(encryption_keys=text)
    assert ONE_64[:10] not in str(caught.value)


def test_a_file_of_them(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# the newest first\nk2:{TWO_64}  # of this year\n\nk1:{ONE_64}\n")
    assert list(read_root_keys("", str(file)).by_id) == ["k2", "k1"]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*: No such file"):
        read_root_keys("", str(tmp_path / "none"))
    (tmp_path / "binary").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="it is not text"):
        read_root_keys("", str(tmp_path / "binary"))
    (tmp_path / "empty").touch()
    with pytest.raises(ConfigError, match="holds no key"):
        read_root_keys("", str(tmp_path / "empty"))


def test_they_stand_in_one_place() -> None:
    with pytest.raises(ConfigError, match="both set"):
        ControlPlaneConfig(encryption_keys=f"k1:{ONE_64}", encryption_key_file="/x")


def test_they_reach_other_processes_and_nothing_that_people_see() -> None:
    config = ControlPlaneConfig(encryption_keys=f"k1:{ONE_64}")
    assert ControlPlaneConfig.from_env(config.to_env()) == config
    roots = parse_root_keys(config.encryption_keys, "here")
    for shown in (repr(config), str(config), repr(roots), str(roots)):
        assert ONE_64[:10] not in shown
        assert repr(ONE)[2:-1] not in shown
