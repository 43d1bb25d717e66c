"""Trails are sealed, trimmed and verified over a real store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from aragora_cp.audit import PLATFORM, AuditTrail
from aragora_cp.notary import Notary
from aragora_cp.store.trails import TrailStore
from aragora_cp.telemetry.origin import Origin
from aragora_cp.tenancy.findings import Report
from aragora_cp.tenancy.verification import Verifier
from tests.fleet import Fleet
from tests.servers import EVERY_SERVER
from tests.trails import signer
from tests.waiting import eventually

pytestmark = pytest.mark.parametrize("server", EVERY_SERVER, indirect=True)


class Hand:
    """A clock that a test moves, and a notary by it."""

    def __init__(self, fleet: Fleet, *, retention: float = 1000.0, signed: bool = True) -> None:
        self.now = 0.0
        config = replace(fleet.config, audit_retention=retention)
        store = TrailStore(fleet.client, config)
        self.notary = Notary(store, config, signer() if signed else None, clock=lambda: self.now)

    def second(self, *workspaces: str) -> int:
        self.now += 1
        self.notary.saw(workspaces)
        return self.notary.tick()


def export(fleet: Fleet, trail: str = "acme") -> list[dict[str, Any]]:
    records, cursor = [], None
    while True:
        part = fleet.plane.audit.export(trail, cursor)
        records += part.records
        cursor = part.next_cursor
        if cursor is None:
            return records


def verify(fleet: Fleet, trail: str = "acme", **more: Any) -> Report:
    verifier = Verifier(part=True, **more)
    for record in export(fleet, trail):
        verifier.feed(record)
    return verifier.end()


def submit(fleet: Fleet, count: int) -> None:
    for n in range(count):
        fleet.submit("nobody", correlation_id=f"c-{n}")


def test_each_second_what_is_new_is_sealed(fleet: Fleet) -> None:
    hand = Hand(fleet)
    submit(fleet, 3)
    fleet.agent()
    assert hand.second("acme") == 4  # three submits, and the agent in the platform's trail
    assert hand.notary.tick() == 0
    submit(fleet, 2)
    assert hand.second("acme") == 2
    assert hand.second("acme") == 0
    report = verify(fleet)
    assert report.ok, report.breaks
    assert (report.entries, report.seals, report.unsealed, report.keys) == (5, 2, 0, [signer().key])
    assert verify(fleet, PLATFORM).entries == 1
    submit(fleet, 1)
    assert verify(fleet).unsealed == 1
    assert fleet.plane.audit.verify("acme")[0].ok


def test_a_monitor_has_a_notary(fleet: Fleet) -> None:
    submit(fleet, 2)
    monitor = fleet.plane.monitor()
    assert monitor.tick()
    report = verify(fleet)
    assert report.ok, report.breaks
    assert (report.entries, report.keys) == (2, [])
    assert report.notes


def test_a_workspace_that_nobody_spoke_of_is_sealed_too(fleet: Fleet) -> None:
    hand = Hand(fleet)
    submit(fleet, 1)
    assert hand.second() == 1
    fleet.client.zrem(fleet.fleet_keys("active"), "acme")  # it was deleted
    fleet.plane.audit.refuse("acme", Origin("token:x", "192.0.2.1", "c"), "task.get", "t", "forbidden")
    fleet.client.zrem(fleet.fleet_keys("active"), "acme")
    eventually(hand.second, 2, "it is sealed", pause=0)
    assert verify(fleet).entries == 2


def test_more_than_one_seal_and_one_round_may_hold(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aragora_cp.notary.ENTRIES_A_SEAL", 4)
    monkeypatch.setattr("aragora_cp.notary.ENTRIES_A_ROUND", 8)
    monkeypatch.setattr("aragora_cp.store.trails.ENTRIES_A_PART", 5)
    hand = Hand(fleet)
    submit(fleet, 22)
    assert hand.second("acme") == 8
    assert [hand.notary.tick(), hand.notary.tick(), hand.notary.tick()] == [8, 6, 0]  # at once: it is behind
    report = verify(fleet)
    assert report.ok, report.breaks
    assert (report.entries, report.seals) == (22, 6)
    monkeypatch.setattr("aragora_cp.audit.VERIFIED_AT_ONCE", 5)
    cursor, seals, rounds = None, 0, 0
    while rounds == 0 or cursor:
        found, cursor = fleet.plane.audit.verify("acme", cursor)
        assert found.ok, found.breaks
        seals, rounds = seals + found.seals, rounds + 1
    assert seals == 6
    assert rounds > 1


def test_many_monitors_make_one_chain(fleet: Fleet) -> None:
    """Every round all of them seal at once, while entries come in."""
    hands = [Hand(fleet, signed=False) for _ in range(4)]
    barrier = threading.Barrier(len(hands) + 1)

    def seal(hand: Hand) -> None:
        for _ in range(15):
            barrier.wait(10)
            hand.second("acme")

    threads = [threading.Thread(target=seal, args=(hand,)) for hand in hands]
    for thread in threads:
        thread.start()
    for _ in range(15):
        barrier.wait(10)
        submit(fleet, 5)
    for thread in threads:
        thread.join()
    hands[0].second("acme")
    report = verify(fleet)
    assert report.ok, report.breaks
    assert (report.entries, report.unsealed) == (75, 0)
    assert report.seals >= 10


def test_old_segments_go_whole_and_the_rest_still_verifies(fleet: Fleet) -> None:
    hand = Hand(fleet, retention=0.2)
    for _ in range(4):
        submit(fleet, 5)
        hand.second("acme")
    before = verify(fleet).head
    assert before is not None
    eventually(lambda: minute(fleet, hand), 5, "the old ones go", pause=0.05)
    report = verify(fleet, checkpoint=before)
    assert report.ok, report.breaks
    assert report.begins_after >= 4
    assert fleet.client.xlen(fleet.keys("audit")) < 20
    submit(fleet, 2)
    hand.second("acme")
    report = verify(fleet, checkpoint=before)
    assert report.ok, report.breaks
    assert report.head is not None
    assert report.head.total >= 23
    assert fleet.plane.audit.verify("acme")[0].ok


def minute(fleet: Fleet, hand: Hand) -> bool:
    hand.now += 60
    hand.second("acme")
    return verify(fleet).begins_after >= 4


def test_what_is_not_sealed_is_never_removed(fleet: Fleet) -> None:
    submit(fleet, 3)
    trails = TrailStore(fleet.client, fleet.config)
    far = trails.now() + 10**9
    assert trails.trim(["acme"], begin_ms=far, before_ms=far) == {}
    Hand(fleet).second("acme")
    submit(fleet, 2)
    assert trails.trim(["acme"], begin_ms=far, before_ms=far) == {"acme": 3}
    assert trails.trim(["acme"], begin_ms=far, before_ms=far) == {}
    assert verify(fleet).unsealed == 3  # the two, and the one that tells of the trim


def tamper(fleet: Fleet, what: str) -> None:
    client, audit, seals = fleet.client, fleet.keys("audit"), fleet.keys("seals")
    ids = [entry_id for entry_id, _ in client.xrange(audit)]  # type: ignore[union-attr]
    if what == "remove":
        client.xdel(audit, ids[4])
    elif what == "cut":
        client.xdel(audit, *ids[-2:])
        client.xdel(seals, "3-0")
    elif what == "trim":
        client.xtrim(audit, minid=ids[3].decode(), approximate=False)
        client.xtrim(seals, minid="2-0", approximate=False)
    elif what == "add":
        client.xadd(audit, {"action": "x"}, id=ids[-1].decode().split("-")[0] + "-9999")
    else:
        entries = client.xrange(audit)
        client.delete(audit)
        for n, (entry_id, fields) in enumerate(entries):  # type: ignore[arg-type]
            changed = fields | ({b"actor": b"agent:other"} if n == 4 and what == "edit" else {})
            if n in (3, 4) and what == "swap":
                changed = entries[7 - n][1]  # type: ignore[index]
            client.xadd(audit, changed, id=entry_id)


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("remove", "removed"),
        ("edit", "edited"),
        ("swap", "edited"),
        ("cut", "cut-tail"),
        ("trim", "removed"),
        ("add", ""),
    ],
)
def test_whoever_has_the_store_is_found_out(fleet: Fleet, what: str, kind: str) -> None:
    hand = Hand(fleet)
    for _ in range(3):
        submit(fleet, 3)
        hand.second("acme")
    assert verify(fleet).ok
    tamper(fleet, what)
    report = verify(fleet)
    if not kind:  # what is added at the end is an entry like any other until somebody reads it
        assert report.ok
        assert report.unsealed == 1
        return
    assert report.breaks, what
    assert report.breaks[0].kind == kind
    assert fleet.plane.audit.verify("acme")[0].breaks == report.breaks


def test_a_store_that_was_put_back_is_found_by_a_checkpoint(fleet: Fleet) -> None:
    hand = Hand(fleet)
    submit(fleet, 3)
    hand.second("acme")
    kept = {key: fleet.client.dump(key) for key in (fleet.keys("audit"), fleet.keys("seals"))}
    submit(fleet, 3)
    hand.second("acme")
    held = verify(fleet).head

    def put_back() -> None:
        for key, value in kept.items():
            fleet.client.restore(key, 0, value, replace=True)  # type: ignore[arg-type]

    put_back()
    assert verify(fleet).ok
    assert verify(fleet, checkpoint=held).breaks[0].kind == "rolled-back"
    submit(fleet, 4)
    hand.second("acme")
    assert verify(fleet).ok
    assert verify(fleet, checkpoint=held).breaks[0].kind == "fork"


def test_a_trail_that_cannot_be_sealed_does_not_stop_the_others(fleet: Fleet) -> None:
    hand = Hand(fleet)
    submit(fleet, 1)
    fleet.client.set(fleet.keys("seals").replace("acme", "broken"), "x")
    assert hand.second("broken", "acme") == 1
    assert verify(fleet).ok


def counted(fleet: Fleet, action: str) -> int:
    return sum(entry[b"action"] == action.encode() for _, entry in fleet.client.xrange(fleet.keys("audit")))


def test_refusals_are_bounded_and_counted(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    audit: AuditTrail = fleet.plane.audit
    refuse: Callable[..., None] = lambda address: audit.refuse(  # noqa: E731
        "acme", Origin("token:x", address, "c"), "task.cancel", "t", "forbidden"
    )
    for _ in range(50):
        refuse("192.0.2.1")
    assert counted(fleet, "task.cancel") in (20, 40)  # a minute may have begun in between
    for n in range(200):
        refuse(f"198.51.100.{n}")
    noted = counted(fleet, "task.cancel")
    assert noted in range(60, 121)
    fleet.client.hset(fleet.keys("refused"), "minute", 1)
    Hand(fleet).second("acme")
    assert counted(fleet, "refusals.more") >= 1
    more = [e for e in fleet.plane.audit.list("acme", limit=200).items if e["action"] == "refusals.more"]
    assert sum(each["after"]["count"] for each in more) + noted == 250
    assert not fleet.client.exists(fleet.keys("refused"))


def test_a_workspaces_trail_tells_of_its_agents_and_tokens_once(fleet: Fleet) -> None:
    fleet.plane.workspaces.create("acme", {})
    hand = Hand(fleet)
    own = fleet.agent("own", workspace="acme")
    fleet.agent("everybodys")
    fleet.registry.drain("own", own.workspace)
    platform = [entry["action"] for entry in fleet.plane.audit.list(PLATFORM).items]
    assert platform.count("agent.register") == 2
    rows = fleet.trails.unsealed([PLATFORM], 100)[0].entries
    hand.second("acme")
    fleet.trails.take_over({"acme": [row for row in rows if b'"acme"' in row[1][b"after"]]})  # by a monitor that lagged
    hand.second("acme")
    told = [entry for entry in fleet.plane.audit.list("acme").items if entry["kind"] == "agent"]
    assert [(entry["action"], entry["target"]) for entry in told] == [
        ("agent.drain", "acme/own"),
        ("agent.register", "acme/own"),
    ]
    assert verify(fleet).ok
    assert verify(fleet, PLATFORM).ok
