"""kombu's Redis transport, made to survive what is not a ticket.

A message that cannot be read ends a Celery worker, or vanishes with a lost connection in its place. Here it is put
aside, in a list that an operator can read, and the worker goes on."""

from __future__ import annotations

import logging
from typing import Any

import orjson
from kombu.transport.redis import Channel, Transport

from aragora_cp.engine.app import TASK_NAME

log = logging.getLogger(__name__)

#: Below the queues' own key prefix: the fleet's list of messages put aside (`quarantine` in store/keys.py).
QUARANTINE_KEY = "{@}:quarantine"
#: How the queues of lanes begin (`lanes.queue_name`). What comes by others is not for us to judge: answers to Celery's
#: remote control have queues of their own.
LANES = b"cp."
#: Of a longer message only the start is kept.
LONGEST_KEPT = 16 * 1024
MOST_KEPT = 1000


def is_ticket(item: bytes) -> bool:
    """Whether a queue's item is a Celery message for our one task. What its ticket is worth, the claim decides."""
    try:
        message = orjson.loads(item)
        headers, properties = message["headers"], message["properties"]
        return (
            headers["task"] == TASK_NAME
            and isinstance(headers["id"], str)
            and isinstance(message["body"], str)
            and isinstance(properties["delivery_info"], dict)
            and isinstance(properties["delivery_tag"], str)
        )
    except (ValueError, KeyError, TypeError, IndexError):
        return False


class TicketChannel(Channel):
    def _create_client(self, asynchronous: bool = False) -> Any:
        client = super()._create_client(asynchronous=asynchronous)
        if asynchronous:
            client.parse_response = _Checked(self, client.parse_response)
        return client

    def put_aside(self, item: bytes) -> None:
        """Keep a message that is no ticket. A store that is away does not keep the worker from going on."""
        log.error("message put aside: it is not a ticket", extra={"bytes": len(item)})
        try:
            with self.conn_or_acquire() as client:
                if client.llen(QUARANTINE_KEY) < MOST_KEPT:
                    client.lpush(QUARANTINE_KEY, item[:LONGEST_KEPT])
        except self.connection_errors:
            log.warning("the message could not be kept")


class _Checked:
    """Answers of the blocking read, less what is not a ticket: to the transport that looks like an empty queue."""

    def __init__(self, channel: TicketChannel, parse: Any) -> None:
        self._channel = channel
        self._parse = parse

    def __call__(self, connection: Any, command: str, **options: Any) -> Any:
        answer = self._parse(connection, command, **options)
        if command == "BRPOP" and answer and answer[0].startswith(LANES) and not is_ticket(answer[1]):
            self._channel.put_aside(answer[1])
            return None
        return answer


class TicketTransport(Transport):
    Channel = TicketChannel
