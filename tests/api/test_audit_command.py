"""`aragora-cp audit` against the real application."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from flask import Flask

from aragora_cp.cli import cli, session
from aragora_cp.notary import Notary
from aragora_cp.store.trails import TrailStore
from aragora_cp.tenancy.signing import new_key, read_signer
from aragora_cp.wiring import ControlPlane

from .conftest import Caller

Run = Callable[..., Result]


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "audit-key.pem"
    path.write_text(new_key())
    return path


@pytest.fixture
def seal(plane: ControlPlane, key_file: Path) -> Callable[[], None]:
    def once() -> None:
        notary = Notary(TrailStore(plane.client, plane.config), plane.config, read_signer(str(key_file)))
        notary.saw(["acme"])
        assert notary.tick()

    return once


@pytest.fixture
def run(app: Flask, operator: Caller, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    real = httpx.Client
    monkeypatch.setattr(session.httpx, "Client", lambda: real(transport=httpx.WSGITransport(app)))
    monkeypatch.chdir(tmp_path)

    def call(*args: str, exit_code: int = 0) -> Result:
        env = {"ARAGORA_CP_URL": "http://plane", "ARAGORA_CP_TOKEN": operator.token}
        result = CliRunner(env=env).invoke(cli, ["audit", *args])
        assert result.exit_code == exit_code, result.output
        return result

    return call


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError("no network is needed for this")

    monkeypatch.setattr(session.httpx, "Client", refuse)


def submit(submitter: Caller, count: int) -> None:
    for _ in range(count):
        submitter.submit()


def test_list(run: Run, submitter: Caller) -> None:
    submit(submitter, 3)
    found = json.loads(run("list", "--action", "task.submit", "--limit", "2", "--json").stdout)
    assert [entry["action"] for entry in found] == ["task.submit"] * 2
    assert found[0]["target"] in run("list").stdout
    assert run("list", "--actor", "nobody").stdout == "no entries\n"
    assert "must say its offset" in run("list", "--from", "2026-01-01T00:00:00", exit_code=1).stderr
    assert "only a token with the role admin" in run("list", "--platform", exit_code=1).stderr


def test_an_export_is_verified_without_a_network(
    run: Run, submitter: Caller, seal: Callable[[], None], key_file: Path, request: pytest.FixtureRequest
) -> None:
    submit(submitter, 5)
    seal()
    submit(submitter, 2)
    run("export", "--output", "trail.jsonl")
    run("verify", "--write-checkpoint", "last.json")
    request.getfixturevalue("offline")
    key = read_signer(str(key_file)).key
    told = json.loads(
        run("verify", "trail.jsonl", "--key", str(key_file), "--checkpoint", "last.json", "--json").stdout
    )
    assert (told["holds"], told["entries"], told["seals"], told["unsealed"]) == (True, 8, 2, 2)
    assert told["keys"] == [key]
    assert "8 in 2 seals" in run("verify", "trail.jsonl", "--key", key).stdout
    lines = Path("trail.jsonl").read_text().splitlines()
    Path("edited.jsonl").write_text("\n".join(lines).replace('"actor":"token:', '"actor":"token:f', 1))
    failed = run("verify", "edited.jsonl", exit_code=1)
    assert "edited: entry" in failed.stderr
    Path("cut.jsonl").write_text("\n".join(lines[:4]))
    assert "does not hold" in run("verify", "cut.jsonl", exit_code=1).stderr
    Path("back.jsonl").write_text("\n".join([lines[0].replace('"last_seal":1', '"last_seal":0'), lines[-1]]))
    assert "rolled-back" in run("verify", "back.jsonl", "--checkpoint", "last.json", exit_code=1).stdout
    assert "foreign-key" in run("verify", "trail.jsonl", "--key", "00" * 32, exit_code=1).stderr
    assert "neither" in run("verify", "trail.jsonl", "--key", "x", exit_code=1).stderr
    assert "no checkpoint" in run("verify", "trail.jsonl", "--checkpoint", "trail.jsonl", exit_code=1).stderr


def test_the_running_trail_is_judged_here(
    run: Run, submitter: Caller, seal: Callable[[], None], plane: ControlPlane
) -> None:
    submit(submitter, 3)
    seal()
    assert "nothing" in run("verify", "--write-checkpoint", "last.json").stdout
    submit(submitter, 3)
    seal()
    run("verify", "--checkpoint", "last.json")
    key = f"{plane.config.key_prefix}{{acme}}:audit"
    plane.client.xdel(key, plane.client.xrange(key)[1][0])  # type: ignore[index]
    result = run("verify", "--checkpoint", "last.json", "--write-checkpoint", "not-written.json", exit_code=1)
    assert "removed: one entry after" in result.stderr
    assert not Path("not-written.json").exists()


@pytest.mark.parametrize("form", ["csv", "cef", "ocsf"])
def test_other_formats_have_one_line_an_entry(
    run: Run, submitter: Caller, seal: Callable[[], None], form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aragora_cp.store.trails.ENTRIES_A_PART", 2)
    monkeypatch.setattr("aragora_cp.notary.ENTRIES_A_SEAL", 2)
    seal()
    submit(submitter, 5)
    seal()
    run("export", "--format", form, "-o", "out")
    lines = Path("out").read_text().splitlines()
    assert len(lines) == 8 + (form == "csv")  # the workspace and two tokens were made, five submits
    told: dict[str, Callable[[str], Any]] = {
        "csv": lambda line: next(csv.reader([line]))[4],
        "cef": lambda line: line.split("|")[4],
        "ocsf": lambda line: json.loads(line)["api"]["operation"],
    }
    assert [told[form](line) for line in lines[-5:]] == ["task.submit"] * 5
    assert run("export", "--format", form).stdout.splitlines() == lines
