"""The feed of tasks that became final: one connection, however many are waited for. Belongs to one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import TaskStatus
from aragora_cp.store.connection import of_transport, translated
from aragora_cp.store.keys import workspace_keys

TaskRef = tuple[str, str]  # workspace, task id


class CompletionFeed:
    """Subscriptions to single tasks. Raises StoreUnavailable from every method; a broken feed is closed and made
    anew."""

    def __init__(self, config: ControlPlaneConfig, client: redis.Redis) -> None:
        """`client`: the process's own, for reading statuses; waiting costs one connection beside it."""
        timeout = config.redis_timeout
        # No retries: the driver would connect anew for whoever meets the break, reader and writer at once, on the one
        # connection. No health checks: it sends one before a subscription that follows a while without any, and then
        # reads its answer beside `items`, which reads the same connection.
        self._client = redis.asyncio.Redis.from_url(
            config.redis_url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            health_check_interval=0,
            retry=Retry(NoBackoff(), 0, supported_errors=()),
            **of_transport(config),
        )
        pool = self._client.connection_pool
        pool.connection_class = _connecting_whole(pool.connection_class)
        self._pubsub = self._client.pubsub()
        self._prefix = config.key_prefix
        self._reader = client
        self._refs: dict[str, TaskRef] = {}

    async def subscribe(self, refs: Iterable[TaskRef]) -> None:
        """Ask for these; each is confirmed by an item ``(ref, None)`` of `items`, after which no ending is missed."""
        channels = {self._channel(ref): ref for ref in refs}
        self._refs |= channels
        with translated():
            await self._pubsub.subscribe(*channels)

    async def unsubscribe(self, refs: Iterable[TaskRef]) -> None:
        channels = [self._channel(ref) for ref in refs]
        for channel in channels:
            self._refs.pop(channel, None)
        with translated():
            await self._pubsub.unsubscribe(*channels)

    async def items(self) -> AsyncIterator[tuple[TaskRef, TaskStatus | None]]:
        """A task with its final status as it ends, and a task with None when its subscription stands."""
        while True:
            with translated():
                message = await self._pubsub.get_message(timeout=None)
            if message is None or message["type"] not in ("subscribe", "message"):
                continue
            ref = self._refs.get(message["channel"].decode())
            if ref is not None:
                yield ref, TaskStatus(message["data"].decode()) if message["type"] == "message" else None

    def statuses(self, refs: Sequence[TaskRef]) -> list[TaskStatus | None]:
        """The status of each now, None where there is no such task. One round trip, which the loop waits for: without
        the store there is nothing else for it to do."""
        with translated():
            pipe = self._reader.pipeline(transaction=False)
            for workspace, task_id in refs:
                pipe.hget(workspace_keys(self._prefix, workspace)("task", task_id), "status")
            return [TaskStatus(found.decode()) if found else None for found in pipe.execute()]

    async def close(self) -> None:
        """Returns when the connection is closed: closing TLS takes the loop some turns, and it may end after this."""
        if self._pubsub.connection is not None:
            await self._pubsub.connection.disconnect()
        await self._pubsub.aclose()
        await self._client.aclose()

    def _channel(self, ref: TaskRef) -> str:
        return workspace_keys(self._prefix, ref[0])("done", ref[1])


def _connecting_whole(kind: type[Any]) -> type[Any]:
    """`kind`, but that a connection is cancelled only when it is made: a socket whose making is cancelled stays open,
    and nobody has it. Bounded by the connection's own time limit."""

    class Whole(kind):
        async def _connect(self) -> None:
            connecting = asyncio.ensure_future(super()._connect())
            cancelled: asyncio.CancelledError | None = None
            while not connecting.done():
                try:
                    await asyncio.wait({connecting})
                except asyncio.CancelledError as error:
                    cancelled = error
            failed = connecting.exception()
            if reason := failed or cancelled:
                raise reason

    return Whole
