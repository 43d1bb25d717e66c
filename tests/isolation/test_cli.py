"""Every verb of the command line that talks to a control plane, with B's token on A's ids."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click
import httpx
import pytest
from click.testing import CliRunner, Result

from aragora_cp.cli import cli, session
from aragora_cp.model import Role
from tests.isolation.estate import (
    AGENT,
    BUDGET,
    CANARY,
    CAPABILITY,
    COMMON_FLAG,
    FLAG,
    POLICY,
    SILENCE,
    TASK_TYPE,
    A,
    Estate,
    belongings,
    changed,
)
from tests.isolation.worlds import World, settled

#: Work with the store's or the host's own access, which no tenant has.
OF_THE_HOST = frozenset({"demo", "dev", "serve", "monitor", "worker", "flower", "doctor", "tokens", "keys", "acl"})

#: Arguments of each verb that talks to a control plane; `{task}` is each of A's tasks, `{token}` its token.
VERBS: Mapping[str, Sequence[str]] = {
    "tasks submit": [
        f'{TASK_TYPE} --payload {{"canary":"waits"}} --capability {CAPABILITY} --idempotency-key canary-key --json'
    ],
    "tasks get": ["{task}", "{task} --json"],
    "tasks why": ["{task}", "{task} --json"],
    "tasks wait": ["{task} --timeout 0"],
    "tasks cancel": ["{task}"],
    "tasks retry": ["{task}", "--status FAILED", "--status CANCELLED --type canary.review --json"],
    "tasks list": ["", "--json", f"--agent {AGENT}", f"--type {TASK_TYPE}"],
    "tasks approve": ["{task}"],
    "tasks reject": ["{task} --reason mine"],
    "policies list": ["", "--json", "--platform"],
    "policies show": [POLICY, f"{POLICY} --json", f"{POLICY} --platform"],
    "policies put": [f"{POLICY} rules.cedar --tests tests.json"],
    "policies versions": [POLICY, f"{POLICY} --platform"],
    "policies rollback": [POLICY, f"{POLICY} --version 1"],
    "policies replay": [f"{POLICY} rules.cedar"],
    "policies test": ["rules.cedar --tests tests.json"],
    "policies explain": ["request.json"],
    "policies delete": [POLICY],
    "agents list": ["", "--json", f"--capability {CAPABILITY}"],
    "agents show": [AGENT],
    "queues": ["", "--json"],
    "top": ["--json"],
    "agents breaker": [AGENT, f"{AGENT} --json"],
    "agents force-open": [f"{AGENT} --reason mine --for 60"],
    "agents force-close": [f"{AGENT} --reason mine --for 60"],
    "agents reset": [AGENT],
    "audit list": ["", "--json", "--platform", f"--actor agent:{AGENT}"],
    "audit export": ["", "--format csv", "--platform"],
    "audit verify": ["", "--json"],
    "flags list": ["", "--json", "--platform"],
    "flags show": [FLAG, f"{FLAG} --json", COMMON_FLAG],
    "flags set": [f'{FLAG} {{"state":"ENABLED","variants":{{"on":true}},"defaultVariant":"on"}}'],
    "flags delete": [f"{COMMON_FLAG} --platform"],
    "flags rollback": [f"{FLAG} 1", f"{COMMON_FLAG} 1 --platform"],
    "flags evaluate": [FLAG, f"{COMMON_FLAG} --json"],
    "limits": ["", "--json"],
    "budgets list": ["", "--json"],
    "budgets show": [BUDGET],
    "budgets delete": [BUDGET],
    "budgets set": ["mine 1.00 --period day"],
    "budgets usage": ["", "--by model", "--by token --json", "--by task_type"],
    "budgets prices": ["", "--json", "--version 1", "--platform"],
    "alerts list": ["", "--json", "--ended"],
    "alerts silences": ["", "--json"],
    "alerts silence": [f"mine --subject {AGENT}"],
    "alerts unsilence": [SILENCE],
    "alerts deliveries": ["", "--waiting --json"],
    "alerts test": [""],
    "workspaces create": [A],
    "workspaces delete": [f"{A} --yes"],
    "workspaces list": ["", "--json"],
    "workspaces resume": [A],
    "workspaces set": [f"{A} --weight 9"],
    "workspaces show": [A, f"{A} --json"],
    "workspaces suspend": [A],
}


def verbs(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command that is no group, with the words that name it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from verbs(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def talks_to_a_control_plane(command: click.Command) -> bool:
    return any(parameter.name == "url" for parameter in command.params)


def run(world: World, words: str, *, role: Role = Role.OPERATOR, workspace: str = "") -> Result:
    """As B; `role` of its token, `workspace` what it says with --workspace."""
    env = {"ARAGORA_CP_URL": "http://plane", "ARAGORA_CP_TOKEN": world.tokens[role]}
    if workspace:
        env["ARAGORA_CP_WORKSPACE"] = workspace
    with pytest.MonkeyPatch.context() as patched:
        real = httpx.Client
        transport = httpx.WSGITransport(app=world.app)
        patched.setattr(session.httpx, "Client", lambda: real(transport=transport))
        return CliRunner(env=env).invoke(cli, words.split())


def calls(estate: Estate) -> Iterator[str]:
    for verb, arguments in VERBS.items():
        for given in arguments:
            # Not str.format: payloads have braces of their own.
            ids = estate.task_ids.values() if "{task}" in given else [""]
            for task_id in ids:
                yield f"{verb} {given}".replace("{task}", task_id).replace("{token}", estate.token_id)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no control plane's data is."""
    monkeypatch.chdir(tmp_path)
    asked = {"action": "read", "principal": {"role": "viewer"}, "context": {"kind": "tasks"}}
    (tmp_path / "rules.cedar").write_text('@id("mine") permit(principal, action, resource);')
    (tmp_path / "tests.json").write_text(json.dumps([{"request": asked, "expect": "allow"}]))
    (tmp_path / "request.json").write_text(json.dumps(asked))


def test_every_verb_is_known() -> None:
    for name, command in verbs(cli):
        if talks_to_a_control_plane(command):
            assert name in VERBS, f"say in VERBS of {__file__} how B calls `{name}` with what is A's"
        else:
            assert name.split(" ")[0] in OF_THE_HOST, f"say in {__file__} whether `{name}` is for tenants"


def test_b_cannot_tell_what_a_has(full: World, bare: World, estate: Estate) -> None:
    before = belongings(full.plane.client, full.plane.config.key_prefix, estate.marks)
    walked = 0
    leaks = []
    for role in (Role.OPERATOR, Role.VIEWER):
        said = ""
        for words in calls(estate):
            walked += 1
            said += words
            told, nothing = ((result.exit_code, settled(result.output, words)) for result in
                             (run(full, words, role=role), run(bare, words, role=role)))  # fmt: skip
            if told != nothing:
                leaks.append(f"{role} {words}: {told} with A's data, {nothing} without")
            leaks += [f"{words}: shows {word}" for word in re.findall(rf"{CANARY}[\w.-]*", told[1]) if word not in said]
    print(f"isolation: {len(VERBS)} verbs, {walked} calls, {len(leaks)} leaks")
    assert not leaks, "\n".join(leaks)
    assert changed(before, belongings(full.plane.client, full.plane.config.key_prefix, estate.marks)) == []


def test_naming_a_with_bs_token_is_refused(full: World, estate: Estate) -> None:
    for words in calls(estate):
        refused = run(full, words, workspace=A)
        assert refused.exit_code == 1, words
        assert "workspace-mismatch" in refused.output or "do not run again" in refused.output, (words, refused.output)
