"""The worker's own steps: identity before it starts, heartbeats from its loop, cancelling, draining, stopping."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator
from typing import Any, NoReturn

from billiard.exceptions import TimeLimitExceeded
from celery import Celery, bootsteps, states
from celery.concurrency.prefork import TaskPool as PreforkPool
from celery.signals import celeryd_init, worker_shutdown
from celery.worker import state as worker_state
from celery.worker.control import control_command

from aragora_cp.engine import holdback
from aragora_cp.engine.interrupt import stop_attempt
from aragora_cp.engine.request import AgentRequest, outcomes
from aragora_cp.engine.tickets import agent_node, lane_queue
from aragora_cp.errors import AragoraError, NotFound, StaleAttempt, StaleSession, StoreUnavailable
from aragora_cp.lanes import agent_lane, lane_name
from aragora_cp.model import Beat
from aragora_cp.ports import AgentHost
from aragora_cp.telemetry.subject import always_say

log = logging.getLogger(__name__)

#: How often the loop looks at what it runs. A beat is sent when that has changed, or when it is time.
LOOK_EVERY = 0.25
#: The least time between two beats.
BEAT_PAUSE = 0.5


def install_steps(app: Celery, host: AgentHost) -> None:
    """Make `app`'s worker an agent of `host`."""
    app.agent_host = host
    app.steps["consumer"].add(AgentStep)

    @celeryd_init.connect(weak=False)
    def _identify(instance: Any = None, conf: Any = None, options: dict[str, Any] | None = None, **_: Any) -> None:
        if instance is None or instance.app is not app:
            return
        _become_agent(app, host, instance, conf, options or {})

    @worker_shutdown.connect(weak=False)
    def _goodbye(**_: Any) -> None:
        host.leave()


def _become_agent(app: Celery, host: AgentHost, worker: Any, conf: Any, options: dict[str, Any]) -> None:
    """Register before anything else starts; its queues follow from what it is."""
    pool = options.get("pool") or options.get("pool_cls") or conf.worker_pool
    pool_name = pool if isinstance(pool, str) else getattr(pool, "__module__", "").rsplit(".", 1)[-1]
    node = str(worker.hostname).partition("@")[0]
    try:
        host.prepare(
            node=None if node == "celery" else node,
            concurrency=options.get("concurrency") or conf.worker_concurrency,
            pool={"thread": "threads"}.get(pool_name, pool_name),
        )
    except AragoraError as error:
        raise SystemExit(f"aragora-cp worker: {error}") from error
    spec = host.spec
    always_say(agent_id=spec.agent_id)
    worker.hostname = agent_node(spec.handle)
    conf.worker_concurrency = spec.concurrency
    options["concurrency"] = spec.concurrency
    # For people: Flower shows a worker's settings.
    conf.aragora_agent = {
        "capabilities": list(spec.capabilities),
        "model": spec.model,
        "pool": spec.workspace or "shared",
    }
    on_rabbitmq = str(conf.broker_url).startswith("amqp")
    lanes = (lane_name(spec.workspace or "shared", spec.capabilities), agent_lane(spec.handle))
    conf.task_queues = [lane_queue(lane, on_rabbitmq=on_rabbitmq) for lane in lanes]
    with contextlib.suppress(AttributeError):
        del app.amqp.queues


def in_hand() -> Iterator[AgentRequest]:
    """The tickets that this worker holds and whose attempts have not ended."""
    for request in list(worker_state.active_requests) + list(worker_state.reserved_requests):
        if isinstance(request, AgentRequest) and not request.ended:
            yield request


class AgentStep(bootsteps.StartStopStep):
    """Beats from the consumer's own loop, so that a loop that is stuck stops beating."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        consumer.agent_step = self
        consumer.app.agent_step = self
        self._consumer: Any = None
        self._timer: Any = None
        self._last: frozenset[str] = frozenset()
        self._beat_at = float("-inf")
        self._draining = False
        self._consuming = True
        self._look_by = float("inf")
        self._stop_by: float | None = None
        self._terms = 0
        self._store_away = False

    def start(self, consumer: Any) -> None:
        self._consumer = consumer
        self._draining = False
        self._consuming = True
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGINT, self._on_term)
        self._timer = consumer.timer.call_repeatedly(LOOK_EVERY, self._look)
        log.info("agent ready", extra={"lane": self._queues()[0]})

    def stop(self, consumer: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    shutdown = stop

    # --- heartbeats ------------------------------------------------------------------------------------------------

    @property
    def _host(self) -> AgentHost:
        return self._consumer.app.agent_host

    def _look(self) -> None:
        try:
            self._consumer.app.backend.flush()
            # Celery asks once when a child's pipe closes, which is often a moment before the child can be reaped, and
            # then not for 5 s: its attempt would be reported that late.
            self._consumer.pool.maintain_pool()
            if not self._prefork:
                self._keep_limits_of_threads()
            if holdback.told():
                self.hold_back()
            self._maybe_beat()
            self._stop_overdue()
            if self._terms:
                self._keep_stopping()
        except Exception:
            log.exception("a look at what runs failed")

    def _maybe_beat(self) -> None:
        requests = list({request.hold: request for request in in_hand()}.values())
        running = frozenset(request.hold.lease for request in requests)
        now = time.monotonic()
        changed = running != self._last or outcomes.completed or outcomes.failed
        due = self._host.config.heartbeat_interval if not changed else BEAT_PAUSE
        if now - self._beat_at < due and now < self._look_by:
            return
        completed, failed = outcomes.completed, outcomes.failed
        self._beat_at = now
        try:
            beat = self._host.beat(
                [request.hold for request in requests],
                completed=completed,
                failed=failed,
                stuck=sum(request.stuck for request in requests),
            )
        except StoreUnavailable as error:
            if not self._store_away:
                log.warning("the store is away, working on", extra={"reason": str(error)})
            self._store_away = True
            self._look_by = time.monotonic() + BEAT_PAUSE
            return
        except StaleSession:
            log.error("another process has taken over this agent's id; stopping")  # noqa: TRY400
            worker_state.should_terminate = os.EX_TEMPFAIL
            return
        except NotFound:
            log.error("this agent was removed by an operator; stopping")  # noqa: TRY400
            self._terms += 1
            return
        outcomes.completed -= completed
        outcomes.failed -= failed
        self._last, self._store_away = running, False
        self._obey(beat, requests)

    def _obey(self, beat: Beat, requests: list[AgentRequest]) -> None:
        told = set(beat.cancel) | set(beat.lost)
        for request in requests:
            if request.hold in told:
                self.cancel(request)
        standing = beat.standing
        self._look_by = time.monotonic() + standing.pause if standing.pause else float("inf")
        if self._stop_by is not None:
            return
        if beat.drain != self._draining:
            self._draining = beat.drain
            log.info("draining" if beat.drain else "taking work again")
        self._consume(not beat.drain and not standing.pause, standing.state)

    def hold_back(self) -> None:
        """The breaker lets this agent take nothing: stop at once; the next look's heartbeat says for how long."""
        holdback.heard()
        if self._stop_by is None:
            self._consume(False, "open")
        self._look_by = float("-inf")

    def _consume(self, consume: bool, breaker: str) -> None:
        if consume == self._consuming:
            return
        self._consuming = consume
        if not self._draining:
            log.info("taking work" if consume else "taking nothing for now", extra={"breaker": breaker})
        for name in self._queues():
            if consume:
                self._consumer.add_task_queue(name)
            else:
                self._consumer.cancel_task_queue(name)

    # --- cancelling ------------------------------------------------------------------------------------------------

    def cancel(self, request: AgentRequest) -> None:
        """Tell the child to stop; after the grace it is killed. On threads only the fence can stop a handler."""
        if request.stop_at is None:
            request.stop_at = time.monotonic() + self._host.config.kill_grace
        if self._child(request):
            stop_attempt(request.hold.lease, request.worker_pid)

    def _stop_overdue(self) -> None:
        for request in in_hand():
            if request.stop_at is None:
                continue
            overdue = time.monotonic() >= request.stop_at
            if not self._child(request):
                request.stuck = overdue
            elif overdue:
                # The parent has not heard the end of this attempt, so the child holds it and no other.
                with request.about():
                    log.warning("child killed: its attempt did not stop")
                self._kill(request)
            else:
                stop_attempt(request.hold.lease, request.worker_pid)

    def _keep_limits_of_threads(self) -> None:
        """A thread cannot be interrupted: its attempt is ended without it, and its slot is stuck until it returns.
        When all slots are, this process is of no use any more and ends, for its supervisor to start another."""
        requests = list(in_hand())
        for request in requests:
            limit = request.time_limits[1]
            if limit and request.stop_at is None and request.time_start and time.time() - request.time_start > limit:
                with request.about():
                    log.warning("attempt fenced off: over its time limit")
                    self._consumer.app.backend.store_result(
                        request.id, TimeLimitExceeded(limit), states.FAILURE, request=request._context
                    )
                self.cancel(request)
        if requests and sum(request.stuck for request in requests) >= self._host.spec.concurrency:
            log.error("every slot is stuck; ending this process")
            self._abandon_threads(os.EX_TEMPFAIL)

    def _abandon_threads(self, status: int) -> NoReturn:
        self._host.leave()
        logging.shutdown()
        os._exit(status)

    @property
    def _prefork(self) -> bool:
        return isinstance(self._consumer.pool, PreforkPool)

    def _child(self, request: AgentRequest) -> bool:
        return self._prefork and request.worker_pid is not None

    def _kill(self, request: AgentRequest) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(request.worker_pid, signal.SIGKILL)

    # --- stopping --------------------------------------------------------------------------------------------------

    def _on_term(self, signum: int, frame: Any) -> None:
        """First: take nothing new, let what runs finish, at most `drain_timeout`. Second: hand back at once.

        Only counted here: what it interrupts may be a call to the store or the broker. The next look does the rest.
        """
        self._terms += 1
        if self._timer is None:
            # The broker is away and there is no look; Celery asks this between two tries to reach it.
            if self._terms == 1:
                worker_state.should_stop = os.EX_OK
            else:
                worker_state.should_terminate = os.EX_OK

    def _keep_stopping(self) -> None:
        if self._stop_by is None:
            self._begin_stopping()
        elif self._terms > 1:
            self._stop_by = float("-inf")
        self._finish_stopping()

    def _begin_stopping(self) -> None:
        self._stop_by = time.monotonic() + self._host.config.drain_timeout
        log.info("stopping: taking nothing new", extra={"running": len(list(in_hand()))})
        for name in self._queues():
            self._consumer.cancel_task_queue(name)
        self._host.drain()

    def _finish_stopping(self) -> None:
        left = list(in_hand())
        if left and time.monotonic() < (self._stop_by or 0):
            return
        for request in left:
            with request.about():
                try:
                    self._host.scheduler.hand_back(request.hold, handle=self._host.spec.handle)
                except (StaleAttempt, NotFound, StoreUnavailable):
                    log.debug("not handed back")
            if self._child(request):
                self._kill(request)
        if left:
            log.info("handed back", extra={"count": len(left)})
            if not self._prefork:
                self._abandon_threads(os.EX_OK)
            worker_state.should_terminate = os.EX_OK
        else:
            worker_state.should_stop = os.EX_OK

    def _queues(self) -> list[str]:
        return [queue.name for queue in self._consumer.app.conf.task_queues]


@control_command(args=[("task_id", str), ("attempt", int)], signature="<task_id> <attempt>")
def cancel_attempt(state: Any, task_id: str, attempt: int) -> dict[str, str]:
    """Stop an attempt that was cancelled in the record. Only a hint: the fence is what ends it."""
    for request in in_hand():
        if request.hold.task_id == task_id and request.hold.attempt == attempt:
            state.consumer.agent_step.cancel(request)
            return {"ok": "told"}
    return {"ok": "not here"}
