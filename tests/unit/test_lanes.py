"""Names of lanes and queues."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aragora_cp.lanes import (
    RESERVED_WORKSPACES,
    agent_lane,
    canonical,
    capability_key,
    lane_name,
    lane_of_queue,
    queue_name,
    serves,
)
from aragora_cp.model import agent_handle, read_handle

capabilities = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", fullmatch=True)
capability_sets = st.frozensets(capabilities, max_size=6)


def test_capabilities_are_sorted_and_each_stands_once() -> None:
    assert canonical(["search", "code", "search"]) == ("code", "search")
    assert capability_key(["search", "code"]) == "code+search"
    assert capability_key([]) == ""


@pytest.mark.parametrize("wrong", ["", " code", "code ", "a+b", "@x", ".code", "é", "c\n", "x" * 65, "a/b", "a{b}"])
def test_what_is_no_capability_is_named(wrong: str) -> None:
    with pytest.raises(ValueError, match="is not a capability"):
        canonical(["code", wrong])


def test_a_long_wrong_capability_is_not_repeated_in_full() -> None:
    with pytest.raises(ValueError, match="is not a capability") as told:
        canonical(["x" * 10_000])
    assert len(str(told.value)) < 200


def test_a_lane_reads_as_its_pool_and_capabilities() -> None:
    assert lane_name("shared", ["search", "code"]) == "shared.code+search"
    assert lane_name("acme", []) == "acme.any"


def test_long_sets_are_hashed_and_stay_apart() -> None:
    many = [f"capability-{n:02}" for n in range(20)]
    name = lane_name("shared", many)
    assert re.fullmatch(r"shared\.capability-00\+capability-01\+.{0,20}~[0-9a-f]{16}", name)
    assert len(name) < 80
    assert name != lane_name("shared", [*many, "one-more"])
    assert name == lane_name("shared", reversed(many))


@given(capability_sets, capability_sets)
def test_equal_sets_and_only_those_share_a_lane(one: frozenset[str], other: frozenset[str]) -> None:
    assert (lane_name("shared", one) == lane_name("shared", other)) == (
        one == other or {one, other} == {frozenset(), frozenset({"any"})}
    )


@given(capability_sets)
def test_a_queues_name_leads_back_to_its_lane(given_set: frozenset[str]) -> None:
    lane = lane_name("shared", given_set)
    assert lane_of_queue(queue_name(lane)) == lane
    assert queue_name(lane) == f"cp.{lane}"


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True))
def test_a_named_agents_queue_leads_back_to_its_lane(agent_id: str) -> None:
    for workspace, queue in ((None, f"cp.agent.{agent_id}"), ("acme", f"cp.acme.@{agent_id}")):
        handle = agent_handle(agent_id, workspace)
        assert read_handle(handle) == (agent_id, workspace)
        assert queue_name(agent_lane(handle)) == queue
        assert lane_of_queue(queue) == agent_lane(handle)


def test_no_workspaces_pool_can_be_mistaken_for_an_agents_queue() -> None:
    assert {"agent", "shared"} <= RESERVED_WORKSPACES


def test_other_queues_are_refused() -> None:
    with pytest.raises(ValueError, match="not a queue of the control plane"):
        lane_of_queue("celery")


@given(capability_sets, capability_sets)
def test_an_agent_serves_what_its_capabilities_contain(own: frozenset[str], required: frozenset[str]) -> None:
    assert serves(own, required) == (required - own == frozenset())
    assert serves(own, ())
