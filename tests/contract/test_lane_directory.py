"""The contract of `ports.LaneDirectory`, for the fake and for the registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from aragora_cp.lanes import lane_name
from aragora_cp.model import Lane
from aragora_cp.ports import LaneDirectory
from tests.conftest import short_config
from tests.fakes import FixedLanes
from tests.fleet import Fleet
from tests.servers import StoreServer

#: Given agents as (capabilities, workspace, slots), a directory that knows them.
Make = Callable[[list[tuple[tuple[str, ...], str | None, int]]], LaneDirectory]


@pytest.fixture(params=["fake", "registry"])
def make(request: pytest.FixtureRequest, server: StoreServer) -> Iterator[Make]:
    if request.param == "fake":

        def fixed(agents: list[tuple[tuple[str, ...], str | None, int]]) -> LaneDirectory:
            slots: dict[tuple[str, frozenset[str]], int] = {}
            for capabilities, workspace, count in agents:
                key = (workspace or "shared", frozenset(capabilities))
                slots[key] = slots.get(key, 0) + count
            return FixedLanes(*(Lane(lane_name(pool, caps), pool, caps, n) for (pool, caps), n in slots.items()))

        yield fixed
        return

    fleet = Fleet(short_config(server))

    def registered(agents: list[tuple[tuple[str, ...], str | None, int]]) -> LaneDirectory:
        for n, (capabilities, workspace, count) in enumerate(agents):
            fleet.agent(f"a{n}", *capabilities, workspace=workspace, concurrency=count)
        return fleet.registry

    yield registered
    fleet.close()


def test_no_agents_no_lanes(make: Make) -> None:
    assert list(make([]).lanes()) == []


def test_a_lane_is_all_agents_of_a_pool_with_the_same_capabilities(make: Make) -> None:
    directory = make(
        [(("code",), None, 2), (("code",), None, 1), (("code", "search"), None, 1), (("code",), "acme", 4)]
    )
    found = {lane.name: lane for lane in directory.lanes()}
    assert {name: (lane.pool, lane.slots) for name, lane in found.items()} == {
        "shared.code": ("shared", 3),
        "shared.code+search": ("shared", 1),
        "acme.code": ("acme", 4),
    }
    assert found["shared.code+search"].capabilities == {"code", "search"}
    assert all(lane.free == lane.slots for lane in found.values())
