"""What counts as healthy, what is worth an alert, and questions that nobody answers."""

from __future__ import annotations

import threading
import time

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.health.asking import BoundedQuestion
from aragora_cp.health.rates import LEAST, WINDOW, FailureRates
from aragora_cp.health.report import SILENT_MS, report
from aragora_cp.health.rules import MOST_SUBJECTS, Facts, Signal, by_rule, decided, signals
from aragora_cp.store.health import Gathered, Instance, Lost
from aragora_cp.store.sweeps import Queue

NOW = 10_000_000
CONFIG = ControlPlaneConfig()


def facts(**changes: object) -> Facts:
    gathered = {"now": NOW, "online": 1, "lost_count": 0, "lost": (), "instances": (), "memory_used": 1}
    gathered |= {"memory_limit": 0} | {name: value for name, value in changes.items() if name in Gathered.__slots__}
    own = {"queues": {}, "failing": {}, "seal_lag": 0.0}
    own |= {name: value for name, value in changes.items() if name in own}
    return Facts(Gathered(**gathered), **own)  # type: ignore[arg-type]


def judged(told: Facts) -> tuple[str, list[str]]:
    found = report(told, [], 0, [], {})
    return found["status"], found["reasons"]


def rules(told: Facts) -> set[str]:
    return {signal.rule for signal in signals(told, CONFIG)}


def web(silent_ms: int = 0, *failing: str) -> Instance:
    return Instance("web", silent_ms, not failing, failing)


def test_what_makes_the_whole_unwell() -> None:
    assert judged(facts()) == ("healthy", [])
    assert judged(facts(online=0)) == ("degraded", ["no agent is online"])
    assert judged(facts(lost=(Lost("a", None, 1),)))[0] == "degraded"
    assert judged(facts(memory_used=96, memory_limit=100))[0] == "unhealthy"
    assert judged(facts(seal_lag=61.0))[0] == "degraded"


def test_what_one_tenant_does_makes_nobody_else_unwell() -> None:
    queue = Queue(pending=1, oldest_since=1, unserved={"nonsense": 1})
    told = facts(queues={"acme": queue}, lost=(Lost("acme/a", "acme", 1),))
    assert judged(told) == ("healthy", [])
    assert rules(told) == {"capability-without-agents", "oldest-wait", "agent-offline"}
    assert {signal.workspace for signal in signals(told, CONFIG)} == {"acme"}


def test_processes_that_fail_and_processes_that_are_gone() -> None:
    assert judged(facts(instances=(web(), web(0, "broker"))))[1] == ["1 of 2 web processes fail: broker"]
    assert judged(facts(instances=(web(), web(SILENT_MS + 1))))[1] == []
    assert judged(facts(instances=(web(SILENT_MS + 1),)))[1] == ["no web process is left"]
    assert judged(facts(instances=(web(0, "leader"),)))[1] == []


def test_signals_at_their_bounds() -> None:
    assert rules(facts()) == set()
    waits = {"acme": Queue(pending=1, oldest_since=NOW - round(CONFIG.alert_oldest_wait * 1000))}
    assert rules(facts(queues=waits)) == set()
    waits = {"acme": Queue(pending=1, oldest_since=NOW - round(CONFIG.alert_oldest_wait * 1000) - 1)}
    assert rules(facts(queues=waits)) == {"oldest-wait"}
    assert rules(facts(failing={"acme": (0.5, 20), "beta": (0.51, 20)})) == {"failure-rate"}
    assert rules(facts(memory_used=86, memory_limit=100)) == {"store-memory"}
    assert "failure-rate" not in set(decided(facts(failing=None)))


def test_a_rule_has_so_many_subjects_and_no_more() -> None:
    many = by_rule(Signal("agent-offline", str(n), "") for n in range(10 * MOST_SUBJECTS))
    assert len(many["agent-offline"]) == MOST_SUBJECTS


def test_failure_rates_slide() -> None:
    now = 0.0
    rates = FailureRates(lambda: now)
    rates.add("acme", {"tasks_ended|failed": LEAST, "tasks_submitted": 9})
    assert rates.shares() is None  # too early to say
    now = WINDOW
    rates.add("acme", {"tasks_ended|completed": LEAST})
    rates.add("beta", {"tasks_ended|failed": LEAST - 1})
    assert rates.shares() == {"acme": (0.5, 2 * LEAST)}
    now = WINDOW + 1
    assert rates.shares() == {"acme": (0.0, LEAST)}
    now = 3 * WINDOW
    assert rates.shares() == {}


def test_a_question_without_an_answer_is_a_no_in_time() -> None:
    gate, asked = threading.Event(), []

    def ask() -> bool:
        asked.append(1)
        return gate.wait(10)

    question = BoundedQuestion(ask, patience=0.05, fresh=60)
    begun = time.monotonic()
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(question.answer())) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert (answers, len(asked)) == ([False] * 10, 1)
    assert time.monotonic() - begun < 2
    gate.set()
    patient = time.monotonic() + 5
    while not question.answer():
        assert time.monotonic() < patient
    assert question.answer() is True
    assert len(asked) == 1


def test_a_question_that_fails_is_a_no() -> None:
    assert BoundedQuestion(lambda: 1 // 0 == 0).answer() is False
