"""`aragora-cp workspaces` as a person types it, against a pretended server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from aragora_cp.cli import cli, session

ACME = {
    "workspace": "acme",
    "name": "[Acme]",
    "status": "active",
    "weight": 2,
    "max_pending": None,
    "max_running": 0,
    "max_payload_bytes": None,
    "max_result_bytes": None,
    "max_agents": None,
    "max_tokens": None,
    "retention": 60.5,
    "placement": "auto",
    "encryption": False,
    "created_at": "2026-01-02T03:04:05.678Z",
}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, Any]]:
    """The requests made, to a server that knows `acme` and `default`."""
    requests: list[tuple[str, str, Any]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/control-plane")
        requests.append((request.method, path, json.loads(request.content) if request.content else None))
        if path == "/workspaces" and request.method == "GET":
            return httpx.Response(200, json={"items": [ACME, ACME | {"workspace": "default"}], "next_cursor": None})
        if path in ("/workspaces", "/workspaces/acme"):
            return httpx.Response(200, json=ACME)
        return httpx.Response(404, json={"detail": "there is no workspace", "code": "not-found"})

    real = httpx.Client
    monkeypatch.setattr(session.httpx, "Client", lambda: real(transport=httpx.MockTransport(handle)))
    return requests


def run(*args: str) -> Result:
    return CliRunner(env={"ARAGORA_CP_URL": "http://plane", "ARAGORA_CP_TOKEN": "acp_id_secret"}).invoke(
        cli, ["workspaces", *args]
    )


Seen = list[tuple[str, str, Any]]


@pytest.mark.parametrize(
    ("args", "request_made"),
    [
        (["create", "acme"], ("POST", "/workspaces", {"workspace": "acme"})),
        (
            ["create", "acme", "--weight", "3", "--max-pending", "none", "--retention", "60.5", "--encryption"],
            (
                "POST",
                "/workspaces",
                {"workspace": "acme", "weight": 3, "max_pending": None, "retention": 60.5, "encryption": True},
            ),
        ),
        (
            ["set", "acme", "--max-running", "0", "--no-encryption", "--placement", "private", "--name", ""],
            (
                "PATCH",
                "/workspaces/acme",
                {"max_running": 0, "encryption": False, "placement": "private", "name": ""},
            ),
        ),
        (["suspend", "acme"], ("PATCH", "/workspaces/acme", {"status": "suspended"})),
        (["resume", "acme"], ("PATCH", "/workspaces/acme", {"status": "active"})),
        (["show", "acme"], ("GET", "/workspaces/acme", None)),
        (["delete", "acme", "--yes"], ("DELETE", "/workspaces/acme", None)),
    ],
)
def test_what_is_asked_for(seen: Seen, args: list[str], request_made: tuple[str, str, Any]) -> None:
    shown = run(*args)
    assert shown.exit_code == 0, shown.output
    assert seen == [request_made]
    assert "[Acme]" in shown.stdout
    assert json.loads(run(*args, "--json").stdout) == ACME


def test_a_list(seen: Seen) -> None:
    lines = run("list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["workspace", "acme", "default"]
    assert [each["workspace"] for each in json.loads(run("list", "--json").stdout)] == ["acme", "default"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["show", "acmee"], "there is no workspace 'acmee'; did you mean 'acme'?"),
        (["suspend", "xyz"], "there is no workspace 'xyz'\n"),
        (["delete", "acme"], "nothing was deleted"),
    ],
)
def test_a_slip_is_one_line(seen: Seen, args: list[str], said: str) -> None:
    result = run(*args)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert said in result.stderr
    assert "DELETE" not in [method for method, _, _ in seen]


@pytest.mark.parametrize("args", [["set", "acme"], ["set", "acme", "--max-pending", "many"], ["create"]])
def test_what_cannot_be_asked_for(seen: Seen, args: list[str]) -> None:
    assert run(*args).exit_code == 2
    assert seen == []


def test_help_names_every_setting(seen: Seen) -> None:
    shown: Callable[[str], bool] = run("set", "--help").stdout.__contains__
    for name in ("weight", "max-pending", "max-running", "max-payload-bytes", "max-result-bytes", "max-agents",
                 "max-tokens", "retention", "placement", "encryption"):  # fmt: skip
        assert shown(f"--{name}")
