"""The deep check finds what bad data brings in, mends it, and leaves a healthy workspace alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aragora_cp.model import TaskStatus
from aragora_cp.store.inspection import Inspector
from tests.fleet import Fleet
from tests.invariants import broken_invariants

HARM: dict[str, Callable[[Fleet, dict[str, str]], object]] = {
    "nowhere": lambda f, t: f.client.zrem(f.keys("backlog", "code", 2), t["waiting"]),
    "not-listed": lambda f, t: f.client.zrem(f.keys("by", "PENDING"), t["waiting"]),
    "listed-wrongly": lambda f, t: f.client.zadd(f.keys("by", "FAILED"), {t["waiting"]: 1}),
    "in-two-places": lambda f, t: f.client.zadd(f.keys("delayed"), {t["waiting"]: 9e15}),
    "backlog-not-announced": lambda f, t: f.client.zrem(f.keys("waiting", 2), "code"),
    "run-without-lease": lambda f, t: f.client.zrem(f.keys("running"), t["running"]),
    "lease-without-run": lambda f, t: f.client.zadd(f.keys("running"), {t["done"]: 9e15}),
    "stray-ticket": lambda f, t: f.client.zadd(f.keys("released", "shared.code", 0), {t["done"]: 1}),
    "counter": lambda f, t: f.client.hset(f.keys("load"), "tickets:shared.code", 77),
    "no-record": lambda f, t: f.client.delete(f.keys("task", t["waiting"])),
}


@pytest.fixture
def tasks(fleet: Fleet) -> dict[str, str]:
    """One task in each of the states that the harm is done to; more wait than a window lets out."""
    spec = fleet.agent(concurrency=8)
    done = fleet.running(spec)
    fleet.finish(done, spec)
    running = fleet.running(spec)
    waiting = [fleet.submit().task_id for _ in range(fleet.config.window + 2)]
    return {"done": done.hold.task_id, "running": running.hold.task_id, "waiting": waiting[-1]}


def test_a_healthy_workspace_is_left_alone(fleet: Fleet, tasks: dict[str, str]) -> None:
    inspector = Inspector(fleet.client, fleet.config)
    assert list(inspector.inspect("acme", fix=True)) == []
    assert broken_invariants(fleet.client, fleet.config, "acme") == []


@pytest.mark.parametrize("kind", HARM)
def test_what_does_not_fit_is_found_and_mended(fleet: Fleet, tasks: dict[str, str], kind: str) -> None:
    HARM[kind](fleet, tasks)
    inspector = Inspector(fleet.client, fleet.config)
    assert kind in {finding.kind for finding in inspector.inspect("acme")}
    assert kind in {finding.kind for finding in inspector.inspect("acme")}, "looking changes nothing"
    list(inspector.inspect("acme", fix=True))
    list(inspector.inspect("acme", fix=True))  # what mending one thing has brought to light
    assert list(inspector.inspect("acme")) == []
    if kind != "no-record":
        assert fleet.get(tasks["waiting"]).status is TaskStatus.PENDING
