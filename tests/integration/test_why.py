"""Why a task waits: each reason on real state, and that following the reasons leads to the task running."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aragora_cp.errors import NotFound
from aragora_cp.model import AgentSpec, Claim, Priority, RetryPolicy, Task, TaskStatus
from aragora_cp.why import Explanation, Reason
from tests.fleet import HANDLER_ERROR, Fleet


def why(fleet: Fleet, task: Task | str) -> Explanation:
    return fleet.plane.explainer().why(fleet.workspace, task if isinstance(task, str) else task.task_id)


def reason(fleet: Fleet, task: Task | str) -> Reason:
    return why(fleet, task).reason


def also(fleet: Fleet, task: Task) -> list[str]:
    return [each.code for each in why(fleet, task).also]


def tenant(fleet: Fleet, **values: Any) -> None:
    fleet.client.hset(fleet.keys("workspace"), mapping=values)


def test_a_final_one_does_not_wait(fleet: Fleet) -> None:
    spec = fleet.agent()
    done = fleet.finish(fleet.running(spec), spec)
    assert (why(fleet, done).status, reason(fleet, done).code) == ("COMPLETED", "final")
    assert reason(fleet, done).facts == {"since": done.finished_at}


def test_a_running_one_says_who_runs_it(fleet: Fleet) -> None:
    claim = fleet.running(fleet.agent())
    found = reason(fleet, claim.task)
    assert (found.code, found.facts["agent_id"], found.facts["attempt"]) == ("running", "a1", 1)


def test_held_by_a_policy(fleet: Fleet) -> None:
    task = fleet.submit()
    fleet.client.hset(fleet.keys("task", task.task_id), "status", "HELD")
    assert (why(fleet, task).status, reason(fleet, task).code) == ("HELD", "held")


def test_no_agent_at_all(fleet: Fleet) -> None:
    found = reason(fleet, fleet.submit("code", "gpu"))
    assert (found.code, found.facts) == ("no-agent", {"missing": ["code", "gpu"], "nearest": None})


def test_the_nearest_lane_and_what_it_lacks(fleet: Fleet) -> None:
    fleet.agent("far", "search")
    fleet.agent("near", "code", "python")
    fleet.agent("elsewhere", "code", "gpu", "python", workspace="beta")
    found = reason(fleet, fleet.submit("code", "gpu", "python"))
    assert (found.code, found.facts["missing"]) == ("no-agent", ["gpu"])
    assert found.facts["nearest"]["capabilities"] == ["code", "python"]


def test_placement(fleet: Fleet) -> None:
    fleet.agent()
    found = reason(fleet, fleet.submit(placement="private"))
    assert (found.code, found.facts["placement"]) == ("placement", "private")


def test_all_that_could_drain(fleet: Fleet) -> None:
    fleet.agent()
    task = fleet.submit()
    fleet.registry.drain("a1", None)
    fleet.sweep()
    assert (reason(fleet, task).code, reason(fleet, task).facts) == ("draining", {"lanes": ["shared.code"]})


def test_breakers_keep_out_all_that_could(fleet: Fleet) -> None:
    fleet.agent()
    task, direct = fleet.submit(), fleet.submit(agent_id="a1")
    fleet.registry.force_breaker("a1", None, "open", reason="looks odd", seconds=60)
    fleet.sweep()
    facts = {"lanes": ["shared.code"], "agents": 1}
    assert (reason(fleet, task).code, reason(fleet, task).facts) == ("breakers-open", facts)
    assert reason(fleet, direct).code == "agent-breaker-open"


def test_all_busy(fleet: Fleet) -> None:
    spec = fleet.agent(concurrency=2)
    for _ in range(2):
        fleet.running(spec)
    task = fleet.submit()
    assert (reason(fleet, task).code, reason(fleet, task).facts) == ("busy", {"slots": 2, "own": 2})
    assert also(fleet, task) == ["ticket-out"]


def test_a_ticket_is_out(fleet: Fleet) -> None:
    fleet.agent()
    found = reason(fleet, fleet.submit())
    assert (found.code, found.facts["lane"]) == ("ticket-out", "shared.code")


def test_behind_its_own_kind(fleet: Fleet) -> None:
    fleet.agent(concurrency=10)
    tasks = [fleet.submit() for _ in range(fleet.config.window + 3)]
    found = reason(fleet, tasks[-1])
    assert (found.code, found.facts) == ("behind", {"ahead": 2, "priority": "normal"})
    assert also(fleet, tasks[-1]) == ["window"]
    # Another priority has a window of its own.
    assert reason(fleet, fleet.submit(priority=Priority.LOW)).code == "ticket-out"


def test_the_window_is_full(fleet: Fleet) -> None:
    fleet.agent(concurrency=10)
    tasks = [fleet.submit() for _ in range(fleet.config.window + 1)]
    found = reason(fleet, tasks[-1])
    assert (found.code, found.facts) == ("window", {"window": 4, "tickets": 4})


def test_max_running(fleet: Fleet) -> None:
    spec = fleet.agent(concurrency=10)
    tenant(fleet, status="active", max_running=1)
    fleet.running(spec)
    found = reason(fleet, fleet.submit())
    assert (found.code, found.facts) == ("max-running", {"limit": 1, "running": 1})


def test_suspended(fleet: Fleet) -> None:
    fleet.agent()
    task = fleet.submit()
    tenant(fleet, status="suspended")
    assert (reason(fleet, task).code, also(fleet, task)) == ("suspended", ["ticket-out"])


def test_backoff_says_until_when_and_after_what(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim = fleet.running(spec, retry=RetryPolicy(initial=30, jitter=False))
    task = fleet.scheduler.fail(claim.hold, HANDLER_ERROR, "a1")
    found = reason(fleet, task)
    assert found.code == "backoff"
    assert found.facts == {"until": task.next_attempt_at, "attempt": 1, "error_code": "handler-error"}


def test_submitted_for_later(fleet: Fleet) -> None:
    fleet.agent()
    task = fleet.submit(delay=60.0)
    assert (reason(fleet, task).code, reason(fleet, task).facts) == ("delayed", {"until": task.run_at})


def test_an_agent_without_the_key_left_it(fleet: Fleet) -> None:
    spec = fleet.agent()
    task = fleet.submit()
    tenant(fleet, status="active", encryption="1")
    ticket = fleet.broker.take()
    assert ticket is not None
    assert fleet.scheduler.claim(fleet.hold(ticket), spec) == "no-key"
    assert reason(fleet, task).code == "no-key"


def test_parked_until_its_sub_tasks_end(fleet: Fleet) -> None:
    claim = fleet.running(fleet.agent())
    children = sorted(fleet.submit("nothing").task_id for _ in range(3))
    fleet.scheduler.hand_back(claim.hold, awaits=children)
    found = reason(fleet, claim.task)
    assert (found.code, found.facts["count"], found.facts["waits_for"]) == ("sub-tasks", 3, children)
    fleet.scheduler.cancel(fleet.workspace, children[0])
    assert reason(fleet, claim.task).facts["waits_for"] == children[1:]


def test_nothing_in_its_way_until_the_monitor_looks(fleet: Fleet) -> None:
    task = fleet.submit()
    fleet.agent()
    assert reason(fleet, task).code == "release-due"
    fleet.sweep()
    assert reason(fleet, task).code == "ticket-out"


@pytest.mark.parametrize("workspace", [None, "acme"])
def test_the_agent_that_it_names(fleet: Fleet, workspace: str | None) -> None:
    spec = fleet.agent("a1", "code", workspace=workspace)
    task = fleet.submit(agent_id=spec.handle)
    assert reason(fleet, task).code == "ticket-out"
    fleet.registry.heartbeat(spec.handle, fleet.session(spec), running=["another"])
    assert (reason(fleet, task).code, reason(fleet, task).facts) == ("agent-busy", {"agent_id": "a1", "slots": 1})
    fleet.registry.drain("a1", workspace)
    assert reason(fleet, task).code == "agent-draining"
    fleet.registry.leave(spec.handle, fleet.session(spec))
    assert reason(fleet, task).code == "agent-offline"
    fleet.registry.remove("a1", workspace)
    assert (reason(fleet, task).code, reason(fleet, task).facts) == ("agent-gone", {"agent_id": "a1"})
    fleet.agent("a1", "search", workspace=workspace)
    assert reason(fleet, task).facts == {"agent_id": "a1", "missing": ["code"]}


def test_anothers_task_and_none_are_the_same(fleet: Fleet) -> None:
    task = fleet.submit(workspace="beta")
    for task_id in (task.task_id, "nothing"):
        with pytest.raises(NotFound, match=f"there is no task '{task_id}'"):
            why(fleet, task_id)


# --- following the reasons -------------------------------------------------------------------------------------------

CAPABILITIES = ("code", "search")
ALL = (*CAPABILITIES, "gpu")


class Remedies:
    """What an operator would do about each reason; then the monitor looks."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.helpers: list[AgentSpec] = []

    def apply(self, task_id: str, found: Reason) -> None:
        getattr(self, found.code.replace("-", "_"))(task_id, found)
        self.fleet.sweep()

    def help(self, *capabilities: str) -> None:
        name = f"helper-{len(self.helpers)}"
        self.helpers.append(self.fleet.agent(name, *capabilities, concurrency=20))

    def no_agent(self, task_id: str, found: Reason) -> None:
        nearest = (found.facts["nearest"] or {}).get("capabilities", [])
        self.help(*nearest, *found.facts["missing"])

    def busy(self, task_id: str, found: Reason) -> None:
        """More agents of both pools: the task may be placed in either."""
        self.help(*ALL)
        self.fleet.agent(f"own-{len(self.helpers)}", *ALL, workspace=self.fleet.workspace, concurrency=20)

    def draining(self, task_id: str, found: Reason) -> None:
        for agent in self.fleet.registry.list(self.fleet.workspace).items:
            self.fleet.registry.resume(agent.agent_id, agent.workspace)

    def placement(self, task_id: str, found: Reason) -> None:
        if found.facts["placement"] == "shared":
            self.help(*ALL)
        else:
            self.fleet.agent("own", *ALL, workspace=self.fleet.workspace, concurrency=20)

    def suspended(self, task_id: str, found: Reason) -> None:
        tenant(self.fleet, status="active")

    def max_running(self, task_id: str, found: Reason) -> None:
        self.fleet.client.hdel(self.fleet.keys("workspace"), "max_running")

    def delayed(self, task_id: str, found: Reason) -> None:
        self.fleet.client.zadd(self.fleet.keys("delayed"), {task_id: 1}, xx=True)

    def behind(self, task_id: str, found: Reason) -> None:
        self.cancel_others(task_id, TaskStatus.PENDING)

    window = behind

    def release_due(self, task_id: str, found: Reason) -> None:
        """The look that follows is the remedy."""

    def ticket_out(self, task_id: str, found: Reason) -> None:
        """An agent of that lane takes it."""
        ticket = self.fleet.broker.take_for(task_id)
        assert ticket is not None
        pool, _, slug = found.facts["lane"].partition(".")
        workspace = None if pool == "shared" else pool
        spec = AgentSpec("any", tuple(slug.split("+")), workspace=workspace, concurrency=20)
        assert isinstance(self.fleet.scheduler.claim(self.fleet.hold(ticket), spec), Claim)

    def cancel_others(self, task_id: str, status: TaskStatus) -> None:
        for task in self.fleet.scheduler.list(self.fleet.workspace, status=status, limit=200).items:
            if task.task_id != task_id:
                self.fleet.scheduler.cancel(self.fleet.workspace, task.task_id)


AGENTS = st.lists(
    st.tuples(
        st.sampled_from([("code",), ("search",), CAPABILITIES]),
        st.sampled_from([None, "acme"]),
        st.integers(1, 3),
        st.booleans(),
    ),
    max_size=3,
)
TASKS = st.lists(
    st.tuples(
        st.sampled_from([("code",), ("search",), CAPABILITIES, ("gpu",)]),
        st.sampled_from(list(Priority)[1:3]),
        st.sampled_from(["auto", "private", "shared"]),
        st.sampled_from([None, None, 60.0]),
    ),
    min_size=1,
    max_size=14,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    agents=AGENTS, tasks=TASKS, limit=st.sampled_from([None, 0, 1, 3]), claims=st.integers(0, 6), suspend=st.booleans()
)
def test_the_first_reason_is_true(
    fleet: Fleet, agents: list[Any], tasks: list[Any], limit: int | None, claims: int, suspend: bool
) -> None:
    """Do what the first reason asks for and it is the first reason no more; so again, until the task runs."""
    for key in fleet.client.scan_iter(match=f"{fleet.config.key_prefix}*", count=1000):
        fleet.client.delete(key)
    fleet.broker.lose()
    specs = []
    for n, (capabilities, workspace, slots, drain) in enumerate(agents):
        specs.append(fleet.agent(f"a{n}", *capabilities, workspace=workspace, concurrency=slots))
        if drain:
            fleet.registry.drain(f"a{n}", workspace)
    tenant(fleet, status="active", **({} if limit is None else {"max_running": limit}))
    submitted = [
        fleet.submit(*capabilities, priority=priority, placement=placement, delay=delay)
        for capabilities, priority, placement, delay in tasks
    ]
    for spec in specs[:claims]:
        if ticket := fleet.broker.take():
            fleet.scheduler.claim(fleet.hold(ticket), spec)
    if suspend:
        tenant(fleet, status="suspended")
    fleet.sweep()
    watched = submitted[-1].task_id
    remedies, seen = Remedies(fleet), []
    while (found := reason(fleet, watched)).code != "running":
        seen.append(found.code)
        assert len(seen) < 20, seen
        remedies.apply(watched, found)
        if (then := why(fleet, watched)).status == TaskStatus.PENDING:
            assert then.reason != found, (seen, then)
