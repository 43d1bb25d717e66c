"""Pages of tasks."""

from __future__ import annotations

import pytest

from aragora_cp.errors import MalformedRequest
from aragora_cp.model import Task, TaskStatus
from tests.fleet import REJECTED, Fleet
from tests.servers import EVERY_SERVER

pytestmark = pytest.mark.parametrize("server", EVERY_SERVER, indirect=True)


def pages(fleet: Fleet, limit: int, **filters: object) -> list[Task]:
    found: list[Task] = []
    cursor = None
    while True:
        page = fleet.scheduler.list("acme", limit=limit, cursor=cursor, **filters)  # type: ignore[arg-type]
        assert len(page.items) <= limit
        found.extend(page.items)
        cursor = page.next_cursor
        if cursor is None:
            return found


@pytest.mark.parametrize("limit", [1, 3, 7, 100, 500])
def test_every_task_is_on_one_page_newest_first(fleet: Fleet, limit: int) -> None:
    ids = [fleet.submit().task_id for _ in range(30)]
    assert [task.task_id for task in pages(fleet, limit)] == ids[::-1]


@pytest.mark.parametrize("limit", [1, 50, 100, 101, 149])
def test_also_when_all_came_in_the_same_millisecond(fleet: Fleet, limit: int) -> None:
    ids = [fleet.submit().task_id for _ in range(150)]
    fleet.client.zadd(fleet.keys("tasks"), dict.fromkeys(ids, 1_700_000_000_000))
    assert [task.task_id for task in pages(fleet, limit)] == sorted(ids, reverse=True)


def test_pages_stay_whole_while_tasks_arrive(fleet: Fleet) -> None:
    ids = [fleet.submit().task_id for _ in range(10)]
    first = fleet.scheduler.list("acme", limit=4)
    for _ in range(5):
        fleet.submit()
    second = fleet.scheduler.list("acme", limit=100, cursor=first.next_cursor)
    assert [task.task_id for task in (*first.items, *second.items)] == ids[::-1]


def test_filters(fleet: Fleet) -> None:
    spec = fleet.agent(concurrency=9)
    done, failed, running = (fleet.running(spec, task_type=kind) for kind in ("a", "b", "a"))
    fleet.finish(done, spec)
    fleet.scheduler.fail(failed.hold, REJECTED, "a1")
    waiting = fleet.submit(task_type="a")

    def ids(**filters: object) -> set[str]:
        return {task.task_id for task in pages(fleet, 2, **filters)}

    everything = {done.hold.task_id, failed.hold.task_id, running.hold.task_id, waiting.task_id}
    assert ids() == everything
    assert ids(status=TaskStatus.FAILED) == {failed.hold.task_id}
    assert ids(status=TaskStatus.PENDING, task_type="a") == {waiting.task_id}
    assert ids(task_type="a") == everything - {failed.hold.task_id}
    assert ids(agent_id="a1") == everything - {waiting.task_id}
    assert ids(agent_id="nobody") == set()
    assert ids(status=TaskStatus.CANCELLED) == set()


def test_pages_carry_no_payloads_and_no_results(fleet: Fleet) -> None:
    spec = fleet.agent()
    fleet.finish(fleet.running(spec), spec, "result")
    (task,) = pages(fleet, 10)
    assert task.result is None
    assert task.payload is None


def test_a_workspace_sees_its_own(fleet: Fleet) -> None:
    fleet.submit()
    assert fleet.scheduler.list("other").items == ()


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "12", "-", "12-", "-id", "abc-id", "²-id", "1e3-id", " 1-id", "1" * 400 + "-id", "12-é", "1-\ud800"],
)
def test_a_cursor_that_is_not_ours_is_refused(fleet: Fleet, cursor: str) -> None:
    with pytest.raises(MalformedRequest):
        fleet.scheduler.list("acme", cursor=cursor)


def test_a_page_looks_at_a_bounded_number_of_records(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aragora_cp.store.tasks.EXAMINED_PER_PAGE", 10)
    wanted = fleet.submit(task_type="rare").task_id
    for _ in range(25):
        fleet.submit()
    first = fleet.scheduler.list("acme", task_type="rare")
    assert first.items == ()
    assert first.next_cursor is not None
    assert [task.task_id for task in pages(fleet, 5, task_type="rare")] == [wanted]
