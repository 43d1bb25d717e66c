"""`aragora-cp flags` and `aragora-cp tasks why` against the real application."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result
from flask import Flask

from aragora_cp.cli import cli, session
from tests.api.conftest import Caller

Run = Callable[..., Result]
FLAG = json.dumps({"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"})


@pytest.fixture
def run(app: Flask, operator: Caller, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    real = httpx.Client
    monkeypatch.setattr(session.httpx, "Client", lambda: real(transport=httpx.WSGITransport(app)))
    monkeypatch.chdir(tmp_path)

    def call(*args: str, exit_code: int = 0) -> Result:
        env = {"ARAGORA_CP_URL": "http://plane", "ARAGORA_CP_TOKEN": operator.token}
        result = CliRunner(env=env).invoke(cli, args)
        assert result.exit_code == exit_code, result.output
        return result

    return call


def test_a_flags_life(run: Run) -> None:
    assert run("flags", "list").output == "no flags\n"
    assert "override" in run("flags", "set", "f", FLAG).output
    Path("flag.json").write_text(FLAG.replace('"defaultVariant": "on"', '"defaultVariant": "off"'))
    assert json.loads(run("flags", "set", "f", "@flag.json", "--json").output)["version"] == 2
    told = run("flags", "evaluate", "f", "--key", "k", "--context", '{"x": 1}').output
    assert ("false" in told, "STATIC" in told, "override" in told) == (True, True, True)
    assert json.loads(run("flags", "rollback", "f", "1", "--json").output)["version"] == 3
    assert run("flags", "show", "f").output.count("ENABLED") == 4
    assert "f     override" in run("flags", "list").output
    assert run("flags", "delete", "f").output == "f is deleted\n"


def test_what_is_refused_says_why(run: Run) -> None:
    bad = FLAG.replace('"defaultVariant": "on"', '"defaultVariant": "of"')
    assert "names no variant: 'of'" in run("flags", "set", "f", bad, exit_code=1).output
    assert "must be a JSON object" in run("flags", "set", "f", "[]", exit_code=1).output
    assert "forbidden" in run("flags", "set", "capability.code", FLAG, exit_code=1).output
    assert "forbidden" in run("flags", "list", "--platform", exit_code=1).output
    assert "there is no flag 'f'" in run("flags", "evaluate", "f", exit_code=1).output


def test_why_for_people_and_programs(run: Run, operator: Caller) -> None:
    operator.register("near", ["code"])
    task = operator.submit(required_capabilities=["code", "gpu"])["task_id"]
    told = run("tasks", "why", task).output
    assert ("no-agent" in told, "nearest lacks gpu" in told, "PENDING" in told) == (True, True, True)
    assert json.loads(run("tasks", "why", task, "--json").output)["reason"]["missing"] == ["gpu"]
