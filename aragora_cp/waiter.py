"""Waiter: one listener thread and one connection for any number of waits, sync or async."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any

from aragora_cp.errors import NotFound, StoreUnavailable
from aragora_cp.model import TaskStatus
from aragora_cp.store.completions import CompletionFeed, TaskRef

log = logging.getLogger(__name__)

_LOOK_BATCH = 500
_RECONNECT_PAUSE = 0.5
_CANCEL_AGAIN = 0.2


class Waiter:
    """Resolves futures when tasks become final. Woken by the store, not by asking again and again.

    A task's status is read after its subscription stands, so an ending just before is not missed; when the connection
    was lost, all subscriptions are made anew and every status is read again. Close it when done.
    """

    def __init__(self, open_feed: Callable[[], CompletionFeed]) -> None:
        self._open_feed = open_feed
        self._lock = threading.Lock()
        self._futures: dict[TaskRef, set[Future[TaskStatus]]] = {}
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wanted: asyncio.Queue[TaskRef] | None = None
        self._closed = False

    def future(self, workspace: str, task_id: str) -> Future[TaskStatus]:
        """Resolves to the final status, or to NotFound when there is no such task. Cancel it to stop waiting."""
        ref = (workspace, task_id)
        future: Future[TaskStatus] = Future()
        future.add_done_callback(lambda done: self._forget(ref, done))
        with self._lock:
            if self._closed:
                raise RuntimeError("this waiter is closed")
            self._futures.setdefault(ref, set()).add(future)
            loop = self._loop or self._start()
        # Also when someone waits for it already: subscribing again is confirmed again, and then it is looked at.
        loop.call_soon_threadsafe(self._ask, ref)
        return future

    def wait(self, workspace: str, task_id: str, timeout: float) -> bool:
        """Block until the task is final (True) or `timeout` seconds have passed (False). Raises NotFound."""
        future = self.future(workspace, task_id)
        try:
            future.result(timeout)
        except TimeoutError:
            future.cancel()
            return False
        return True

    def close(self) -> None:
        """Cancel all waits and end the thread. Again is harmless."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            futures = [future for group in self._futures.values() for future in group]
            loop, thread = self._loop, self._thread
        for future in futures:
            future.cancel()
        if loop and thread:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    # --- in callers' threads ---------------------------------------------------------------------------------------

    def _start(self) -> asyncio.AbstractEventLoop:
        self._loop = asyncio.new_event_loop()
        self._wanted = asyncio.Queue()
        self._thread = threading.Thread(target=self._run, name="aragora-cp-waiter", daemon=True)
        self._thread.start()
        return self._loop

    def _forget(self, ref: TaskRef, future: Future[TaskStatus]) -> None:
        with self._lock:
            group = self._futures.get(ref)
            if group is None:
                return
            group.discard(future)
            if group:
                return
            del self._futures[ref]
            loop = None if self._closed else self._loop
        if loop is not None:
            loop.call_soon_threadsafe(self._ask, ref)

    # --- in the listener's thread ----------------------------------------------------------------------------------

    def _ask(self, ref: TaskRef) -> None:
        if self._wanted is not None:
            self._wanted.put_nowait(ref)

    def _run(self) -> None:
        assert self._loop is not None
        asyncio.set_event_loop(self._loop)
        main = self._loop.create_task(self._listen())
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(_end({main}))
            self._loop.close()

    async def _listen(self) -> None:
        while True:
            feed = self._open_feed()
            try:
                with self._lock:
                    known = list(self._futures)
                if known:
                    await feed.subscribe(known)
                await self._serve(feed)
            except StoreUnavailable as error:
                log.warning("waiting for the store", extra={"reason": str(error)})
                await asyncio.sleep(_RECONNECT_PAUSE)
            except Exception:
                # Whatever it was: without a listener every wait of this process would hang.
                log.exception("the listener starts anew")
                await asyncio.sleep(_RECONNECT_PAUSE)
            finally:
                try:
                    await feed.close()
                except Exception:
                    log.debug("closing a broken feed", exc_info=True)

    async def _serve(self, feed: CompletionFeed) -> None:
        looks: asyncio.Queue[TaskRef] = asyncio.Queue()
        started = asyncio.Event()
        parts = [
            asyncio.create_task(self._subscribe(feed, started)),
            asyncio.create_task(self._look(feed, looks)),
            asyncio.create_task(self._read(feed, looks, started)),
        ]
        try:
            await asyncio.gather(*parts)
        finally:
            await _end(set(parts))

    async def _subscribe(self, feed: CompletionFeed, started: asyncio.Event) -> None:
        assert self._wanted is not None
        while True:
            batch = [await self._wanted.get()]
            while not self._wanted.empty() and len(batch) < _LOOK_BATCH:
                batch.append(self._wanted.get_nowait())
            with self._lock:
                now = {ref: ref in self._futures for ref in batch}
            if gone := [ref for ref, still in now.items() if not still]:
                await feed.unsubscribe(gone)
            if new := [ref for ref, still in now.items() if still]:
                await feed.subscribe(new)
                started.set()

    async def _read(self, feed: CompletionFeed, looks: asyncio.Queue[TaskRef], started: asyncio.Event) -> None:
        with self._lock:
            if self._futures:
                started.set()
        await started.wait()  # the driver refuses to read before the first subscription
        async for ref, status in feed.items():
            if status is None:
                looks.put_nowait(ref)
            else:
                self._resolve(ref, status)

    async def _look(self, feed: CompletionFeed, looks: asyncio.Queue[TaskRef]) -> None:
        while True:
            batch = [await looks.get()]
            while not looks.empty() and len(batch) < _LOOK_BATCH:
                batch.append(looks.get_nowait())
            for ref, status in zip(batch, feed.statuses(batch), strict=True):
                if status is None or status.final:
                    self._resolve(ref, status)

    def _resolve(self, ref: TaskRef, status: TaskStatus | None) -> None:
        with self._lock:
            futures = list(self._futures.get(ref, ()))
        for future in futures:
            try:
                if status is None:
                    future.set_exception(NotFound(f"there is no task {ref[1]!r}"))
                else:
                    future.set_result(status)
            except InvalidStateError:
                continue


async def _end(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel `tasks` until all have ended: the driver may swallow a cancellation while it connects. One that comes
    meanwhile is passed on after that, so that nothing is left behind."""
    left = set(tasks)
    cancelled: asyncio.CancelledError | None = None
    while left:
        for task in left:
            task.cancel()
        try:
            ended, left = await asyncio.wait(left, timeout=_CANCEL_AGAIN)
            await asyncio.gather(*ended, return_exceptions=True)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled:
        raise cancelled
