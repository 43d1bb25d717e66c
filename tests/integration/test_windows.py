"""Release: how many tickets are out, where, in what order."""

from __future__ import annotations

from collections import Counter

import pytest

from aragora_cp.model import Priority, Ticket
from tests.fleet import Fleet
from tests.invariants import broken_invariants
from tests.servers import EVERY_SERVER

pytestmark = pytest.mark.parametrize("server", EVERY_SERVER, indirect=True)


def out(fleet: Fleet) -> Counter[tuple[str, str, Priority]]:
    return Counter((ticket.workspace, ticket.lane, ticket.priority) for ticket in fleet.broker.queued())


def test_no_more_tickets_are_out_than_the_window_allows(fleet: Fleet) -> None:
    spec = fleet.agent()
    for _ in range(10):
        for priority in Priority:
            fleet.submit(priority=priority)
            fleet.scheduler.submit(fleet.new(workspace="other", priority=priority))
    assert set(out(fleet).values()) == {fleet.config.window}
    assert len(out(fleet)) == 8
    for _ in range(20):
        fleet.finish(fleet.claim(spec), spec)
        assert max(out(fleet).values()) <= fleet.config.window
    for workspace in ("acme", "other"):
        assert broken_invariants(fleet.client, fleet.config, workspace) == []


def test_each_claim_lets_the_next_one_out_in_the_order_of_submission(fleet: Fleet) -> None:
    spec = fleet.agent()
    ids = [fleet.submit().task_id for _ in range(12)]
    assert [fleet.claim(spec).task.task_id for _ in range(12)] == ids


def test_priorities_come_first_whatever_was_submitted_before(fleet: Fleet) -> None:
    spec = fleet.agent()
    order = [Priority.LOW, Priority.NORMAL, Priority.CRITICAL, Priority.HIGH] * 6
    for priority in order:
        fleet.submit(priority=priority)
    assert [fleet.claim(spec).task.priority for _ in order] == sorted(order)


def test_classes_of_capabilities_share_one_order(fleet: Fleet) -> None:
    spec = fleet.agent("a1", "code", "search", "debate")
    classes = [("code",), ("search",), ("code", "debate"), ("code",), ("debate",), ("code", "search")] * 3
    ids = [fleet.submit(*required).task_id for required in classes]
    anything = fleet.scheduler.submit(fleet.new().__class__("acme", "t", b"{}"))[0].task_id
    claimed = [fleet.claim(spec).task.task_id for _ in range(len(ids) + 1)]
    assert claimed == [*ids, anything]


def test_a_task_goes_to_the_least_crowded_lane(fleet: Fleet) -> None:
    fleet.agent("small", "code", concurrency=1)
    fleet.agent("large", "code", "search", concurrency=4)
    for _ in range(5):
        fleet.submit("code")
    assert {lane: n for (_, lane, _), n in out(fleet).items()} == {"shared.code": 1, "shared.code+search": 4}


def test_a_lane_without_a_free_slot_comes_last(fleet: Fleet) -> None:
    busy = fleet.agent("busy", "code", concurrency=3)
    for _ in range(3):
        fleet.running(busy)
    fleet.agent("idle", "code", "search", concurrency=1)
    for _ in range(4):
        fleet.submit("code")
    assert {lane for _, lane, _ in out(fleet)} == {"shared.code+search"}


def test_a_private_agent_serves_its_own_workspace_only(fleet: Fleet) -> None:
    fleet.agent("p1", "code", workspace="other")
    fleet.submit("code")
    assert fleet.broker.queued() == []
    fleet.scheduler.submit(fleet.new("code", workspace="other"))
    assert [(ticket.workspace, ticket.lane) for ticket in fleet.broker.queued()] == [("other", "other.code")]
    fleet.sweep()
    assert len(fleet.broker.queued()) == 1


def test_what_nobody_can_do_blocks_nobody(fleet: Fleet) -> None:
    spec = fleet.agent("t1", "text")
    for _ in range(100):
        fleet.submit("gpu", priority=Priority.CRITICAL)
    low = [fleet.submit("text", priority=Priority.LOW).task_id for _ in range(10)]
    fleet.sweep()
    assert [fleet.claim(spec).task.task_id for _ in range(10)] == low
    assert fleet.broker.queued() == []
    assert fleet.client.zcard(fleet.keys("backlog", "gpu", 0)) == 100


def test_who_comes_with_the_capability_gets_what_has_waited_for_it(fleet: Fleet) -> None:
    fleet.agent("a1", "code")
    both = fleet.submit("code", "search")
    fleet.sweep()
    assert fleet.broker.queued() == []
    spec = fleet.agent("a2", "code", "search")
    fleet.sweep()
    assert fleet.claim(spec).task.task_id == both.task_id


def test_a_task_for_a_named_agent_goes_nowhere_else(fleet: Fleet) -> None:
    fleet.agent("a1", "code")
    spec = fleet.agent("a2", "code")
    ids = [fleet.submit(agent_id="a2").task_id for _ in range(6)]
    assert {ticket.lane for ticket in fleet.broker.queued()} == {"@a2"}
    assert len(fleet.broker.queued()) == fleet.config.window
    claimed = [fleet.claim(spec) for _ in range(6)]
    assert [claim.task.task_id for claim in claimed] == ids
    assert claimed[0].task.target_agent_id == "a2"
    assert broken_invariants(fleet.client, fleet.config, "acme") == []


def test_a_named_agent_that_cannot_do_it_is_an_answer(fleet: Fleet) -> None:
    spec = fleet.agent("a1", "code")
    task = fleet.submit("gpu", agent_id="a1")
    ticket = fleet.broker.take("@a1")
    assert ticket is not None
    assert fleet.scheduler.claim(fleet.hold(ticket), spec) == "incapable"
    error = fleet.get(task.task_id).error
    assert error is not None
    assert (error["code"], error["retryable"]) == ("no-handler", False)


def test_a_named_agent_may_come_later(fleet: Fleet) -> None:
    fleet.submit(agent_id="late")
    spec = fleet.agent("late")
    assert fleet.claim(spec).task.target_agent_id == "late"


def test_a_doubled_ticket_is_harmless(fleet: Fleet) -> None:
    spec = fleet.agent(concurrency=9)
    task = fleet.submit()
    ticket = fleet.broker.take()
    assert isinstance(ticket, Ticket)
    claim = fleet.claim(spec, ticket)
    assert fleet.scheduler.claim(fleet.hold(ticket), spec) == "taken"
    fleet.finish(claim, spec)
    assert fleet.scheduler.claim(fleet.hold(ticket), spec) == "final"
    assert fleet.get(task.task_id).attempt == 1


def test_one_workspaces_flood_leaves_another_its_own_window(fleet: Fleet) -> None:
    fleet.agent()
    for _ in range(200):
        fleet.submit()
    task, _ = fleet.scheduler.submit(fleet.new(workspace="other"))
    queued = fleet.broker.queued("shared.code")
    assert queued[-1].task_id == task.task_id
    assert len(queued) == fleet.config.window + 1
