"""The contract of `ports.TicketBroker`, for the fake and for Celery's queues on a real store."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Protocol

import pytest

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.engine.app import TASK_NAME, make_app
from aragora_cp.engine.tickets import CeleryBroker, lane_queue
from aragora_cp.errors import BrokerUnavailable
from aragora_cp.model import Priority, Ticket
from aragora_cp.ports import TicketBroker
from tests.conftest import short_config
from tests.crowds import at_once
from tests.fakes import RecordingBroker
from tests.servers import EVERY_SERVER, StoreServer

LANES = ("shared.code", "shared.code+search", "acme.any", "@agent-1")


def ticket(n: int, lane: str = "shared.code", priority: Priority = Priority.NORMAL) -> Ticket:
    return Ticket("acme", f"task-{n}", n + 1, lane, priority, "code.review", 7.5, f"corr-{n}")


class Subject(Protocol):
    """A broker, what its consumers get, and a way to take it out of reach."""

    broker: TicketBroker

    def receive(self, lane: str) -> tuple[str, str, int] | None: ...
    def cut_off(self) -> None: ...


@dataclass
class Fake:
    broker: RecordingBroker

    def receive(self, lane: str) -> tuple[str, str, int] | None:
        found = self.broker.take(lane)
        return None if found is None else (found.workspace, found.task_id, found.attempt)

    def cut_off(self) -> None:
        self.broker.away = True


@dataclass
class OverCelery:
    """Received through kombu, as a worker would."""

    broker: CeleryBroker
    config: ControlPlaneConfig
    server: StoreServer

    def message(self, lane: str):  # type: ignore[no-untyped-def]
        app = make_app(self.config)
        with app.connection() as connection, connection.channel() as channel:
            message = lane_queue(lane)(channel).get(no_ack=True)
        app.close()
        return message

    def receive(self, lane: str) -> tuple[str, str, int] | None:
        message = self.message(lane)
        return None if message is None else tuple(message.decode()[0])

    def cut_off(self) -> None:
        self.server.kill()


@contextmanager
def over_celery(kind: str, folder: Path) -> Iterator[OverCelery]:
    server = StoreServer(kind, folder).start()
    config = short_config(server, redis_timeout=1.0)
    broker = CeleryBroker(make_app(config))
    yield OverCelery(broker, config, server)
    broker.close()
    server.stop()


@pytest.fixture(params=EVERY_SERVER)
def celery(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OverCelery]:
    with over_celery(request.param, tmp_path) as made:
        yield made


@pytest.fixture(params=["fake", *EVERY_SERVER])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    if request.param == "fake":
        yield Fake(RecordingBroker())
        return
    with over_celery(request.param, tmp_path) as made:
        yield made


def test_nothing_is_queued_at_first(subject: Subject) -> None:
    assert dict(subject.broker.depths(LANES)) == dict.fromkeys(LANES, 0)
    assert dict(subject.broker.depths([])) == {}
    subject.broker.send([])


def test_depth_is_counted_by_lane_over_all_priorities(subject: Subject) -> None:
    tickets = [ticket(n, lane, priority) for n, lane in enumerate(LANES[:3]) for priority in Priority for _ in range(n)]
    subject.broker.send(tickets)
    assert dict(subject.broker.depths(LANES)) == dict(zip(LANES, (0, 4, 8, 0), strict=True))


def test_a_ticket_arrives_as_it_was_sent_and_once(subject: Subject) -> None:
    for lane in LANES:
        subject.broker.send([ticket(3, lane)])
        assert subject.receive(lane) == ("acme", "task-3", 4)
        assert subject.receive(lane) is None
    assert set(subject.broker.depths(LANES).values()) == {0}


def test_the_most_urgent_comes_first_and_then_the_oldest(subject: Subject) -> None:
    order = [Priority.LOW, Priority.NORMAL, Priority.CRITICAL, Priority.HIGH] * 3
    subject.broker.send([ticket(n, priority=priority) for n, priority in enumerate(order)])
    received = [subject.receive("shared.code") for _ in order]
    wanted = sorted(range(len(order)), key=lambda n: (order[n], n))
    assert received == [("acme", f"task-{n}", n + 1) for n in wanted]


def test_a_doubled_ticket_is_there_twice(subject: Subject) -> None:
    subject.broker.send([ticket(1), ticket(1)])
    assert subject.broker.depths(["shared.code"])["shared.code"] == 2


def test_many_threads_may_send_at_once(subject: Subject) -> None:
    answers = at_once([lambda n=n: subject.broker.send([ticket(n)]) for n in range(20)])
    assert answers == [None] * 20
    assert subject.broker.depths(["shared.code"])["shared.code"] == 20


@pytest.mark.parametrize("warm", [False, True])
def test_cancelling_never_raises_and_never_stands_still(subject: Subject, warm: bool) -> None:
    """A caller waits for it: an HTTP request, or the monitor."""
    if warm:
        subject.broker.cancel("agent-1", "task-1", 1)
    subject.cut_off()
    answers: list[None] = []
    thread = Thread(target=lambda: answers.append(subject.broker.cancel("agent-1", "task-1", 1)), daemon=True)  # type: ignore[func-returns-value]
    thread.start()
    thread.join(8)
    assert answers == [None]


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize(
    "call",
    [lambda broker: broker.send([ticket(1), ticket(2)]), lambda broker: broker.depths(LANES)],
    ids=["send", "depths"],
)
def test_out_of_reach_is_said_and_soon(subject: Subject, call: Callable[[TicketBroker], object], warm: bool) -> None:
    if warm:
        call(subject.broker)
    subject.cut_off()
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            call(subject.broker)
        assert time.monotonic() - began < 8


def test_closing_again_is_harmless(subject: Subject) -> None:
    subject.broker.send([ticket(1)])
    subject.broker.close()
    subject.broker.close()


# --- of Celery's queues only -----------------------------------------------------------------------------------------


def test_the_message_is_one_that_any_celery_tool_reads(celery: OverCelery) -> None:
    celery.broker.send([ticket(3, priority=Priority.HIGH)])
    message = celery.message("shared.code")
    headers = message.headers
    assert (headers["task"], headers["id"], headers["shadow"]) == (TASK_NAME, "task-3", "code.review")
    assert headers["timelimit"] == [7.5 + celery.config.kill_grace, 7.5]
    assert message.properties["priority"] == 3
    assert json.loads(message.body)[0] == ["acme", "task-3", 4]


def test_it_comes_back_with_the_server(celery: OverCelery) -> None:
    celery.broker.send([ticket(1)])
    celery.server.kill()
    with pytest.raises(BrokerUnavailable):
        celery.broker.send([ticket(2)])
    celery.server.start()
    celery.broker.send([ticket(3)])
    assert celery.receive("shared.code") == ("acme", "task-3", 4)


@pytest.mark.parametrize(
    "call", [lambda broker: broker.send([ticket(1)]), lambda broker: broker.depths(LANES)], ids=["send", "depths"]
)
def test_a_silent_server_is_not_waited_for_long(celery: OverCelery, call: Callable[[TicketBroker], object]) -> None:
    celery.server.pause()
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable):
        call(celery.broker)
    assert time.monotonic() - began < 10
    celery.broker.cancel("agent-1", "task-1", 1)
    assert time.monotonic() - began < 20
