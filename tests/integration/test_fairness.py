"""Windows share the agents; weights, limits and ageing; nothing is gained by splitting one's work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from aragora_cp.errors import Conflict, QuotaExceeded
from aragora_cp.model import AgentSpec, Claim, Priority, Ticket
from tests.crowds import at_once
from tests.fleet import Fleet
from tests.waiting import eventually


def settings(fleet: Fleet, workspace: str, **values: Any) -> None:
    fleet.client.hset(f"{fleet.config.key_prefix}{{{workspace}}}:workspace", mapping=values)


def work(fleet: Fleet, spec: AgentSpec, rounds: int) -> Counter[str]:
    """Run `rounds` tickets in the order in which the lane's queue gives them; answers how many each workspace got."""
    got: Counter[str] = Counter()
    for _ in range(rounds):
        ticket = fleet.broker.take(f"shared.{'+'.join(spec.capabilities)}")
        if ticket is None:
            break
        claim = fleet.scheduler.claim(fleet.hold(ticket), spec)
        if isinstance(claim, Claim):
            fleet.scheduler.finish(claim.hold, b"1", spec)
            got[ticket.workspace] += 1
    return got


def test_a_flood_delays_anothers_single_task_by_a_handful(fleet: Fleet) -> None:
    spec = fleet.agent()
    for _ in range(500):
        fleet.submit(workspace="flood")
    fleet.submit(workspace="quiet")
    assert work(fleet, spec, fleet.config.window + 1)["quiet"] == 1


def test_even_shares_whatever_the_capability_sets(fleet: Fleet) -> None:
    """Three workspaces, of which two share a set and one has its own, on the same agents: a third each."""
    spec = fleet.agent("a1", "code", "search")
    for workspace, required in (("one", "code"), ("two", "code"), ("three", "search")):
        for _ in range(120):
            fleet.scheduler.submit(fleet.new(required, workspace=workspace))
    assert work(fleet, spec, 240) == {"one": 80, "two": 80, "three": 80}


@pytest.mark.parametrize(
    "split",
    [
        lambda n: {"task_type": f"type-{n % 50}"},
        lambda n: {"capabilities": [c for i, c in enumerate("abcdef") if n >> i & 1] or ["a"]},
    ],
    ids=["types", "capability sets"],
)
def test_splitting_gains_nothing(fleet: Fleet, split: Callable[[int], dict[str, Any]]) -> None:
    spec = fleet.agent("a1", *"abcdef")
    for n in range(200):
        given = split(n)
        capabilities = given.pop("capabilities", ["a"])
        fleet.scheduler.submit(fleet.new(*capabilities, workspace="splitter", **given))
        fleet.scheduler.submit(fleet.new("a", workspace="plain"))
    assert work(fleet, spec, 100) == {"splitter": 50, "plain": 50}


def test_weights(fleet: Fleet) -> None:
    """Ten workspaces flood, five of weight 3 and five of weight 1: over 2,000 completions each gets its share."""
    spec = fleet.agent()
    weights = {f"ws-{n}": 3 if n % 2 else 1 for n in range(10)}
    for workspace, weight in weights.items():
        settings(fleet, workspace, weight=weight)
        for _ in range(120 * weight):
            fleet.submit(workspace=workspace)
    shares = work(fleet, spec, 2000)
    whole = sum(shares.values())
    assert whole == 2000
    for workspace, weight in weights.items():
        assert shares[workspace] == pytest.approx(whole * weight / sum(weights.values()), rel=0.1)


def test_a_lone_workspace_gets_the_whole_fleet(fleet: Fleet) -> None:
    specs = [fleet.agent(f"a{n}") for n in range(20)]
    for _ in range(40):
        fleet.submit(workspace="lone")
    claimed = 0
    for spec in specs:
        ticket = fleet.broker.take("shared.code")
        assert ticket is not None
        claimed += isinstance(fleet.scheduler.claim(fleet.hold(ticket), spec), Claim)
    assert claimed == 20


def test_max_running_is_never_passed_and_never_strands(fleet: Fleet) -> None:
    spec = fleet.agent(concurrency=10)
    settings(fleet, "acme", max_running=3)
    for _ in range(20):
        fleet.submit()
    running: list[Claim] = []
    done = 0
    while done < 20:
        while ticket := fleet.broker.take("shared.code"):
            claim = fleet.scheduler.claim(fleet.hold(ticket), spec)
            assert isinstance(claim, Claim)
            running.append(claim)
            assert len(running) <= 3
        fleet.finish(running.pop(), spec)
        done += 1


def test_tickets_beyond_max_running_go_back_to_the_head(fleet: Fleet) -> None:
    """The limit was lowered while tickets were out."""
    spec = fleet.agent(concurrency=10)
    tasks = [fleet.submit() for _ in range(3)]
    settings(fleet, "acme", max_running=1)
    first = fleet.claim(spec)
    assert first.hold.task_id == tasks[0].task_id
    for _ in range(2):
        ticket = fleet.broker.take("shared.code")
        assert isinstance(ticket, Ticket)
        assert fleet.scheduler.claim(fleet.hold(ticket), spec) == "at-limit"
    fleet.finish(first, spec)
    assert fleet.claim(spec).hold.task_id == tasks[1].task_id


@pytest.mark.parametrize("limit", [1, 5])
def test_max_pending_counts_exactly_under_concurrency(fleet: Fleet, limit: int) -> None:
    settings(fleet, "acme", max_pending=limit)

    def submit() -> tuple[str, int, int] | None:
        try:
            fleet.submit("nobody-has-this")
        except QuotaExceeded as refused:
            return refused.quota, refused.limit, refused.used
        return None

    assert Counter(at_once([submit] * 20)) == {None: limit, ("max_pending", limit, limit): 20 - limit}
    assert len(fleet.scheduler.list("acme").items) == limit


def test_a_suspended_workspace_starts_nothing_and_finishes_what_runs(fleet: Fleet) -> None:
    spec = fleet.agent(concurrency=3)
    running = fleet.running(spec)
    waiting = fleet.submit()
    settings(fleet, "acme", status="suspended")
    with pytest.raises(Conflict, match="suspended"):
        fleet.submit()
    ticket = fleet.broker.take("shared.code")
    assert ticket is not None
    assert fleet.scheduler.claim(fleet.hold(ticket), spec) == "suspended"
    assert fleet.finish(running, spec).status.value == "COMPLETED"
    settings(fleet, "acme", status="active")
    fleet.sweep()
    assert fleet.claim(spec).hold.task_id == waiting.task_id


def test_placement(fleet: Fleet) -> None:
    fleet.agent("shared-1")
    fleet.agent("private-1", workspace="acme")
    lanes = {}
    for placement in ("private", "shared"):
        task = fleet.submit(placement=placement)
        lanes[placement] = fleet.record(task.task_id)["lane"].decode()
    assert lanes == {"private": "acme.code", "shared": "shared.code"}
    settings(fleet, "acme", placement="private")
    by_default = fleet.submit()
    assert fleet.record(by_default.task_id)["lane"] == b"acme.code"
    fleet.agent("other-1", workspace="other")
    for _ in range(20):
        fleet.submit(placement="private", workspace="other")
        fleet.submit(workspace="third")
    assert {ticket.workspace for ticket in fleet.broker.queued("other.code")} == {"other"}


def test_a_low_task_is_not_starved(fleet: Fleet) -> None:
    """A steady stream of high work at the agents' capacity: the low task moves up, one priority at a time."""
    config = replace(fleet.config, ageing=0.2)
    aged = Fleet(config)
    try:
        spec = aged.agent()
        low = aged.submit(priority=Priority.LOW)
        began = aged.registry.get("a1", None).last_heartbeat

        def step() -> bool:
            aged.submit(priority=Priority.HIGH)
            aged.sweep()
            ticket = aged.broker.take("shared.code")
            assert ticket is not None
            claim = aged.scheduler.claim(aged.hold(ticket), spec)
            if isinstance(claim, Claim):
                aged.finish(claim, spec)
            return ticket.task_id == low.task_id

        eventually(step, 5, "the low task is started")
        started = aged.get(low.task_id).started_at
        assert started is not None
        assert started - began >= 400, "not before it has waited for two steps"
        assert aged.get(low.task_id).priority is Priority.LOW
    finally:
        aged.close()
