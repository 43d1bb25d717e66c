"""Agents that fail, and upstreams that ask for a pause: what circuit breakers make of them, in real workers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from aragora_cp.model import TaskStatus
from tests.acceptance.cluster.caller import Caller
from tests.acceptance.conftest import StartAgent
from tests.waiting import eventually

pytestmark = pytest.mark.slow

TASKS = 200


def two_hundred(
    caller: Caller, start_agent: StartAgent, folder: Path, mode: str, options: str = ""
) -> tuple[Counter[TaskStatus], Counter[str], int]:
    """200 tasks for an agent that fails at once on everything and for a good one: how the tasks ended, how many
    attempts each agent had, and the retries that were used."""
    broken = folder / "broken"
    broken.touch()
    lane = f"jobs-{mode}{options.replace(' ', '')}"
    start_agent(f"bad-{lane}", options, capabilities=lane, HELPER_BROKEN=str(broken), ARAGORA_CP_BREAKER_MODE=mode)
    start_agent(f"good-{lane}", options, capabilities=lane, ARAGORA_CP_BREAKER_MODE=mode)
    payload = {"file": str(folder / "journal"), "seconds": 0.1}
    tasks = [caller.submit("job", payload, needs=(lane,), max_retries=3) for _ in range(TASKS)]
    ended = [caller.ended(task_id, 90) for task_id in tasks]
    attempts = Counter(line.split("-")[0] for line in (folder / "journal").read_text().split())
    print(f"breakers {mode} {options}: {dict(Counter(str(task.status) for task in ended))}, "
          f"attempts {dict(attempts)}, retries {sum(task.retries for task in ended)}")  # fmt: skip
    return Counter(task.status for task in ended), attempts, sum(task.retries for task in ended)


@pytest.mark.parametrize("options", ["", "-c 2", "-P threads -c 2"])
def test_with_breakers_the_bad_one_gets_ten_attempts_and_every_task_completes(
    caller: Caller, start_agent: StartAgent, tmp_path: Path, options: str
) -> None:
    ended, attempts, retries = two_hundred(caller, start_agent, tmp_path, "on", options)
    assert ended == {TaskStatus.COMPLETED: TASKS}
    assert attempts["bad"] <= 10
    assert retries == attempts["bad"]


def test_without_them_tasks_burn_their_retries(caller: Caller, start_agent: StartAgent, tmp_path: Path) -> None:
    ended, attempts, _ = two_hundred(caller, start_agent, tmp_path, "off")
    assert attempts["bad"] > TASKS
    assert ended[TaskStatus.FAILED] > TASKS / 5


def test_a_mended_agent_comes_back(caller: Caller, start_agent: StartAgent, tmp_path: Path) -> None:
    broken, journal = tmp_path / "broken", tmp_path / "journal"
    broken.touch()
    times = {"ARAGORA_CP_BREAKER_OPEN_TIME": "1", "ARAGORA_CP_BREAKER_PROBES": "2"}
    start_agent("frail", capabilities="mend", HELPER_BROKEN=str(broken), **times)
    start_agent("sound", capabilities="mend", **times)
    first = [caller.submit("job", {"file": str(journal)}, needs=("mend",), max_retries=3) for _ in range(20)]
    eventually(lambda: caller.agent("frail").breaker == "open", 10, "its breaker is open")
    broken.unlink()
    for task_id in first:
        assert caller.ended(task_id, 30).status is TaskStatus.COMPLETED

    def back() -> bool:
        task_id = caller.submit("job", {"file": str(journal), "seconds": 0.2}, needs=("mend",), max_retries=3)
        return caller.ended(task_id).status is TaskStatus.COMPLETED and caller.agent("frail").breaker == "closed"

    eventually(back, 20, "probes closed its breaker")
    journal.write_text("")
    tasks = [caller.submit("job", {"file": str(journal)}, needs=("mend",)) for _ in range(20)]
    assert {caller.ended(task_id).status for task_id in tasks} == {TaskStatus.COMPLETED}
    assert set(journal.read_text().split()) == {"frail", "sound"}


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_an_upstreams_429_pauses_its_models_agents(
    caller: Caller, start_agent: StartAgent, tmp_path: Path, pool: str
) -> None:
    lane, journal = f"ask-{pool}", tmp_path / "journal"
    for name in ("one", "two"):
        start_agent(f"{name}-{pool}", f"-P {pool}", capabilities=lane, HELPER_MODEL=f"gpt-{pool}")
    task_id = caller.submit("ask", {"file": str(journal), "until": 1, "pause": 2}, needs=(lane,))
    eventually(lambda: journal.exists() and journal.read_text(), 5, "the upstream was asked")
    eventually(lambda: caller.get(task_id).status is TaskStatus.PENDING, 1, "it is given back", pause=0.01)
    others = [caller.submit("ask", {"file": str(journal), "until": 0, "pause": 2}, needs=(lane,)) for _ in range(5)]
    for each in (task_id, *others):
        task = caller.ended(each, 15)
        assert (task.status, task.retries, task.error) == (TaskStatus.COMPLETED, 0, None)
    asked = [float(line.split()[1]) for line in journal.read_text().splitlines()]
    assert min(asked[1:]) - asked[0] >= 1.9, "nobody asked meanwhile"
    assert {caller.agent(f"{name}-{pool}").breaker for name in ("one", "two")} == {"closed"}
