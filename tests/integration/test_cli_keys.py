"""`aragora-cp keys`, on a real store."""

from __future__ import annotations

import base64
import json

import pytest
from click.testing import CliRunner, Result

from aragora_cp.cli import cli
from aragora_cp.config import ControlPlaneConfig
from tests.conftest import short_config
from tests.fleet import Fleet
from tests.servers import StoreServer

SECRETS = [base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2)]
K1, K2 = (f"k{n}:{secret}" for n, secret in enumerate(SECRETS, start=1))


@pytest.fixture
def config(server: StoreServer) -> ControlPlaneConfig:
    return short_config(server, encryption_keys=K1)


def run(fleet: Fleet, *args: str, keys: str = K1) -> Result:
    env = fleet.config.to_env() | {"ARAGORA_CP_ENCRYPTION_KEYS": keys}
    result = CliRunner(env=env).invoke(cli, ["keys", *args])
    assert not any(secret in result.output for secret in SECRETS)
    return result


def told(result: Result) -> object:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_from_one_root_key_to_the_next(fleet: Fleet) -> None:
    fleet.submit()
    roots = [{"root_key": "k1", "here": True, "workspaces": 1}]
    row = {"workspace": "acme", "keys": 1, "root_keys": ["k1"], "readable": True}
    assert told(run(fleet, "status", "--json")) == {"root_keys": roots, "workspaces": [row]}
    both = f"{K2} {K1}"
    assert told(run(fleet, "rewrap", "--json", keys=both)) == [
        {"workspace": "acme", "keys": 2, "records": 1, "renewed": 0, "unreadable": 0}
    ]
    status = run(fleet, "status", keys=both).stdout.splitlines()
    assert [line.split() for line in status[1:3]] == [
        ["k2", "yes", "1", "workspaces"],
        ["k1", "yes", "0", "workspaces"],
    ]


def test_rotating_and_rewrapping(fleet: Fleet) -> None:
    fleet.submit()
    assert run(fleet, "rotate", "acme").stdout == "acme: has a new key\n"
    assert run(fleet, "rotate", "--all").stdout == "acme: has a new key\n"
    ((row,)) = (told(run(fleet, "rewrap", "acme", "--json")),)
    assert row == [{"workspace": "acme", "keys": 0, "records": 1, "renewed": 1, "unreadable": 0}]
    assert "acme" in run(fleet, "rewrap").stdout


def test_what_it_refuses(fleet: Fleet) -> None:
    fleet.submit()
    assert run(fleet, "rotate").exit_code == 2
    missing = run(fleet, "rewrap", keys="")
    assert (missing.exit_code, "no root keys here" in missing.stderr) == (1, True)
    foreign = run(fleet, "rewrap", keys=K2)
    assert foreign.exit_code == 1
    assert "acme: its keys are under root keys of which one is not here: k1" in foreign.stderr
    assert "k1        no" in run(fleet, "status", keys=K2).stdout
    keyless = run(fleet, "rotate", "other")
    assert "has no key yet" in keyless.stderr


def test_what_cannot_be_read_is_told(fleet: Fleet) -> None:
    fleet.submit()
    fleet.tasks.vault.destroy("acme")
    result = run(fleet, "rewrap", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)[0]["unreadable"] == 1


@pytest.mark.parametrize(
    ("keys", "verdict", "told"),
    [
        (K1, "ok", "on, under the root key k1"),
        (K2, "wrong", "no root key here for encrypted workspaces (1): acme"),
        ("", "wrong", "no root key here for encrypted workspaces (1): acme"),
    ],
)
def test_the_doctor_says_whether_the_root_key_is_here(fleet: Fleet, keys: str, verdict: str, told: str) -> None:
    fleet.submit()
    env = fleet.config.to_env() | {"ARAGORA_CP_ENCRYPTION_KEYS": keys}
    result = CliRunner(env=env).invoke(cli, ["doctor", "--json"])
    (found,) = (each for each in json.loads(result.stdout) if each["check"] == "encryption")
    assert (found["verdict"], found["found"]) == (verdict, told)
