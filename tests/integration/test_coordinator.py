"""ControlPlaneCoordinator: the decision record's methods, and what else an asyncio program needs."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aragora_cp.coordinator import ControlPlaneCoordinator
from aragora_cp.errors import (
    AlreadyFinal,
    Conflict,
    IdempotencyConflict,
    InvalidRequest,
    NotFound,
    PolicyDenied,
    StoreUnavailable,
    TaskFailed,
)
from aragora_cp.model import AgentSpec, AgentStatus, Priority, TaskStatus
from tests.conftest import short_config
from tests.fleet import REJECTED, Fleet
from tests.policies import ALL, NO_ROOT, publish
from tests.servers import StoreServer

Scenario = Callable[[ControlPlaneCoordinator], Awaitable[None]]


def run(fleet: Fleet, scenario: Scenario, workspace: str = "acme") -> None:
    async def main() -> None:
        async with ControlPlaneCoordinator(plane=fleet.plane, workspace=workspace) as plane:
            await scenario(plane)

    asyncio.run(main())


def finish_next(fleet: Fleet, result: Any) -> None:
    spec = AgentSpec("c1", ("code",))
    fleet.finish(fleet.claim(spec), spec, result)


def test_its_methods_are_the_decision_records() -> None:
    told = {
        name: [p.name for p in inspect.signature(getattr(ControlPlaneCoordinator, name)).parameters.values()][1:4]
        for name in ("register_agent", "submit_task", "wait_for_result")
    }
    assert told == {
        "register_agent": ["agent_id", "capabilities", "model"],
        "submit_task": ["task_type", "payload", "required_capabilities"],
        "wait_for_result": ["task_id", "timeout"],
    }
    assert all(inspect.iscoroutinefunction(getattr(ControlPlaneCoordinator, name)) for name in told)


def test_register_submit_wait(fleet: Fleet) -> None:
    async def scenario(plane: ControlPlaneCoordinator) -> None:
        await plane.register_agent("c1", ["search", "code"], "some-model")
        (agent,) = await plane.list_agents()
        assert (agent.agent_id, agent.capabilities, agent.model, agent.status) == (
            "c1",
            ("code", "search"),
            "some-model",
            AgentStatus.IDLE,
        )
        task_id = await plane.submit_task("code.review", {"big": 2**70, "empty": []}, ["code"])
        task = await plane.get_task(task_id)
        assert (task.status, task.priority, task.max_retries, task.timeout) == (
            TaskStatus.PENDING,
            Priority.NORMAL,
            fleet.config.max_task_retries,
            fleet.config.task_timeout,
        )
        waiting = asyncio.create_task(plane.wait_for_result(task_id, 10))
        await asyncio.to_thread(finish_next, fleet, {"findings": [1.5]})
        assert await waiting == {"findings": [1.5]}
        assert await plane.wait_for_result(task_id, 10) == {"findings": [1.5]}

    run(fleet, scenario)
    assert fleet.client.ping(), "a shared plane stays open"


def test_what_ended_without_a_result_says_why(fleet: Fleet) -> None:
    async def scenario(plane: ControlPlaneCoordinator) -> None:
        await plane.register_agent("c1", ["code"], "m")
        failed, cancelled = [await plane.submit_task("t", {}, ["code"]) for _ in range(2)]
        fleet.scheduler.fail(fleet.claim(AgentSpec("c1", ("code",))).hold, REJECTED, "c1")
        await plane.cancel_task(cancelled)
        with pytest.raises(TaskFailed, match="ended as FAILED: it never will") as told:
            await plane.wait_for_result(failed, 10)
        assert (told.value.task_id, told.value.status, told.value.code) == (failed, "FAILED", "rejected")
        with pytest.raises(TaskFailed) as told:
            await plane.wait_for_result(cancelled, 10)
        assert (told.value.status, told.value.code) == ("CANCELLED", None)
        with pytest.raises(AlreadyFinal):
            await plane.cancel_task(cancelled)

    run(fleet, scenario)


def test_a_wait_is_bounded(fleet: Fleet) -> None:
    async def scenario(plane: ControlPlaneCoordinator) -> None:
        task_id = await plane.submit_task("t", {}, [])
        with pytest.raises(TimeoutError):
            await plane.wait_for_result(task_id, 0.05)
        for wrong in ("nobodys", "", "\N{BLACK STAR}"):
            with pytest.raises(NotFound):
                await plane.wait_for_result(wrong, 10)

    run(fleet, scenario)


def test_another_workspaces_task_is_not_there(fleet: Fleet) -> None:
    task_id = fleet.submit().task_id

    async def scenario(plane: ControlPlaneCoordinator) -> None:
        for call in (plane.get_task(task_id), plane.cancel_task(task_id), plane.wait_for_result(task_id, 10)):
            with pytest.raises(NotFound):
                await call

    run(fleet, scenario, workspace="other")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"task_type": ""}, "task_type"),
        ({"task_type": "a b"}, "task_type"),
        ({"payload": {"n": float("nan")}}, "payload"),
        ({"payload": {"text": "\ud800"}}, "payload"),
        ({"payload": {"text": "x" * 300_000}}, "payload"),
        ({"payload": {"what": object()}}, "payload"),
        ({"required_capabilities": ["c" * 300]}, "required_capabilities"),
        ({"required_capabilities": [""]}, "required_capabilities"),
        ({"priority": "urgent"}, "priority"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"max_retries": -1}, "max_retries"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value)[:40],
)
def test_what_is_wrong_is_named_and_nothing_is_stored(fleet: Fleet, wrong: dict[str, Any], field: str) -> None:
    given: dict[str, Any] = {"task_type": "t", "payload": {}, "required_capabilities": []} | wrong

    async def scenario(plane: ControlPlaneCoordinator) -> None:
        with pytest.raises(InvalidRequest) as told:
            await plane.submit_task(**given)
        assert list(told.value.errors) == [field]

    run(fleet, scenario)
    assert fleet.client.exists(fleet.keys("tasks")) == 0


def test_a_wrong_agent_is_named(fleet: Fleet) -> None:
    async def scenario(plane: ControlPlaneCoordinator) -> None:
        with pytest.raises(InvalidRequest) as told:
            await plane.register_agent("a b", ["x y"], "m")
        assert sorted(told.value.errors) == ["agent_id", "capabilities"]
        fleet.registry.register(AgentSpec("taken", ("code",)), owner="someone", takeover=False)
        with pytest.raises(Conflict):
            await plane.register_agent("taken", ["code"], "m")

    run(fleet, scenario)


def test_the_same_key_is_the_same_task(fleet: Fleet) -> None:
    async def scenario(plane: ControlPlaneCoordinator) -> None:
        ids = await asyncio.gather(*(plane.submit_task("t", {"n": 1}, [], idempotency_key="k") for _ in range(20)))
        assert len(set(ids)) == 1
        with pytest.raises(IdempotencyConflict):
            await plane.submit_task("t", {"n": 2}, [], idempotency_key="k")

    run(fleet, scenario)


def test_heartbeats_keep_its_agent_alive(fleet: Fleet) -> None:
    async def scenario(plane: ControlPlaneCoordinator) -> None:
        await plane.register_agent("c1", ["code"], "m")
        before = (await plane.list_agents())[0].last_heartbeat
        await asyncio.sleep(0.01)
        await plane.heartbeat("c1")
        assert (await plane.list_agents())[0].last_heartbeat > before
        with pytest.raises(NotFound):
            await plane.heartbeat("nobody")

    run(fleet, scenario)


def test_hundreds_of_waits_in_one_loop(fleet: Fleet) -> None:
    async def scenario(plane: ControlPlaneCoordinator) -> None:
        await plane.register_agent("c1", ["code"], "m")
        ids = [await plane.submit_task("t", {"n": n}, ["code"]) for n in range(200)]
        waiting = [asyncio.create_task(plane.wait_for_result(task_id, 30)) for task_id in ids]

        def work() -> None:
            spec = AgentSpec("c1", ("code",))
            for _ in ids:
                claim = fleet.claim(spec)
                fleet.scheduler.finish(claim.hold, json.dumps(claim.task.payload["n"]).encode(), spec)

        await asyncio.to_thread(work)
        assert await asyncio.gather(*waiting) == list(range(200))

    run(fleet, scenario)


def test_one_of_its_own_opens_and_closes_its_parts(server: StoreServer) -> None:
    config = short_config(server)

    async def main() -> None:
        async with ControlPlaneCoordinator(config) as plane:
            task_id = await plane.submit_task("t", {}, ["code"])
            assert plane.workspace == "default"
            await plane.cancel_task(task_id)
            with pytest.raises(TaskFailed):
                await plane.wait_for_result(task_id, 10)

    asyncio.run(main())


def test_a_store_that_is_away_is_said_and_not_waited_for(own_server: StoreServer) -> None:
    config = short_config(own_server, redis_timeout=0.5)
    own_server.kill()

    async def main() -> None:
        async with ControlPlaneCoordinator(config) as plane:
            for call in (
                lambda: plane.register_agent("c1", ["code"], "m"),
                lambda: plane.submit_task("t", {}, []),
                lambda: plane.get_task("x"),
                plane.list_agents,
            ):
                with pytest.raises(StoreUnavailable):
                    await asyncio.wait_for(call(), 10)
            with pytest.raises((StoreUnavailable, TimeoutError)):
                await plane.wait_for_result("x", 1)

    asyncio.run(main())


def test_its_submits_are_judged(fleet: Fleet) -> None:
    publish(fleet, ALL + NO_ROOT)

    async def scenario(plane: ControlPlaneCoordinator) -> None:
        await plane.submit_task("t", {}, ["code"])
        with pytest.raises(PolicyDenied):
            await plane.submit_task("t", {}, ["root"])

    run(fleet, scenario)
    assert len(fleet.scheduler.list("acme").items) == 1
