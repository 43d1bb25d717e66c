"""From a Procfile to programs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from aragora_cp.cli.failure import CommandFailed
from aragora_cp.cli.fleet import Places, program, read_procfile
from aragora_cp.cli.worker import load_agent

PLACES = Places("127.0.0.1", 8080, 5555)


def test_our_own_procfile_names_every_process_and_real_agents() -> None:
    lines = {line.name: line for line in read_procfile(None)}
    assert {line.command for line in lines.values()} == {"serve", "monitor", "flower", "worker"}
    assert {line.agent_id for line in lines.values() if line.agent_id} == {"code-1", "search-1", "debate-1"}
    for line in lines.values():
        if line.agent_id:
            assert load_agent(line.argv[2]).agent_id == line.agent_id


def test_the_procfile_of_the_repository_is_the_same() -> None:
    root = Path(__file__).parents[3]
    assert read_procfile(root / "Procfile") == read_procfile(None)


@pytest.mark.parametrize(
    ("command", "agent_id"),
    [
        ("aragora-cp worker mine:agent", "mine-1"),
        ("aragora-cp worker mine:agent --agent-id other", "other"),
        ("aragora-cp worker mine:agent --agent-id=other", "other"),
        ("celery -A mine worker", None),
        ("aragora-cp serve", None),
    ],
)
def test_an_agent_s_id_is_known_before_it_starts(command: str, agent_id: str | None, tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text(f"mine: {command}\n")
    (line,) = read_procfile(tmp_path / "Procfile")
    assert line.agent_id == agent_id
    argv = program(line, PLACES, {}, agent_grace=65.0).argv
    if agent_id:
        assert argv[:4] == (sys.executable, "-m", "aragora_cp.cli", "worker")
        assert agent_id in " ".join(argv)


def test_programs_are_told_where_to_listen_and_agents_get_time_to_stop() -> None:
    programs = {line.name: program(line, PLACES, {}, agent_grace=65.0) for line in read_procfile(None)}
    assert programs["web"].argv[3:] == ("serve", "--host", "127.0.0.1", "--port", "8080")
    assert programs["flower"].argv[3:] == ("flower", "--port", "5555")
    assert programs["code"].grace == 65.0
    assert programs["web"].grace == 10.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: one\na: two\n", "must be unique"),
        ("a: 'open\n", "No closing quotation"),
        ("store: redis-server\n", "names of dev's own"),
    ],
)
def test_a_procfile_that_cannot_be_used_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text(text)
    with pytest.raises(CommandFailed, match=said):
        read_procfile(tmp_path / "Procfile")
