"""Any order of what may happen to tasks and budgets, over the real scripts; a model says what must be counted."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from aragora_cp.budgets import Budget
from aragora_cp.errors import BudgetExceeded, TaskCancelled
from aragora_cp.model import Claim, Usage
from aragora_cp.store.inspection import Inspector
from tests.conftest import short_config
from tests.fleet import Fleet
from tests.servers import EVERY_SERVER, StoreServer

pytestmark = pytest.mark.parametrize("server", EVERY_SERVER, indirect=True)

LIMITS = {"all": 1000, "type": 400, "soft": 300}
AMOUNTS = st.integers(0, 250)


@dataclass
class Live:
    kind: str
    left: int
    claim: Claim | None = None


def machine_for(server: StoreServer) -> type[RuleBasedStateMachine]:
    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.fleet = Fleet(short_config(server))
            scopes = {"type": ("task_type", "t")}
            for name, limit in LIMITS.items():
                scope, value = scopes.get(name, (None, ""))
                made = Budget(name, limit, "month", hard=name != "soft", scope=scope, value=value)
                self.fleet.plane.budgets.put("acme", made, by_platform=False)
            self.spec = self.fleet.agent()
            self.live: dict[str, Live] = {}
            self.spent = dict.fromkeys(LIMITS, 0)
            self.overrun = dict.fromkeys(LIMITS, 0)

        def teardown(self) -> None:
            findings = list(Inspector(self.fleet.client, self.fleet.config).inspect("acme"))
            self.fleet.close()
            assert not findings

        def budgets_of(self, kind: str) -> list[str]:
            return [name for name in LIMITS if name != "type" or kind == "t"]

        def reserved(self, name: str) -> int:
            return sum(task.left for task in self.live.values() if name in self.budgets_of(task.kind))

        def use(self, task: Live, cost: int) -> bool:
            """What a cost does; whether it goes beyond a hard budget."""
            over = False
            taken = min(cost, task.left)
            room = {name: max(0, LIMITS[name] - self.spent[name] - self.reserved(name)) for name in LIMITS}
            for name in self.budgets_of(task.kind):
                beyond = max(0, cost - taken - room[name]) if name != "soft" else 0
                self.spent[name] += cost - beyond
                self.overrun[name] += beyond
                over = over or beyond > 0
            task.left -= taken
            return over

        @rule(kind=st.sampled_from(["t", "u"]), estimate=AMOUNTS)
        def submit(self, kind: str, estimate: int) -> None:
            fits = all(
                self.spent[name] + self.reserved(name) < LIMITS[name]
                and self.spent[name] + self.reserved(name) + estimate <= LIMITS[name]
                for name in self.budgets_of(kind)
                if name != "soft"
            )
            try:
                task = self.fleet.submit(task_type=kind, estimate_micros=estimate)
            except BudgetExceeded:
                assert not fits
                return
            assert fits
            ticket = self.fleet.broker.take_for(task.task_id)
            self.live[task.task_id] = Live(kind, estimate, self.fleet.claim(self.spec, ticket) if ticket else None)

        def pick(self, data: st.DataObject) -> tuple[str, Live]:
            running = sorted(task_id for task_id, task in self.live.items() if task.claim)
            task_id = data.draw(st.sampled_from(running))
            return task_id, self.live[task_id]

        @precondition(lambda self: any(task.claim for task in self.live.values()))
        @rule(data=st.data(), cost=AMOUNTS)
        def report(self, data: st.DataObject, cost: int) -> None:
            task_id, task = self.pick(data)
            assert task.claim
            over = self.use(task, cost)
            try:
                self.fleet.scheduler.progress(task.claim.hold, cost=f"{cost / 1_000_000:.6f}")
                assert not over
            except TaskCancelled:
                assert over
                del self.live[task_id]

        @precondition(lambda self: any(task.claim for task in self.live.values()))
        @rule(data=st.data(), cost=AMOUNTS)
        def finish(self, data: st.DataObject, cost: int) -> None:
            task_id, task = self.pick(data)
            assert task.claim
            self.use(task, cost)
            for _ in range(2):
                self.fleet.scheduler.finish(
                    task.claim.hold, b"1", self.spec, usage=Usage.of(cost=f"{cost / 1_000_000:.6f}")
                )
            del self.live[task_id]

        @precondition(lambda self: self.live)
        @rule(data=st.data())
        def cancel(self, data: st.DataObject) -> None:
            task_id = data.draw(st.sampled_from(sorted(self.live)))
            self.fleet.scheduler.cancel("acme", task_id)
            del self.live[task_id]

        @invariant()
        def counted(self) -> None:
            for found in self.fleet.plane.budgets.read("acme"):
                name = found.budget.name
                model = (self.spent[name], self.reserved(name), self.overrun[name])
                assert (found.spent, found.reserved, found.overrun) == model, name
                assert name == "soft" or found.spent + found.reserved <= LIMITS[name]

    return Machine


def test_spent_and_reserved_never_exceed_a_hard_limit(server: StoreServer) -> None:
    run_state_machine_as_test(
        machine_for(server),
        settings=settings(
            max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
