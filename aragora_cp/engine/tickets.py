"""Tickets through Celery's queues: implements `ports.TicketBroker`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from celery import Celery
from celery.exceptions import OperationalError
from kombu import Exchange, Queue
from kombu.exceptions import ChannelError
from kombu.pools import ProducerPool

from aragora_cp.engine.app import CORRELATION_HEADER, PRIORITY_STEPS, TASK_NAME
from aragora_cp.errors import BrokerUnavailable
from aragora_cp.lanes import queue_name
from aragora_cp.model import Priority, Ticket

log = logging.getLogger(__name__)

_RETRY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}


def lane_queue(lane: str, *, on_rabbitmq: bool = False) -> Queue:
    """The queue of a lane, behind the default exchange: no binding that could be lost."""
    name = queue_name(lane)
    return Queue(name, Exchange(""), routing_key=name, max_priority=9 if on_rabbitmq else None, durable=True)


def celery_priority(priority: Priority, *, on_rabbitmq: bool) -> int:
    """On Redis the smallest number is first, on RabbitMQ the largest."""
    step = PRIORITY_STEPS[priority]
    return 9 - step if on_rabbitmq else step


def agent_node(handle: str) -> str:
    """The Celery node name of an agent: the same wherever it runs, so that anyone can tell it something."""
    return f"{handle}@cp"


class CeleryBroker:
    """Sends tickets with Celery's own message format, so that any Celery tool understands them. Safe between
    threads."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._on_rabbitmq = str(app.conf.broker_url).startswith("amqp")
        self._queues: dict[str, Queue] = {}
        # Not the app's: kombu shares those with every app of this process that has the same address, and closing one
        # closes it for all.
        self._connections = app.connection_for_write().Pool(limit=app.conf.broker_pool_limit)
        self._producers = ProducerPool(self._connections, limit=app.conf.broker_pool_limit)

    def send(self, tickets: Sequence[Ticket]) -> None:
        """See the port. One round trip a ticket."""
        with _bounded(), self._producers.acquire(block=True, timeout=5) as producer:
            for ticket in tickets:
                self._app.amqp.send_task_message(
                    producer,
                    TASK_NAME,
                    self._message(ticket),
                    queue=self._queue(ticket.lane),
                    priority=celery_priority(ticket.priority, on_rabbitmq=self._on_rabbitmq),
                    headers={CORRELATION_HEADER: ticket.correlation_id} if ticket.correlation_id else None,
                    retry=True,
                    retry_policy=_RETRY,
                )

    def depths(self, lanes: Iterable[str]) -> Mapping[str, int]:
        """See the port. One round trip a lane on Redis, some more on RabbitMQ."""
        with _bounded(), self._connections.acquire(block=True, timeout=5) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0.1)
            count = self._count_by_declaring if self._on_rabbitmq else self._count_by_length
            return {lane: count(connection, queue_name(lane)) for lane in lanes}

    def _count_by_length(self, connection: Any, queue: str) -> int:
        """Not by a passive declaration: kombu asks for the queue's existence without its key prefix, and finds none."""
        return connection.default_channel._size(queue)

    def _count_by_declaring(self, connection: Any, queue: str) -> int:
        # RabbitMQ closes a channel on which a missing queue was asked for.
        with connection.channel() as channel:
            try:
                return channel.queue_declare(queue, passive=True).message_count
            except ChannelError:
                return 0

    def cancel(self, handle: str, task_id: str, attempt: int) -> None:
        """See the port. One round trip.

        A control message of Celery's, published by ourselves: `control.broadcast` tries for ever to reach a broker.
        """
        exchange = self._app.control.mailbox.exchange
        message = {
            "method": "cancel_attempt",
            "arguments": {"task_id": task_id, "attempt": attempt},
            "destination": [agent_node(handle)],
            "pattern": None,
            "matcher": None,
        }
        try:
            with _bounded(), self._producers.acquire(block=True, timeout=5) as producer:
                producer.publish(
                    message,
                    exchange=exchange.name,
                    declare=[exchange],
                    headers={"clock": self._app.clock.forward(), "expires": 0},
                    serializer="json",
                    retry=True,
                    retry_policy=_RETRY,
                )
        except BrokerUnavailable as error:
            log.warning("agent not told at once", extra={"agent_id": handle, "reason": str(error)})

    def close(self) -> None:
        self._app.close()
        self._connections.force_close_all()

    def _message(self, ticket: Ticket) -> Any:
        args = (ticket.workspace, ticket.task_id, ticket.attempt)
        return self._app.amqp.as_task_v2(
            ticket.task_id,
            TASK_NAME,
            args=args,
            kwargs={},
            shadow=ticket.task_type,
            soft_time_limit=ticket.timeout,
            time_limit=ticket.timeout + self._app.conf.aragora_kill_grace,
            argsrepr=f"workspace={ticket.workspace} attempt={ticket.attempt}",
            kwargsrepr="",
        )

    def _queue(self, lane: str) -> Queue:
        if lane not in self._queues:
            self._queues[lane] = lane_queue(lane, on_rabbitmq=self._on_rabbitmq)
        return self._queues[lane]


@contextmanager
def _bounded() -> Iterator[None]:
    try:
        yield
    except (OperationalError, ConnectionError, TimeoutError, OSError) as error:
        raise BrokerUnavailable(f"the broker cannot be reached ({type(error).__name__})") from error
    except Exception as error:
        # The transport's own errors come from whatever driver kombu uses; a programming error is none of theirs.
        if type(error).__module__.split(".")[0] in ("redis", "amqp", "kombu"):
            raise BrokerUnavailable(f"the broker cannot be reached ({type(error).__name__})") from error
        raise
