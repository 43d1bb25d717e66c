"""Alerts: one message for each incident and one for its end, whoever judges, restarts or is away."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import redis

from aragora_cp.errors import NotFound
from aragora_cp.health.delivery import Deliverer
from aragora_cp.health.rules import Rule, Signal
from aragora_cp.health.sinks import NotDelivered, Told
from aragora_cp.store import alerts as alerts_module
from aragora_cp.store.alerts import AlertStore, Silence
from aragora_cp.telemetry.meters import Tally
from tests.fleet import Fleet
from tests.servers import EVERY_SERVER
from tests.waiting import eventually

pytestmark = pytest.mark.parametrize("server", EVERY_SERVER, indirect=True)

AT_ONCE = Rule("breaker-open", "warning", 0, 0, "at once")
SLOW = Rule("oldest-wait", "critical", 0.4, 0.4, "after a while")
RULES_HERE = {rule.name: rule for rule in (AT_ONCE, SLOW)}


class Recorder:
    """A sink that remembers, and fails as often as it is told to."""

    def __init__(self, name: str = "here", fails: int = 0) -> None:
        self.name = name
        self.refreshed = False
        self.fails = fails
        self.got: list[tuple[str, str, Told]] = []

    def send(self, delivery_id: str, told: Told) -> None:
        if self.fails:
            self.fails -= 1
            raise NotDelivered("not today")
        self.got.append((told["kind"], delivery_id, told))

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.got]


@pytest.fixture
def sink() -> Recorder:
    return Recorder()


@pytest.fixture
def store(fleet: Fleet) -> AlertStore:
    return AlertStore(fleet.client, fleet.config, RULES_HERE, ["here"])


@pytest.fixture
def deliverer(store: AlertStore, sink: Recorder) -> Deliverer:
    return Deliverer(store, [sink], Tally())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aragora_cp.health.delivery.FIRST_WAIT_MS", 30)


def judge(store: AlertStore, rule: Rule, *subjects: str, workspace: str = "", epoch: int = 0) -> dict[str, int]:
    found = [Signal(rule.name, subject, f"{subject} is not well", workspace) for subject in subjects]
    return store.judge({rule.name: found}, epoch=epoch)


def told(deliverer: Deliverer, sink: Recorder) -> list[str]:
    while deliverer.round():
        pass
    return sink.kinds


def test_one_message_for_an_incident_and_one_for_its_end(
    store: AlertStore, sink: Recorder, deliverer: Deliverer
) -> None:
    for _ in range(5):
        assert judge(store, AT_ONCE, "a1") == {"warning": 1}
        told(deliverer, sink)
    assert sink.kinds == ["firing"]
    for _ in range(3):
        judge(store, AT_ONCE)
    assert told(deliverer, sink) == ["firing", "resolved"]
    first, second = (each for _, _, each in sink.got)
    assert first["incident"] == second["incident"]
    assert (first["rule"], first["subject"], first["text"]) == ("breaker-open", "a1", "a1 is not well")
    assert second["ended_at"] >= second["fired_at"]
    judge(store, AT_ONCE, "a1")
    assert told(deliverer, sink)[2:] == ["firing"]
    assert sink.got[2][2]["incident"] != first["incident"]


def test_what_comes_and_goes_is_one_incident(store: AlertStore, sink: Recorder, deliverer: Deliverer) -> None:
    judge(store, SLOW, "acme")
    judge(store, SLOW)
    assert store.open(None) == []  # it did not hold for long enough to be one

    eventually(lambda: judge(store, SLOW, "acme")["critical"], 3, "it fires")
    for _ in range(3):
        judge(store, SLOW)
        judge(store, SLOW, "acme")
    assert told(deliverer, sink) == ["firing"]
    eventually(lambda: not judge(store, SLOW)["critical"], 3, "it ends")
    assert told(deliverer, sink) == ["firing", "resolved"]


def test_many_judges_make_one_alert(store: AlertStore, fleet: Fleet, sink: Recorder, deliverer: Deliverer) -> None:
    def look() -> None:
        for _ in range(20):
            judge(store, AT_ONCE, "a1", "a2")

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert told(deliverer, sink) == ["firing", "firing"]
    entries: Any = fleet.client.xrange(fleet.fleet_keys("audit"))
    assert [fields[b"action"] for _, fields in entries].count(b"alert.fire") == 2


def test_a_deposed_leader_changes_nothing(store: AlertStore, fleet: Fleet) -> None:
    fleet.client.set(fleet.fleet_keys("epoch"), 3)
    judge(store, AT_ONCE, "a1", epoch=2)
    assert store.open(None) == []
    judge(store, AT_ONCE, "a1", epoch=3)
    judge(store, AT_ONCE, epoch=2)
    assert [each.state for each in store.open(None)] == ["firing"]


def test_a_sink_that_fails_is_tried_again_with_the_same_id(
    store: AlertStore, sink: Recorder, deliverer: Deliverer, quick: None
) -> None:
    sink.fails = 3
    judge(store, AT_ONCE, "a1")
    judge(store, AT_ONCE)  # its end must not come before its beginning
    deliverer.round()
    (waiting, _) = sorted(store.deliveries("waiting", 10), key=lambda each: each["kind"])
    assert (waiting["kind"], waiting["attempts"], waiting["reason"]) == ("firing", 1, "not today")
    eventually(lambda: told(deliverer, sink) == ["firing", "resolved"], 5, "both are delivered")
    assert store.deliveries("waiting", 10) == []


def test_what_was_taken_and_not_settled_is_due_again(
    store: AlertStore, sink: Recorder, deliverer: Deliverer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies between taking and telling."""
    monkeypatch.setattr(alerts_module, "DELIVERY_LEASE_MS", 100)
    judge(store, AT_ONCE, "a1")
    assert len(store.take(["here"], 10)) == 1
    assert store.take(["here"], 10) == []
    eventually(lambda: told(deliverer, sink) == ["firing"], 5, "another delivers it")


def test_a_slow_sink_keeps_no_other_waiting_and_is_given_up_in_the_end(
    store: AlertStore, fleet: Fleet, sink: Recorder, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = AlertStore(fleet.client, fleet.config, RULES_HERE, ["here", "there"])
    broken = Recorder("there", fails=1000)
    deliverer = Deliverer(both, [sink, broken], Tally())
    judge(both, AT_ONCE, "a1")
    told(deliverer, sink)
    assert (sink.kinds, broken.kinds) == (["firing"], [])
    monkeypatch.setattr("aragora_cp.health.delivery.GIVEN_UP_MS", 0)
    eventually(lambda: deliverer.round() and both.deliveries("dead", 10), 5, "it is given up")
    (dead,) = both.deliveries("dead", 10)
    assert (dead["sink"], dead["reason"]) == ("there", "not today")
    judge(both, AT_ONCE)
    assert told(deliverer, sink) == ["firing", "resolved"]


def test_a_fault_of_a_sink_tells_none_of_its_words(store: AlertStore, sink: Recorder, quick: None) -> None:
    def explode(delivery_id: str, told: Told) -> None:
        raise ValueError("https://user:secret@example.org")

    sink.send = explode  # type: ignore[method-assign]
    judge(store, AT_ONCE, "a1")
    Deliverer(store, [sink], Tally()).round()
    (waiting,) = store.deliveries("waiting", 10)
    assert waiting["reason"] == "a fault of the sink (ValueError)"


class TestSilences:
    @pytest.fixture
    def ends(self, fleet: Fleet) -> int:
        return fleet.plane.tokens.now() + 60_000

    def test_nothing_is_told_until_it_ends(
        self, store: AlertStore, sink: Recorder, deliverer: Deliverer, ends: int
    ) -> None:
        store.silence(Silence("night", "", "a1", "", ends, "maintenance", "tests"))
        judge(store, AT_ONCE, "a1", "a2")
        told(deliverer, sink)
        assert [each["subject"] for _, _, each in sink.got] == ["a2"]
        assert {each.subject: each.silenced for each in store.open(None)} == {"a1": True, "a2": False}
        store.unsilence("", "night")
        judge(store, AT_ONCE, "a1", "a2")
        told(deliverer, sink)
        assert [each["subject"] for _, _, each in sink.got] == ["a2", "a1"]

    def test_an_end_is_told_to_those_only_who_were_told_of_the_beginning(
        self, store: AlertStore, sink: Recorder, deliverer: Deliverer, ends: int
    ) -> None:
        store.silence(Silence("night", "breaker-open", "", "", ends, "", "tests"))
        judge(store, AT_ONCE, "a1")
        judge(store, AT_ONCE)
        assert told(deliverer, sink) == []
        assert [each.subject for each in store.ended(None, 10)] == ["a1"]

    def test_a_workspaces_silence_is_good_for_its_own_alerts(
        self, store: AlertStore, sink: Recorder, deliverer: Deliverer, ends: int
    ) -> None:
        store.silence(Silence("all", "", "", "acme", ends, "", "tests"))
        for subject, workspace in (("mine", "acme"), ("theirs", "beta"), ("shared", "")):
            store.judge({AT_ONCE.name: [Signal(AT_ONCE.name, subject, "", workspace)]})
        told(deliverer, sink)
        assert {each["subject"] for _, _, each in sink.got} == {"theirs", "shared"}
        assert [each.name for each in store.silences("acme")] == ["all"]
        assert store.silences("beta") == []
        with pytest.raises(NotFound):
            store.unsilence("beta", "all")

    def test_one_that_has_ended_silences_nothing(
        self, store: AlertStore, sink: Recorder, deliverer: Deliverer, ends: int
    ) -> None:
        store.silence(Silence("past", "", "", "", ends - 120_000, "", "tests"))
        judge(store, AT_ONCE, "a1")
        assert told(deliverer, sink) == ["firing"]
        assert store.silences(None) == []


def test_alerts_are_their_workspaces(store: AlertStore) -> None:
    store.judge({AT_ONCE.name: [Signal(AT_ONCE.name, "a", "", "acme"), Signal(AT_ONCE.name, "b", "", "beta")]})
    assert [each.subject for each in store.open("acme")] == ["a"]
    assert {each.subject for each in store.open(None)} == {"a", "b"}
    store.judge({AT_ONCE.name: []})
    assert [each.subject for each in store.ended("beta", 10)] == ["b"]


def test_a_sink_that_forgets_hears_again_of_what_goes_on(
    fleet: Fleet, sink: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts_module, "REFRESH_MS", 50)
    forgets = Recorder("forgets")
    store = AlertStore(fleet.client, fleet.config, RULES_HERE, ["here", "forgets"], ["forgets"])
    deliverer = Deliverer(store, [sink, forgets], Tally())

    def again() -> bool:
        judge(store, AT_ONCE, "a1")
        told(deliverer, sink)
        return len(forgets.kinds) >= 3

    eventually(again, 5, "it is told again")
    assert sink.kinds == ["firing"]


def test_the_store_is_bounded(store: AlertStore, client: redis.Redis, fleet: Fleet) -> None:
    """Nothing is left of an incident that has ended and was told, but a line of the log."""
    for n in range(5):
        judge(store, AT_ONCE, f"a{n}")
        judge(store, AT_ONCE)
    for delivery in [*store.take(["here"], 100), *store.take(["here"], 100)]:
        store.settle(delivery, "done")
    names = {
        key.decode().removeprefix(fleet.fleet_keys.root) for key in client.scan_iter(f"{fleet.config.key_prefix}*")
    }
    assert not {name for name in names if name.startswith("alert:")}


def test_the_leader_judges_what_it_sees(fleet: Fleet) -> None:
    """The real rules, the monitor's own rounds: an agent that falls silent, and one that comes back."""
    monitor, alerts = fleet.plane.monitor(), fleet.plane.watch().alerts
    spec = fleet.agent("a1")
    monitor.tick()
    fleet.client.zadd(fleet.fleet_keys("beats"), {spec.handle: 1})
    fleet.client.hset(fleet.fleet_keys("tick"), "judge_from", 0)

    def firing() -> list[tuple[str, str]]:
        monitor.tick()
        return [(each.rule, each.subject) for each in alerts.open(None) if each.state == "firing"]

    eventually(lambda: ("agent-offline", spec.handle) in firing(), 5, "it is missed")
    fleet.registry.register(spec, owner="tests", takeover=True)
    eventually(lambda: ("agent-offline", spec.handle) not in firing(), 10, "it is back")
