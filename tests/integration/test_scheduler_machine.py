"""Any order of calls, against a model that a page can hold; and every invariant after each of them.

One example is one workspace of its own on the real store. A failure prints the steps and a blob that repeats it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from aragora_cp.errors import AlreadyFinal, Conflict, IdempotencyConflict, StaleAttempt
from aragora_cp.model import (
    AgentSpec,
    Caller,
    Claim,
    Decision,
    Demand,
    Effect,
    Hold,
    NewTask,
    Priority,
    RetryPolicy,
    Role,
    TaskStatus,
    Ticket,
)
from aragora_cp.store.inspection import Inspector
from aragora_cp.store.records import read_task
from aragora_cp.store.tasks import as_record
from tests.conftest import short_config
from tests.fleet import HANDLER_ERROR, PROCESS_LOST, REJECTED, Fleet
from tests.invariants import broken_invariants
from tests.policies import request
from tests.scheduler_model import SPECS, Expected, Model, lane_of
from tests.servers import StoreServer

S = TaskStatus
CAPABILITIES = st.sampled_from([(), ("code",), ("search",), ("code", "search")])
AGENTS = st.sampled_from(sorted(SPECS))
RETRIES = RetryPolicy(initial=0.0)
#: A place in a list whose length the clock may decide: what is drawn must not depend on it.
PICKS = st.integers(0, 999)


HELD_REQUEST = request().to_json()


class SchedulerMachine(RuleBasedStateMachine):
    server: StoreServer

    tasks = Bundle("tasks")
    holds = Bundle("holds")

    @initialize()
    def start(self) -> None:
        self.fleet = Fleet(short_config(self.server, heartbeat_timeout=600.0))
        self.model = Model()
        self.keys: dict[str, tuple[str, int]] = {}
        self.results = itertools.count()
        self.completed: dict[str, object] = {}
        self.attempts: dict[str, int] = {}
        self.inspector = Inspector(self.fleet.client, self.fleet.config)
        self.register("coder")
        self.register("both")

    def teardown(self) -> None:
        if not hasattr(self, "fleet"):
            return
        self.each_task_completed_at_most_once()
        for key in self.fleet.client.scan_iter(match=f"{self.fleet.config.key_prefix}*", count=1000):
            self.fleet.client.unlink(key)
        self.fleet.close()

    # --- callers ---------------------------------------------------------------------------------------------------

    @rule(
        target=tasks,
        count=st.integers(1, 6),
        capabilities=CAPABILITIES,
        priority=st.sampled_from(Priority),
        max_retries=st.integers(0, 2),
        agent=st.none() | AGENTS,
        delay=st.sampled_from([None, None, 600.0]),
        queue_timeout=st.sampled_from([None, 600.0]),
    )
    def submit(
        self, count: int, capabilities: tuple[str, ...], max_retries: int, agent: str | None, **more: Any
    ) -> Any:
        new = NewTask(
            "acme",
            "t",
            b"{}",
            capabilities,
            max_retries=max_retries,
            agent_id=agent and SPECS[agent].handle,
            retry=RETRIES,
            **more,
        )
        ids = []
        for _ in range(count):
            task, created = self.fleet.scheduler.submit(new)
            assert created
            self.model[task.task_id] = Expected(max_retries=max_retries)
            ids.append(task.task_id)
        return multiple(*ids)

    @rule(target=tasks, key=st.sampled_from("ab"), body=st.integers(0, 1))
    def submit_by_key(self, key: str, body: int) -> Any:
        new = self.fleet.new(
            "code", payload=json.dumps(body).encode(), idempotency_key=key, max_retries=1, retry=RETRIES
        )
        if key not in self.keys:
            task, created = self.fleet.scheduler.submit(new)
            assert created
            self.keys[key] = (task.task_id, body)
            self.model[task.task_id] = Expected(max_retries=1)
            return task.task_id
        first, told = self.keys[key]
        if told != body:
            with pytest.raises(IdempotencyConflict):
                self.fleet.scheduler.submit(new)
        else:
            assert self.fleet.scheduler.submit(new)[0].task_id == first
        return multiple()

    @rule(task_id=tasks, again=st.booleans())
    def step_in(self, task_id: str, again: bool) -> None:
        """A person cancels a task, or lets it run again."""
        told, scheduler = self.model[task_id], self.fleet.scheduler
        if again and told.status in (S.FAILED, S.CANCELLED):
            scheduler.rerun("acme", task_id)
            told.status, told.retries = S.HELD if told.quorum else S.PENDING, 0
            told.approved.clear()
        elif again:
            with pytest.raises(Conflict):
                scheduler.rerun("acme", task_id)
        elif told.status.final:
            with pytest.raises(AlreadyFinal):
                scheduler.cancel("acme", task_id)
        else:
            scheduler.cancel("acme", task_id)
            self.model.end(task_id, S.CANCELLED)

    @rule(target=tasks, quorum=st.integers(1, 2), delay=st.sampled_from([None, 600.0]))
    def submit_held(self, quorum: int, delay: float | None) -> Any:
        decision = Decision("d", Effect.HOLD, ("r",), "p0.w0", "", HELD_REQUEST, Demand(quorum, 600_000))
        new = self.fleet.new(max_retries=1, retry=RETRIES, delay=delay)
        task, _ = self.fleet.scheduler.submit(new, decision=decision)
        self.model[task.task_id] = Expected(status=S.HELD, max_retries=1, quorum=quorum)
        return task.task_id

    @rule(task_id=tasks, who=st.sampled_from(["op-1", "op-2"]), word=st.sampled_from(["approve", "reject", "expire"]))
    def people_decide(self, task_id: str, who: str, word: str) -> None:
        told, person = self.model[task_id], Caller(who, "acme", Role.OPERATOR)
        if not told.quorum:
            return
        if told.status is not S.HELD:
            if word == "reject" and told.status is not S.FAILED:
                with pytest.raises(Conflict):
                    self.fleet.approvals.reject("acme", task_id, person, "no")
        elif word == "reject":
            self.fleet.approvals.reject("acme", task_id, person, "no")
            self.model.end(task_id, S.FAILED)
        elif word == "expire":
            self.fleet.client.zadd(self.fleet.keys("held"), {task_id: 1})
            assert self.fleet.sweep().repairs["not-approved"] == 1
            self.model.end(task_id, S.FAILED)
        else:
            self.approve(task_id, person)

    def approve(self, task_id: str, person: Caller) -> None:
        told = self.model[task_id]
        task = self.fleet.approvals.approve("acme", task_id, person)
        told.approved.add(person.actor)
        if len(told.approved) >= told.quorum:
            told.status = S.PENDING
        assert task.status is told.status

    # --- the fleet -------------------------------------------------------------------------------------------------

    def register(self, agent: str) -> None:
        self.fleet.registry.register(SPECS[agent], owner="tests", takeover=True)

    @rule(agent=AGENTS, then=st.sampled_from(["stay", "leave", "drain", "resume"]))
    def come_and(self, agent: str, then: str) -> None:
        self.register(agent)
        if then == "leave":
            self.fleet.registry.leave(SPECS[agent].handle, self.fleet.session(SPECS[agent]))
        elif then != "stay":
            getattr(self.fleet.registry, then)(agent, SPECS[agent].workspace)

    # --- tickets and attempts --------------------------------------------------------------------------------------

    @rule(target=holds, most=st.integers(1, 4))
    def work(self, most: int) -> Any:
        """The next tickets reach agents of their lanes."""
        holds = []
        for _ in range(most):
            ticket = self.fleet.broker.take()
            if ticket is not None:
                spec = next(s for s in SPECS.values() if ticket.lane in (lane_of(s), f"@{s.handle}"))
                holds.append(self.claim(ticket, spec))
        return multiple(*filter(None, holds))

    @rule(target=holds, pick=PICKS, agent=AGENTS)
    def stray(self, pick: int, agent: str) -> Any:
        """Some ticket that was ever sent reaches any agent, wherever it came from."""
        sent = self.fleet.broker.sent
        hold = self.claim(sent[pick % len(sent)], SPECS[agent]) if sent else None
        return hold or multiple()

    def claim(self, ticket: Ticket, spec: AgentSpec) -> Hold | None:
        hold = self.fleet.hold(ticket)
        answer = self.fleet.scheduler.claim(hold, spec)
        told = self.model[ticket.task_id]
        if isinstance(answer, Claim):
            assert told.status is S.PENDING
            assert ticket.attempt == told.attempt + 1
            assert set(answer.task.required_capabilities) <= set(spec.capabilities)
            assert answer.task.target_agent_id in (None, spec.handle)
            told.status, told.attempt, told.hold, told.late = S.RUNNING, ticket.attempt, hold, None
            assert self.fleet.scheduler.claim(hold, spec) == answer
            return hold
        if answer == "taken":
            assert told.status is S.RUNNING
        elif answer == "final":
            assert told.status.final
        elif answer == "stale-ticket":
            assert ticket.attempt != told.attempt + 1
        elif answer == "incapable":
            task = self.fleet.get(ticket.task_id)
            if task.target_agent_id == spec.handle:
                self.model.end(ticket.task_id, S.FAILED)
        else:
            assert answer == "not-due"
            assert told.status in (S.PENDING, S.HELD)
        return None

    @rule(hold=holds)
    def finish(self, hold: Hold) -> None:
        told, number = self.model[hold.task_id], next(self.results)
        claim_of = SPECS["both"]
        if hold in (told.hold, told.late):
            task = self.fleet.scheduler.finish(hold, json.dumps(number).encode(), claim_of)
            assert task.result == number
            told.result = number
            self.model.end(hold.task_id, S.COMPLETED)
        elif told.status is S.COMPLETED and hold.lease == self.fleet.record(hold.task_id)["closed"].decode():
            assert self.fleet.scheduler.finish(hold, b'"again"', claim_of).result == told.result
        else:
            with pytest.raises(StaleAttempt):
                self.fleet.scheduler.finish(hold, json.dumps(number).encode(), claim_of)

    @rule(hold=consumes(holds), failure=st.sampled_from([HANDLER_ERROR, REJECTED, PROCESS_LOST]))
    def fail(self, hold: Hold, failure: object) -> None:
        told = self.model[hold.task_id]
        if hold == told.late:
            self.fleet.scheduler.fail(hold, failure, "both")  # type: ignore[arg-type]
        elif hold == told.hold:
            self.fleet.scheduler.fail(hold, failure, "both")  # type: ignore[arg-type]
            if failure is PROCESS_LOST:
                self.model.lose(hold.task_id)
                return
            told.history.add(told.attempt)
            if failure is HANDLER_ERROR and told.retries < told.max_retries:
                told.retries += 1
                told.status, told.hold = S.PENDING, None
            else:
                self.model.end(hold.task_id, S.FAILED)
        else:
            self.refused_or_repeated(lambda: self.fleet.scheduler.fail(hold, failure, "both"))  # type: ignore[arg-type]

    @rule(hold=holds, awaits=st.lists(tasks, max_size=3))
    def hand_back(self, hold: Hold, awaits: list[str]) -> None:
        told = self.model[hold.task_id]
        if hold == told.hold:
            open_ones = {other for other in awaits if not self.model[other].status.final} - {hold.task_id}
            self.fleet.scheduler.hand_back(hold, awaits=[other for other in awaits if other != hold.task_id])
            told.status, told.hold, told.awaits = S.PENDING, None, open_ones
        elif hold == told.late:
            self.fleet.scheduler.hand_back(hold)
        else:
            self.refused_or_repeated(lambda: self.fleet.scheduler.hand_back(hold))

    def refused_or_repeated(self, call: object) -> None:
        try:
            call()  # type: ignore[operator]
        except StaleAttempt:
            return

    # --- the monitor -----------------------------------------------------------------------------------------------

    @rule(pick=PICKS)
    def expire(self, pick: int) -> None:
        """Some lease runs out, and the monitor may judge it."""
        running = self.model.running()
        if not running:
            return
        task_id = running[pick % len(running)]
        self.fleet.expire(task_id)
        look = self.fleet.sweep()
        assert look.repairs["lost-lease"] == 1
        self.model.lose(task_id)

    @rule(judge=st.booleans(), lose=st.booleans(), idle=st.booleans())
    def sweep(self, judge: bool, lose: bool, idle: bool) -> None:
        names = [lane.name for lane in self.fleet.registry.lanes()]
        self.fleet.sweep(judge=judge, short=names if lose else (), idle=names if idle else ())

    @rule(pick=PICKS)
    def come_due(self, pick: int) -> None:
        delayed = sorted(member.decode() for member in self.fleet.client.zrange(self.fleet.keys("delayed"), 0, -1))
        if delayed:
            task_id = delayed[pick % len(delayed)]
            self.fleet.client.zadd(self.fleet.keys("delayed"), {task_id: 1})
            self.fleet.sweep()

    # --- after each step ----------------------------------------------------------------------------------------------

    @invariant()
    def the_store_is_sound(self) -> None:
        if hasattr(self, "fleet"):
            assert broken_invariants(self.fleet.client, self.fleet.config, "acme") == []
            assert list(self.inspector.inspect("acme")) == []

    @invariant()
    def the_store_agrees_with_the_model(self) -> None:
        model = getattr(self, "model", {})
        for (task_id, told), record in zip(model.items(), self.records(model), strict=True):
            task = read_task("acme", task_id, record)
            assert (task.status, task.attempt, task.retries) == (told.status, told.attempt, told.retries), task_id
            assert task.attempt >= self.attempts.get(task_id, 0)
            self.attempts[task_id] = task.attempt
            history = {entry["attempt"] for entry in (task.error or {}).get("history", ())}
            assert told.history <= history
            assert len(history) <= task.attempt
            assert bool(record.get("parked")) == bool(told.awaits), (task_id, told.awaits)
            if task_id in self.completed:
                assert (task.status, task.result) == (S.COMPLETED, self.completed[task_id])
            if task.status is S.COMPLETED:
                self.completed[task_id] = task.result

    def records(self, task_ids: Iterable[str]) -> list[dict[str, bytes]]:
        pipe = self.fleet.client.pipeline(transaction=False)
        for task_id in task_ids:
            pipe.hgetall(self.fleet.keys("task", task_id))
        return [as_record(found) for found in pipe.execute()]

    def each_task_completed_at_most_once(self) -> None:
        events = self.fleet.client.xrange(self.fleet.keys("events"))
        done = [event[b"task_id"] for _, event in events if event[b"event"] == b"completed"]
        assert len(done) == len(set(done))


def test_any_order_of_calls_keeps_every_promise(server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aragora_cp.store.sweeps.RESEND_MS", 0)
    monkeypatch.setattr("aragora_cp.store.sweeps.MOVE_MS", 0)
    SchedulerMachine.server = server
    phases = set(Phase) - {Phase.explain}  # which traces every line that is run
    run_state_machine_as_test(
        SchedulerMachine,
        settings=settings(max_examples=60, stateful_step_count=40, phases=phases),
    )
