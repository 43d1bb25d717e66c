"""The parts of the command line that talk to the store itself."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result

from aragora_cp.cli import cli
from aragora_cp.cli.keyring import open_keyring
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import Unauthenticated
from aragora_cp.model import AgentSpec, Role
from aragora_cp.tenancy.tokens import check_token
from aragora_cp.wiring import ControlPlane, build
from tests.waiting import eventually


@pytest.fixture
def plane(config: ControlPlaneConfig) -> Iterator[ControlPlane]:
    plane = build(config)
    plane.workspaces.create("acme", {})
    yield plane
    plane.close()


def run(config: ControlPlaneConfig, *args: str) -> Result:
    return CliRunner(env=config.to_env()).invoke(cli, args)


# --- tokens ----------------------------------------------------------------------------------------------------------


def test_a_token_is_made_and_revoked(config: ControlPlaneConfig, plane: ControlPlane) -> None:
    made = run(config, "tokens", "create", "--role", "submitter", "--workspace", "acme", "--name", "ci", "--json")
    assert made.exit_code == 0, made.output
    token = json.loads(made.stdout)
    caller = check_token(plane.tokens, token["token"])
    assert (caller.role, caller.workspace, caller.token_id) == (Role.SUBMITTER, "acme", token["token_id"])
    assert run(config, "tokens", "revoke", token["token_id"]).stdout == f"revoked {token['token_id']}\n"
    with pytest.raises(Unauthenticated):
        check_token(plane.tokens, token["token"])


def test_tokens_are_listed_and_rotated(config: ControlPlaneConfig, plane: ControlPlane) -> None:
    made = json.loads(
        run(
            config, "tokens", "create", "--role", "agent", "--workspace", "default", "--capability", "code", "--json"
        ).stdout
    )
    (listed,) = json.loads(run(config, "tokens", "list", "--workspace", "default", "--json").stdout)
    assert (listed["token_id"], listed["capabilities"]) == (made["token_id"], ["code"])
    assert made["token_id"] in run(config, "tokens", "list", "--workspace", "default").stdout
    assert run(config, "tokens", "list").stdout == "no tokens\n"
    rotated = json.loads(run(config, "tokens", "rotate", made["token_id"], "--overlap", "0", "--json").stdout)
    assert check_token(plane.tokens, rotated["token"]).scopes.capabilities == ("code",)
    with pytest.raises(Unauthenticated):
        check_token(plane.tokens, made["token"])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["create", "--role", "viewer", "--workspace", "A b"], "workspace: must be"),
        (["create", "--role", "viewer", "--expires-in", "nan"], "expires_in: must be"),
        (["create", "--role", "viewer", "--workspace", "acmee"], "no workspace 'acmee'; did you mean 'acme'?"),
        (["create", "--role", "viewer", "--network", "10.0.0.0/64"], "networks: '10.0.0.0/64' is not a network"),
        (["revoke", "nothing"], "there is no token 'nothing'"),
        (["rotate", "nothing"], "there is no token 'nothing'"),
    ],
)
def test_a_token_that_cannot_be_is_one_line(
    config: ControlPlaneConfig, plane: ControlPlane, args: list[str], said: str
) -> None:
    result = run(config, "tokens", *args)
    assert result.exit_code == 1
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_keyring_is_kept_private_and_only_as_long_as_it_is_good(plane: ControlPlane, tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    first = open_keyring(path, plane.tokens)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert open_keyring(path, plane.tokens) == first
    plane.tokens.revoke(check_token(plane.tokens, first.token).token_id)
    second = open_keyring(path, plane.tokens)
    assert second.token != first.token
    assert (second.agent_token, second.flower_password) == (first.agent_token, first.flower_password)
    assert check_token(plane.tokens, second.token).role is Role.ADMIN
    path.write_text("[")
    third = open_keyring(path, plane.tokens)
    assert check_token(plane.tokens, third.agent_token).role is Role.AGENT


# --- doctor ----------------------------------------------------------------------------------------------------------


def findings(result: Result) -> dict[str, dict[str, Any]]:
    return {finding["check"]: finding for finding in json.loads(result.stdout)}


def test_a_sound_store_without_processes_has_warnings_only(config: ControlPlaneConfig, tmp_path: Path) -> None:
    result = run(config, "doctor", "--json", "--data-dir", str(tmp_path))
    assert result.exit_code == 0, result.output
    found = findings(result)
    assert list(found) == [
        "settings", "store", "version", "clock", "eviction", "persistence", "encryption", "audit", "broker",
        "monitor", "agents",
    ]  # fmt: skip
    verdicts = {name: finding["verdict"] for name, finding in found.items()}
    assert {verdicts[name] for name in ("settings", "store", "version", "clock", "eviction", "broker")} == {"ok"}
    assert verdicts["monitor"] == verdicts["agents"] == "warning"
    assert "aragora-cp monitor" in found["monitor"]["advice"]
    assert verdicts["audit"] == "warning"
    assert "ARAGORA_CP_AUDIT_KEY_FILE" in found["audit"]["advice"]


def test_live_processes_are_seen(config: ControlPlaneConfig, plane: ControlPlane, tmp_path: Path) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=plane.monitor().run, args=(stop,))
    thread.start()
    plane.registry.register(AgentSpec("a-1", ("code",)), owner="test", takeover=False)
    try:
        look = lambda: findings(run(config, "doctor", "--json", "--data-dir", str(tmp_path)))  # noqa: E731
        found = eventually(lambda: (seen := look())["monitor"]["verdict"] == "ok" and seen, 10, "the monitor leads")
    finally:
        stop.set()
        thread.join()
    assert found["agents"]["found"] == "1 online"


def test_an_evicting_store_is_wrong(own_server: Any, config: ControlPlaneConfig, tmp_path: Path) -> None:
    with redis.Redis.from_url(own_server.url) as admin:
        admin.config_set("maxmemory-policy", "allkeys-lru")
        admin.config_set("appendonly", "no")
    result = run(replace(config, redis_url=own_server.url), "doctor", "--data-dir", str(tmp_path))
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    (evicting,) = (n for n, line in enumerate(lines) if line.startswith("✗ eviction"))
    assert "allkeys-lru" in lines[evicting]
    assert "noeviction" in lines[evicting + 1]
    assert any(line.startswith("! persistence") for line in lines)


def test_a_store_that_is_away_is_wrong_and_nothing_else_is_asked(config: ControlPlaneConfig, tmp_path: Path) -> None:
    away = replace(config, redis_url="redis://:secret@127.0.0.1:1", redis_timeout=0.2)
    result = run(away, "doctor", "--json", "--data-dir", str(tmp_path))
    assert result.exit_code == 1
    assert {name: finding["verdict"] for name, finding in findings(result).items()} == {
        "settings": "ok",
        "store": "wrong",
        "broker": "wrong",
    }
    assert "secret" not in result.output


def test_a_wrong_setting_is_the_only_finding(tmp_path: Path) -> None:
    result = CliRunner(env={"ARAGORA_CP_WINDOW": "many"}).invoke(cli, ["doctor", "--json", "--data-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert list(findings(result)) == ["settings"]


def test_the_store_of_a_running_dev_is_looked_at(config: ControlPlaneConfig, tmp_path: Path) -> None:
    (tmp_path / "dev.json").write_text(json.dumps({"redis_url": config.redis_url}))
    elsewhere = replace(config, redis_url=ControlPlaneConfig.redis_url)
    assert run(elsewhere, "doctor", "--data-dir", str(tmp_path)).exit_code == 0
