"""TaskScheduler: a task's life, from submit to its end. Decisions are made in the store's scripts; here they get
names."""

from __future__ import annotations

import builtins
import logging
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from functools import partial
from random import Random

import uuid_utils

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import (
    AlreadyFinal,
    BrokerUnavailable,
    Conflict,
    MalformedRequest,
    NotFound,
    StaleAttempt,
    TaskCancelled,
)
from aragora_cp.health.breaker import Outcome, outcome_of
from aragora_cp.lanes import SHARED_POOL, agent_lane, narrowed, serves
from aragora_cp.model import (
    AgentSpec,
    Claim,
    Decision,
    Failure,
    Hold,
    Lane,
    NewTask,
    Page,
    Standing,
    Submission,
    Task,
    TaskStatus,
    Ticket,
    Usage,
    agent_handle,
)
from aragora_cp.ports import LaneDirectory, Switches, TicketBroker
from aragora_cp.store.agents import lanes_of
from aragora_cp.store.breakers import read_word
from aragora_cp.store.digests import cache_digest, idempotency_digests
from aragora_cp.store.forms import Answer, Record, Stopped
from aragora_cp.store.records import read_task
from aragora_cp.store.refusals import no_room
from aragora_cp.store.refusals import refusal as refused
from aragora_cp.store.scripts import Call
from aragora_cp.store.sealing import KeyNotHere, Unreadable
from aragora_cp.store.tasks import NO_KEY_PAUSE, UNREADABLE, TaskStore

log = logging.getLogger(__name__)

#: A record's time and id.
_CURSOR = re.compile(r"[0-9]{1,16}-[!-~]{1,128}")


def new_task_id() -> str:
    """A UUIDv7 (RFC 9562): its order is the order of creation."""
    return str(uuid_utils.uuid7())


class TaskScheduler:
    """Submits, claims, finishes and keeps tasks. Safe to share between threads.

    Every method is one script, so it is done whole or not at all, and one round trip unless it says otherwise; tickets
    that it lets out go to the broker after it. A ticket that cannot be sent is no error: the monitor sends it within
    seconds. Raises StoreUnavailable from every method.
    """

    def __init__(
        self,
        store: TaskStore,
        broker: TicketBroker,
        directory: LaneDirectory,
        config: ControlPlaneConfig,
        *,
        new_id: Callable[[], str] = new_task_id,
        chance: Random | None = None,
        switches: Switches | None = None,
        price: Callable[[str, Usage], Usage] | None = None,
    ) -> None:
        """`price` gives usage in a workspace its cost; without, what does not say its cost has none."""
        self._store = store
        self._broker = broker
        self._directory = directory
        self._config = config
        self._new_id = new_id
        self._switches = switches or Switches()
        #: What the last claim or report of this process learnt of its agent's breaker; of use where one agent runs.
        self.standing = Standing()
        self._chance = chance or Random()  # noqa: S311 - spreads retries, guards nothing
        self._price = price or (lambda _, usage: usage)

    # --- callers ---------------------------------------------------------------------------------------------------

    def submit(
        self, new: NewTask, *, task_id: str | None = None, decision: Decision | None = None
    ) -> tuple[Task, bool]:
        """As `admit`; answers the task, and False when an earlier one answers for it."""
        done = self.admit(new, task_id=task_id, decision=decision)
        return done.task, done.created

    def admit(self, new: NewTask, *, task_id: str | None = None, decision: Decision | None = None) -> Submission:
        """Admit a task, unless an earlier one answers for it (same idempotency key, or a cached result): that takes
        nothing of any limit. Two round trips: the script, and the ticket to the broker.

        `task_id` makes the submit repeatable: the same id is admitted once. `decision` is what PolicyEngine said: it is
        kept, and the task is HELD when it demands approval. Raises IdempotencyConflict, QuotaExceeded, RateLimited,
        BudgetExceeded, Conflict for a workspace that is suspended, EncryptionUnavailable.
        """
        task_id = task_id or self._new_id()
        admission = self._store.submit(
            new,
            task_id,
            idempotency=idempotency_digests(new, self._store.vault),
            cache_digest=cache_digest(new, self._store.vault),
            lanes=self.lanes_for(new.workspace, new.required_capabilities, new.agent_id),
            must_encrypt=self._switches.must_encrypt(new.workspace),
            decision=decision,
        )
        if (refusal := refused(admission)) is not None:
            raise refusal
        self.send(admission.tickets)
        task = self.read(new.workspace, admission.task_id, admission.record)
        task = replace(task, cached=admission.outcome == "cached")
        return Submission(task, admission.outcome == "created", admission.rate_limits)

    def get(self, workspace: str, task_id: str, *, with_payload: bool = False) -> Task:
        """One task. Raises NotFound, also for another workspace's."""
        record = self._store.get(workspace, task_id)
        if record is None:
            raise _no_task(task_id)
        return self.read(workspace, task_id, record, with_payload=with_payload)

    def list(
        self,
        workspace: str,
        *,
        status: TaskStatus | None = None,
        task_type: str | None = None,
        agent_id: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Task]:
        """A page of tasks, newest first, without payloads and results. A page may be short and still have a cursor:
        it looks at a bounded number of records. Raises MalformedRequest for a cursor that is not ours."""
        after = None
        if cursor is not None:
            time, _, last = cursor.partition("-")
            if not _CURSOR.fullmatch(cursor):
                raise MalformedRequest("the cursor is not one of ours")
            after = (time, last)
        rows, following = self._store.page(
            workspace, status=status, task_type=task_type, agent_id=agent_id, limit=limit, after=after
        )
        tasks = tuple(self.read(workspace, task_id, record) for task_id, record in rows)
        return Page(tasks, f"{following[0]}-{following[1]}" if following else None)

    def cancel(self, workspace: str, task_id: str, *, actor: str = "", correlation_id: str = "") -> Task:
        """End a task that is not final, and its sub-tasks with it. A running one is told at once and by every
        heartbeat; whatever its agent still writes is refused. Raises NotFound, AlreadyFinal. One script for each task
        it ends."""
        outcome = self._store.cancel(workspace, task_id, actor, correlation_id)
        if outcome.record is None:
            raise _no_task(task_id)
        if outcome.word == "final":
            raise AlreadyFinal(f"the task has already ended: {outcome.record['status'].decode()}")
        if outcome.agent_id:
            lane = outcome.record["run_lane"].decode()
            self._broker.cancel(_handle(outcome.agent_id, lane), task_id, outcome.attempt)
        for child in outcome.children:
            try:
                self.cancel(workspace, child, actor=actor, correlation_id=correlation_id)
            except (AlreadyFinal, NotFound):
                continue
        return self.read(workspace, task_id, outcome.record)

    def rerun(self, workspace: str, task_id: str, *, actor: str = "", correlation_id: str = "") -> Task:
        """Run a FAILED or CANCELLED task again, same id, fresh retry allowance; one that was held is HELD again.
        Raises NotFound, Conflict, BudgetExceeded."""
        task = self.get(workspace, task_id)
        lanes = self.lanes_for(workspace, task.required_capabilities, task.target_agent_id)
        answer = self._store.rerun(workspace, task_id, actor, correlation_id, lanes)
        if answer.budget is not None:
            raise no_room(answer.budget)
        if answer.record is None:
            raise _no_task(task_id)
        if answer.word == "conflict":
            raise Conflict(f"only a FAILED or CANCELLED task can run again; this one is {task.status}")
        self.send(answer.tickets)
        return self.read(workspace, task_id, answer.record)

    def statuses(self, workspace: str, task_ids: Sequence[str]) -> builtins.list[TaskStatus | None]:
        """The status of each; None where there is no such task."""
        return self._store.statuses(workspace, task_ids)

    # --- agents ----------------------------------------------------------------------------------------------------

    def claim(self, hold: Hold, agent: AgentSpec) -> Claim | str:
        """Take the attempt that a ticket names, under the lease token in `hold` (chosen by the agent, unguessable; the
        same one again answers the same claim). Answers why not as a word: unknown, final, taken, stale-ticket, not-due,
        incapable; capability-off, when what it needs is switched off for now; no-key, when another agent may be able to
        read it, and unreadable, when nobody ever will: it has failed; breaker-open, when the agent's breaker or its
        model's lets it take nothing: the task is back in place. Released tickets go out. One round trip for a claim
        that is granted; one more for one that is not."""
        lanes = self._lanes_of(agent, hold.workspace)
        # Whatever ticket it got hold of: an agent that belongs to one workspace serves no other.
        able = lanes if agent.workspace in (None, hold.workspace) else ()
        must_encrypt = self._switches.must_encrypt(hold.workspace)
        breaker = self._store.breakers.begin(agent.handle, hold)
        answer = self._store.claim(hold, agent.agent_id, lanes[0].name, able, breaker, must_encrypt=must_encrypt)
        self.send(answer.tickets)
        shut = self._note(answer) == "refused"
        if answer.record is None:
            if not shut:
                self._note_end(hold, agent.handle, Outcome.NONE)
            return answer.word
        if shut:
            with suppress(StaleAttempt, NotFound):
                self.hand_back(hold)
            return "breaker-open"
        try:
            payload = self._store.vault.open(
                hold.workspace, hold.task_id, "payload", answer.record.get("payload", b"null")
            )
        except Unreadable as error:
            return self._give_up_unread(hold, agent, lost=not isinstance(error, KeyNotHere))
        return Claim(
            hold=hold,
            task=self.read(hold.workspace, hold.task_id, answer.record | {"payload": payload}, with_payload=True),
            lease_expires_at=int(answer.record["lease_until"]),
            deadline_ms=int(answer.record["deadline"]),
        )

    def progress(
        self,
        hold: Hold,
        *,
        percent: float | None = None,
        message: str | None = None,
        input_tokens: int = 0,
        output_tokens: int = 0,
        model: str = "",
        cost: Decimal | str | None = None,
        cached_tokens: int = 0,
    ) -> None:
        """Note progress (replaces) and usage (adds up; `cost` in the currency's unit, without it as the prices have
        it). A cost that a hard budget has no room for ends the task as FAILED, `budget-exceeded`.

        Raises TaskCancelled when the task was cancelled or has just been ended, StaleAttempt when the attempt is not
        ours any more, NotFound, InvalidRequest for a model without a price where the workspace wants one.
        """
        word = self._store.progress(
            hold,
            percent=percent,
            message=message,
            usage=self._price(hold.workspace, Usage.of(input_tokens, output_tokens, model, cost, cached_tokens)),
        )
        if isinstance(word, Stopped):
            self._broker.cancel(_handle(word.agent_id, word.lane), hold.task_id, word.attempt)
            raise TaskCancelled(f"the task was ended: the budget {word.budget} has no room for what it costs")
        if word == "unknown":
            raise _no_task(hold.task_id)
        if word == "cancelled":
            raise TaskCancelled
        if word == "stale":
            raise StaleAttempt

    def finish(self, hold: Hold, result: bytes, agent: AgentSpec, *, usage: Usage | None = None) -> Task:
        """Take a result (JSON), and what was used since the last report, from the attempt that holds the task; the same
        write again is answered again and counts nothing twice. Raises StaleAttempt, NotFound, InvalidRequest as
        `progress`."""
        priced = self._price(hold.workspace, usage or Usage())
        lanes = self._lanes_of(agent, hold.workspace)
        breaker = self._store.breakers.end(agent.handle, hold, Outcome.OK)
        answer = self._store.finish(hold, result, agent.agent_id, lanes, priced, breaker)
        self._note(answer)
        self.send(answer.tickets)
        return self._answered(hold, answer.word, answer.record)

    def fail(self, hold: Hold, failure: Failure, agent_id: str, *, handle: str | None = None) -> Task:
        """An attempt ended without a result: the answer is PENDING with `next_attempt_at` while retries are left, else
        FAILED. `handle`: the agent's, by default a shared one's. Raises StaleAttempt, NotFound. Two round trips for a
        loss: one that was a cancelled task's end is not held against the agent."""
        handle, outcome = handle or agent_id, outcome_of(failure)
        breaker = None if outcome is Outcome.LOST else self._store.breakers.end(handle, hold, outcome)
        answer = self._store.fail(hold, failure, agent_id, self._chance.random(), breaker)
        if breaker is not None:
            self._note(answer)
        else:
            self._note_end(hold, handle, Outcome.NONE if answer.word in ("stale", "unknown") else outcome)
        return self._answered(hold, answer.word, answer.record)

    def let_go(self, hold: Hold, agent: AgentSpec) -> None:
        """An attempt was given up because its task was cancelled: its agent's breaker has nothing to wait for. Whatever
        the heartbeat has said of it meanwhile stands."""
        self._note_end(hold, agent.handle, Outcome.NONE)

    def throttled(self, hold: Hold, agent: AgentSpec, retry_after: float) -> None:
        """The upstream of an attempt asked for a pause of `retry_after` seconds: the agents of its model, in its pool,
        take nothing for so long; the task goes back to its place and loses no retry. Raises StaleAttempt, NotFound."""
        breaker = self._store.breakers.end(agent.handle, hold, Outcome.THROTTLED, retry_after)
        self._hand_back(hold, (), breaker)

    def hand_back(self, hold: Hold, *, awaits: Sequence[str] = (), handle: str | None = None) -> None:
        """Give an attempt back without using up a retry. With `awaits` the task runs again when those sub-tasks are
        final, else at once at its old place. `handle`: of the agent that had it in hand. Raises StaleAttempt,
        NotFound."""
        self._hand_back(hold, awaits, self._store.breakers.end(handle, hold, Outcome.NONE) if handle else None)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _note(self, answer: Answer) -> str:
        """Keep how the breaker stands after a claim or a report; answers its word."""
        word = read_word(answer.beside)
        self.standing = word.standing
        return word.word

    def _note_end(self, hold: Hold, handle: str, outcome: Outcome) -> None:
        (word,) = self._store.breakers.tell([self._store.breakers.end(handle, hold, outcome)])
        self.standing = word.standing

    def _hand_back(self, hold: Hold, awaits: Sequence[str], breaker: Call | None) -> None:
        answer = self._store.hand_back(hold, self.lanes_for(hold.workspace, (), None), awaits, beside=breaker)
        self.send(answer.tickets)
        if breaker is not None:
            self._note(answer)
        if answer.word == "unknown":
            raise _no_task(hold.task_id)
        if answer.word == "stale":
            raise StaleAttempt

    def lanes_for(self, workspace: str, required: Sequence[str], agent_id: str | None) -> builtins.list[Lane]:
        """The lanes whose agents may run such a task; no round trip while the directory's copy is fresh."""
        if agent_id is not None:
            return [Lane(agent_lane(agent_id), workspace, frozenset(required), 1)]
        off = self._switches.switched_off(workspace)
        usable = (
            narrowed(lane, off)
            for lane in self._directory.lanes()
            if lane.slots > 0 and lane.pool in (SHARED_POOL, workspace)
        )
        return [lane for lane in usable if serves(lane.capabilities, required)]

    def _lanes_of(self, agent: AgentSpec, workspace: str) -> builtins.list[Lane]:
        """The agent's own lane and its direct one, as they serve the workspace."""
        off = self._switches.switched_off(workspace)
        return [narrowed(lane, off) for lane in lanes_of(agent)]

    def read(self, workspace: str, task_id: str, record: Record, *, with_payload: bool = False) -> Task:
        """The Task of a record that a script answered."""
        opener = partial(self._store.vault.open, workspace, task_id)
        return read_task(workspace, task_id, record, with_payload=with_payload, opener=opener)

    def _give_up_unread(self, hold: Hold, agent: AgentSpec, *, lost: bool) -> str:
        """An attempt whose payload cannot be read here. A key that this agent lacks is no fault of the task."""
        if lost:
            log.error("task failed: its payload cannot be read", extra={"task_id": hold.task_id})
            self.fail(hold, UNREADABLE, agent.agent_id, handle=agent.handle)
            return "unreadable"
        log.error("task left to other agents: this one lacks its workspace's key", extra={"workspace": hold.workspace})
        breaker = self._store.breakers.end(agent.handle, hold, Outcome.NONE)
        self._store.hand_back(hold, (), pause=NO_KEY_PAUSE, beside=breaker)
        return "no-key"

    def send(self, tickets: Sequence[Ticket]) -> None:
        """Tickets that a script let out, to the broker."""
        if not tickets:
            return
        try:
            self._broker.send(tickets)
        except BrokerUnavailable as error:
            log.warning(
                "tickets not sent, the monitor will send them",
                extra={"count": len(tickets), "reason": str(error)},
            )

    def _answered(self, hold: Hold, word: str, record: Record | None) -> Task:
        if record is None:
            raise _no_task(hold.task_id)
        if word == "stale":
            raise StaleAttempt
        return self.read(hold.workspace, hold.task_id, record)


def _handle(agent_id: str, lane: str) -> str:
    """Of the agent that runs a task: the lane that it runs in tells the pool."""
    pool = lane.partition(".")[0]
    return agent_handle(agent_id, None if pool == SHARED_POOL else pool)


def _no_task(task_id: str) -> NotFound:
    return NotFound(f"there is no task {task_id!r}")
