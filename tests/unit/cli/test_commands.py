"""Commands as a person types them, against a pretended server."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner, Result

from aragora_cp._version import __version__
from aragora_cp.cli import COMMANDS, cli, session

TASK = {
    "task_id": "t-1",
    "workspace": "default",
    "task_type": "code.review",
    "status": "COMPLETED",
    "priority": "normal",
    "required_capabilities": ["code"],
    "attempt": 1,
    "max_retries": 3,
    "agent_id": "code-1",
    "result": {"findings": ["[bold]kept as it is[/]"]},
    "error": None,
    "created_at": "2026-01-02T03:04:05.678Z",
    "finished_at": "2026-01-02T03:04:06.678Z",
    "next_attempt_at": None,
}
AGENT = {
    "agent_id": "code-1",
    "workspace": None,
    "capabilities": ["code", "code.python"],
    "model": "ruff",
    "status": "BUSY",
    "breaker": "closed",
    "concurrency": 2,
    "running": ["t-1"],
    "labels": {},
    "version": "1",
    "registered_at": "2026-01-02T03:04:05.678Z",
    "last_heartbeat": "2026-01-02T03:04:05.678Z",
    "completed": 7,
    "failed": 0,
}
Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*args: str, stdin: str | bytes = "", **env: str) -> Result:
    settings = {"ARAGORA_CP_URL": "http://plane", "ARAGORA_CP_TOKEN": "acp_id_secret"} | env
    return CliRunner(env=settings).invoke(cli, args, input=stdin)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[Handler], list[httpx.Request]]:
    """Answer every request with the given function; gives the list of requests made."""

    def install(handler: Handler) -> list[httpx.Request]:
        seen: list[httpx.Request] = []

        def handle(request: httpx.Request) -> httpx.Response:
            seen.append(request)
            return handler(request)

        real = httpx.Client
        monkeypatch.setattr(session.httpx, "Client", lambda: real(transport=httpx.MockTransport(handle)))
        return seen

    return install


def one_error(result: Result) -> str:
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


# --- the program itself ----------------------------------------------------------------------------------------------


def test_help_names_every_command() -> None:
    shown = run("--help")
    assert shown.exit_code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in shown.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    shown = run(name, "--help")
    assert shown.exit_code == 0
    assert len(shown.stdout.splitlines()) > 4


def test_version() -> None:
    assert run("--version").stdout == f"aragora-cp, version {__version__}\n"


@pytest.mark.parametrize(
    ("typed", "meant"), [(["taks"], "tasks"), (["tasks", "sumbit"], "submit"), (["dev", "--prot", "1"], "--port")]
)
def test_a_slip_is_answered_with_what_was_meant(typed: list[str], meant: str) -> None:
    result = run(*typed)
    assert result.exit_code == 2
    assert "Did you mean" in result.stderr
    assert repr(meant) in result.stderr


def test_a_fault_of_ours_is_one_line_without_values(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(sys.modules["aragora_cp.cli"], "import_module", lambda _: FailingModule)
    FailingModule.agents = click.Command("agents", callback=fail)
    said = one_error(run("agents"))
    assert "RuntimeError at " in said
    assert "secret" not in said


class FailingModule:
    agents: click.Command


# --- processes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["serve"], ["monitor"], ["worker", "workers.code:agent"], ["flower"], ["dev"]])
def test_a_wrong_setting_is_one_line(command: list[str]) -> None:
    assert "did you mean ARAGORA_CP_REDIS_URL?" in one_error(run(*command, ARAGORA_CP_REDIS_ULR="redis://"))


@pytest.mark.parametrize("command", [["serve"], ["monitor"], ["worker", "workers.code:agent"], ["flower"]])
def test_a_store_that_is_away_is_one_line(command: list[str]) -> None:
    said = one_error(run(*command, ARAGORA_CP_REDIS_URL="redis://:pw@127.0.0.1:1", ARAGORA_CP_REDIS_TIMEOUT="0.2"))
    assert "redis://:***@127.0.0.1:1: it does not answer" in said


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("workers.code", "not of the form module:attribute"),
        ("no_such_module:agent", "there is no module 'no_such_module'"),
        ("workers.nothing:agent", "there is no module 'workers.nothing'"),
        ("workers.code:agnt", "did you mean agent?"),
        ("workers.code:app", "not an Agent"),
        ("mine:agent", "needs 'not_installed', which is not installed"),
        ("broken:agent", "broken.py:1:<module>"),
    ],
)
def test_an_agent_that_cannot_be_loaded_is_one_line(target: str, said: str, folder: Path) -> None:
    (folder / "mine.py").write_text("import not_installed\n")
    (folder / "broken.py").write_text("1 / 0\n")
    assert said in one_error(run("worker", target))


def test_flower_does_not_open_itself_to_the_network() -> None:
    assert "set FLOWER_BASIC_AUTH" in one_error(run("flower", "--host", "0.0.0.0"))


def test_dev_says_which_port_is_taken(unused_tcp_port_holder: int) -> None:
    port = unused_tcp_port_holder
    assert f"port {port} on 127.0.0.1 is in use" in one_error(run("dev", "--port", str(port)))


@pytest.fixture
def unused_tcp_port_holder() -> Any:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


# --- finding a control plane -----------------------------------------------------------------------------------------


def test_without_any_address_it_says_how_to_give_one() -> None:
    result = CliRunner(env={"ARAGORA_CP_URL": None, "ARAGORA_CP_TOKEN": None}).invoke(cli, ["tasks", "list"])
    assert "start `aragora-cp dev`" in one_error(result)


def test_a_running_dev_is_found_by_its_file(folder: Path, answers: Any) -> None:
    (folder / ".aragora").mkdir()
    (folder / ".aragora" / "dev.json").write_text('{"url": "http://dev:1", "token": "acp_dev_secret"}')
    seen = answers(lambda _: httpx.Response(200, json={"items": [], "next_cursor": None}))
    plain = CliRunner(env={"ARAGORA_CP_URL": None, "ARAGORA_CP_TOKEN": None})
    assert plain.invoke(cli, ["agents", "list"]).stdout == "no agents\n"
    assert str(seen[0].url).startswith("http://dev:1/api/control-plane/agents")
    assert seen[0].headers["Authorization"] == "Bearer acp_dev_secret"
    assert "X-Workspace-ID" not in seen[0].headers


def test_a_token_of_dev_is_never_sent_to_another_address(folder: Path) -> None:
    (folder / ".aragora").mkdir()
    (folder / ".aragora" / "dev.json").write_text('{"url": "http://dev:1", "token": "acp_dev_secret"}')
    plain = CliRunner(env={"ARAGORA_CP_URL": "http://elsewhere", "ARAGORA_CP_TOKEN": None})
    assert "a token is needed" in one_error(plain.invoke(cli, ["agents", "list"]))


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (httpx.ConnectError("secret"), "cannot reach http://plane; is it running?"),
        (httpx.ReadTimeout("secret"), "no answer from http://plane in time"),
    ],
)
def test_a_server_that_is_away_is_one_line(failure: Exception, said: str, answers: Any) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise failure

    answers(fail)
    assert one_error(run("tasks", "list")) == f"Error: {said}\n"


@pytest.mark.parametrize("url", ["plane", "ftp://plane", "http://"])
def test_an_address_that_is_none_is_one_line(url: str) -> None:
    assert "is not the URL of a control plane" in one_error(run("tasks", "list", ARAGORA_CP_URL=url))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(404, json={"code": "not-found", "detail": "there is no task"}), "there is no task (not-found)"),
        (
            httpx.Response(422, json={"code": "invalid-request", "errors": {"timeout": ["must be positive", "no"]}}),
            "timeout: must be positive, no (invalid-request)",
        ),
        (httpx.Response(502, text="<html>"), "the server answered 502 without a reason"),
        (httpx.Response(200, text="<html>"), "plane answered something else than a control plane does"),
    ],
)
def test_a_problem_is_one_line(answer: httpx.Response, said: str, answers: Any) -> None:
    answers(lambda _: answer)
    assert one_error(run("tasks", "get", "t-1")) == f"Error: {said}\n"


# --- tasks and agents ------------------------------------------------------------------------------------------------


def test_submit_sends_what_was_typed_and_nothing_else(answers: Any) -> None:
    seen = answers(lambda _: httpx.Response(202, json=TASK | {"status": "PENDING", "attempt": 0}))
    typed = ["--payload", '{"a": 1}', "--capability", "code", "--capability", "search", "--priority", "high",
             "--placement", "private"]  # fmt: skip
    result = run("tasks", "submit", "code.review", *typed, "--workspace", "acme")
    assert result.exit_code == 0
    assert "PENDING" in result.stdout
    assert seen[0].headers["X-Workspace-ID"] == "acme"
    assert json.loads(seen[0].content) == {
        "task_type": "code.review",
        "payload": {"a": 1},
        "required_capabilities": ["code", "search"],
        "priority": "high",
        "placement": "private",
    }


@pytest.mark.parametrize(("given", "stdin"), [("@payload.json", ""), ("-", '{"a": "é"}')])
def test_a_payload_comes_from_a_file_or_standard_input(given: str, stdin: str, answers: Any, folder: Path) -> None:
    (folder / "payload.json").write_text('{"a": "é"}', encoding="utf-8")
    seen = answers(lambda _: httpx.Response(202, json=TASK))
    assert run("tasks", "submit", "x", "--payload", given, stdin=stdin).exit_code == 0
    assert json.loads(seen[0].content)["payload"] == {"a": "é"}


@pytest.mark.parametrize(
    ("given", "stdin", "said"),
    [
        ("{", b"", "the payload is not JSON"),
        ("[" * 100_000, b"", "the payload is not JSON"),
        ("@missing.json", b"", "cannot read missing.json: No such file or directory"),
        ("-", b"\xff", "the payload is not UTF-8"),
    ],
)
def test_a_payload_that_cannot_be_read_is_one_line(given: str, stdin: bytes, said: str, answers: Any) -> None:
    seen = answers(lambda _: httpx.Response(202, json=TASK))
    assert said in one_error(run("tasks", "submit", "x", "--payload", given, stdin=stdin))
    assert not seen


def test_waiting_asks_again_until_the_task_is_final(answers: Any) -> None:
    states = iter(["PENDING", "RUNNING", "COMPLETED"])
    seen = answers(lambda _: httpx.Response(200, json=TASK | {"status": next(states)}))
    result = run("tasks", "submit", "code.review", "--wait", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["status"] == "COMPLETED"
    assert [str(request.url.query, "ascii") for request in seen] == ["", "wait=20.0", "wait=20.0"]


@pytest.mark.parametrize(
    ("status", "said"), [("FAILED", "the task ended FAILED"), ("RUNNING", "the task is still RUNNING")]
)
def test_waiting_fails_when_the_task_did_not_complete(status: str, said: str, answers: Any) -> None:
    error = {"code": "handler-error", "message": "no"} if status == "FAILED" else None
    answers(lambda _: httpx.Response(200, json=TASK | {"status": status, "error": error, "result": None}))
    result = run("tasks", "wait", "t-1", "--timeout", "0")
    assert result.exit_code == 1
    assert said in result.stderr
    assert ("handler-error: no" in result.stdout) == (status == "FAILED")


def test_a_record_shows_text_as_it_is(answers: Any) -> None:
    answers(lambda _: httpx.Response(200, json=TASK))
    shown = run("tasks", "get", "t-1").stdout
    assert "[bold]kept as it is[/]" in shown
    assert "attempt   1 of up to 4" in shown


def test_an_id_stays_one_part_of_the_path(answers: Any) -> None:
    seen = answers(lambda _: httpx.Response(200, json=TASK))
    run("tasks", "cancel", "../agents?x")
    assert seen[0].url.raw_path == b"/api/control-plane/tasks/..%2Fagents%3Fx/cancel"
    assert seen[0].method == "POST"


def test_a_listing_follows_its_pages_up_to_the_limit(answers: Any) -> None:
    pages = iter([("c1", 2), (None, 2)])

    def page(_: httpx.Request) -> httpx.Response:
        cursor, count = next(pages)
        return httpx.Response(200, json={"items": [TASK] * count, "next_cursor": cursor})

    seen = answers(page)
    shown = run("tasks", "list", "--limit", "3", "--status", "completed", "--json")
    assert len(json.loads(shown.stdout)) == 3
    assert [dict(request.url.params) for request in seen] == [
        {"status": "COMPLETED", "limit": "3"},
        {"status": "COMPLETED", "limit": "1", "cursor": "c1"},
    ]


def test_agents_are_shown_as_a_table_and_one_by_one(answers: Any) -> None:
    answers(lambda request: httpx.Response(200, json={"items": [AGENT], "next_cursor": None}
                                           if request.url.path.endswith("/agents") else AGENT))  # fmt: skip
    table = run("agents", "list").stdout.splitlines()
    columns = ["agent", "status", "breaker", "capabilities", "model", "running", "done", "failed", "heartbeat"]
    assert table[0].split() == columns
    assert "code, code.python" in table[1]
    assert "1 of 2" in table[1]
    shown = run("agents", "show", "code-1").stdout
    assert "shared by all" in shown
    assert json.loads(run("agents", "show", "code-1", "--json").stdout) == AGENT
