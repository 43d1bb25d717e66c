"""Stored fields as records."""

from __future__ import annotations

import pytest

from aragora_cp.model import AgentSpec, AgentStatus, Priority, TaskStatus
from aragora_cp.store.agents import lanes_of, read_agent, read_lanes
from aragora_cp.store.records import format_micros, read_task

RECORD = {
    "type": b"code.review",
    "status": b"PENDING",
    "prio": b"1",
    "caps": b"code+search",
    "payload": b'{"n":18446744073709551617}',
    "attempt": b"0",
    "retries": b"0",
    "losses": b"0",
    "max_retries": b"3",
    "timeout": b"1500",
    "created": b"1700000000000",
}


def test_a_new_record() -> None:
    task = read_task("acme", "id", RECORD)
    assert (task.task_id, task.workspace, task.task_type) == ("id", "acme", "code.review")
    assert (task.status, task.priority, task.required_capabilities) == (
        TaskStatus.PENDING,
        Priority.HIGH,
        ("code", "search"),
    )
    assert (task.timeout, task.queue_timeout, task.payload) == (1.5, None, None)
    assert (task.error, task.usage, task.progress, task.cost, task.metadata) == (None, None, None, None, {})


def test_a_payload_only_when_asked_for() -> None:
    assert read_task("acme", "id", RECORD, with_payload=True).payload == {"n": 18446744073709551617}


def test_a_task_without_requirements_has_none() -> None:
    assert read_task("acme", "id", RECORD | {"caps": b""}).required_capabilities == ()


def test_history_is_in_order_and_messages_may_hold_anything() -> None:
    record = RECORD | {
        "attempt": b"10",
        "h10": "12|timeout|a1|1|späth | late".encode(),
        "h2": b"11|handler-error||0|\xff",
        "handler": b"no history",
    }
    error = read_task("acme", "id", record).error
    assert error is not None
    assert [entry["attempt"] for entry in error["history"]] == [2, 10]
    assert error["history"][0] == {
        "attempt": 2,
        "at": 11,
        "agent_id": None,
        "code": "handler-error",
        "retryable": False,
        "message": "�",
    }
    assert (error["code"], error["message"], error["retryable"]) == ("timeout", "späth | late", True)


def test_a_failed_tasks_own_reason_comes_before_its_last_attempts() -> None:
    record = RECORD | {
        "status": b"FAILED",
        "h1": b"1|agent-lost|a1|1|gone",
        "err_code": b"poisoned",
        "err_message": b"m",
        "err_retryable": b"1",
    }
    error = read_task("acme", "id", record).error
    assert error is not None
    assert (error["code"], error["history"][0]["code"]) == ("poisoned", "agent-lost")


def test_a_completed_task_has_a_history_and_no_reason() -> None:
    record = RECORD | {"status": b"COMPLETED", "result": b"[]", "h1": b"1|timeout|a1|1|late"}
    task = read_task("acme", "id", record)
    assert task.result == []
    assert task.error is not None
    assert task.error["code"] is None
    assert len(task.error["history"]) == 1


def test_usage_and_cost() -> None:
    task = read_task("acme", "id", RECORD | {"input_tokens": b"5", "model": b"m", "cost": b"3100", "percent": b"12.5"})
    assert task.usage == {"input_tokens": 5, "output_tokens": 0, "model": "m"}
    assert task.cost == "0.0031"
    assert task.progress == {"percent": 12.5, "message": None}


@pytest.mark.parametrize(
    ("micros", "text"),
    [(0, "0"), (1, "0.000001"), (3100, "0.0031"), (1_000_000, "1"), (12_500_000, "12.5"), (10**13, "10000000")],
)
def test_money_as_text(micros: int, text: str) -> None:
    assert format_micros(micros) == text


AGENT = {
    "capabilities": b"code",
    "model": b"m",
    "version": b"1",
    "labels": b'{"zone":"x"}',
    "task_types": b"{}",
    "scope": b"*",
    "concurrency": b"2",
    "session": b"s",
    "registered_at": b"1000",
    "last_heartbeat": b"5000",
    "lane": b"shared.code",
    "counted_lane": b"shared.code",
}


@pytest.mark.parametrize(
    ("change", "now", "status"),
    [
        ({}, 5000, AgentStatus.IDLE),
        ({"running": b'["t1"]'}, 5000, AgentStatus.BUSY),
        ({"running": b'["t1"]', "drain": b"1"}, 5000, AgentStatus.DRAINING),
        ({"drain": b"1"}, 5401, AgentStatus.OFFLINE),
        ({}, 5400, AgentStatus.IDLE),
        ({"counted_lane": b""}, 5000, AgentStatus.OFFLINE),
    ],
)
def test_an_agents_status_follows_from_its_record(change: dict[str, bytes], now: int, status: AgentStatus) -> None:
    assert read_agent("a1", AGENT | change, now, 400).status is status


def test_an_agent_that_is_offline_runs_nothing() -> None:
    assert read_agent("a1", AGENT | {"running": b'["t1"]'}, 9000, 400).running == ()


def test_whose_agent_it_is() -> None:
    assert read_agent("a1", AGENT, 5000, 400).workspace is None
    assert read_agent("a1", AGENT | {"scope": b"acme"}, 5000, 400).workspace == "acme"


def test_lanes_with_their_load() -> None:
    lanes = read_lanes(
        {b"b": b'{"pool":"shared","capabilities":["code"]}', b"a": b'{"pool":"acme","capabilities":[]}'},
        {b"b": b"3"},
        {"running:b": 2, "tickets:b": 5},
    )
    assert [(lane.name, lane.pool, lane.slots, lane.running, lane.tickets) for lane in lanes] == [
        ("a", "acme", 0, 0, 0),
        ("b", "shared", 3, 2, 5),
    ]


def test_an_agents_own_lane_and_its_direct_one() -> None:
    own, direct = lanes_of(AgentSpec("a1", ("code",), workspace="acme", concurrency=3))
    assert (own.name, own.pool, own.slots) == ("acme.code", "acme", 3)
    assert direct.name == "@acme/a1"
