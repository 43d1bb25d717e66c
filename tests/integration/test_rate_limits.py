"""Rate limits in a real store: as many as allowed and not one more, whoever comes at once."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import pytest

from aragora_cp.errors import IdempotencyConflict, QuotaExceeded, RateLimited
from aragora_cp.model import NewTask, Submission
from tests.conftest import short_config
from tests.crowds import at_once
from tests.fleet import Fleet
from tests.servers import EVERY_SERVER, StoreServer
from tests.waiting import eventually

pytestmark = pytest.mark.parametrize("server", EVERY_SERVER, indirect=True)

#: So long that nothing comes back while a test runs.
LONG = 86400.0


def limited(fleet: Fleet, **limits: dict[str, Any]) -> None:
    fleet.plane.workspaces.create("acme", {"rate_limits": limits})


def admit(fleet: Fleet, **more: Any) -> Submission:
    return fleet.scheduler.admit(fleet.new(**more))


def signals(fleet: Fleet, kind: str) -> list[str]:
    events: Any = fleet.client.xrange(fleet.keys("events"))
    return [told[b"about"].decode() for _, told in events if told[b"event"] == kind.encode()]


def test_of_many_at_once_exactly_the_limit_is_let_in(fleet: Fleet) -> None:
    limited(fleet, submit={"limit": 20, "period": LONG})
    answers = at_once([lambda: admit(fleet) for _ in range(60)])
    told = Counter(type(answer) for answer in answers)
    assert told == {Submission: 20, RateLimited: 40}
    left = sorted(answer.rate_limits[0].left for answer in answers if isinstance(answer, Submission))
    assert left == list(range(20))
    assert fleet.client.zcard(fleet.keys("tasks")) == 20
    report = fleet.plane.limits.read("acme")[0]
    assert (report.refused, report.would_refuse, report.standing and report.standing.left) == (40, 0, 0)


def test_it_fills_evenly_and_the_refusal_says_when(fleet: Fleet) -> None:
    limited(fleet, submit={"limit": 10, "period": 1, "burst": 2})
    for _ in range(2):
        admit(fleet)
    with pytest.raises(RateLimited) as refused:
        admit(fleet)
    error = refused.value
    assert (error.policy, error.limit, error.window) == ("submit", 10, 1.0)
    assert error.retry_after is not None
    assert 0 < error.retry_after <= 0.1
    time.sleep(error.retry_after)  # its subject is time itself
    assert admit(fleet).rate_limits[0].left == 0


def test_a_limits_key_ends_by_itself(fleet: Fleet) -> None:
    limited(fleet, submit={"limit": 10, "period": 1})
    admit(fleet)
    key = fleet.keys("rate", "submit", "")
    assert fleet.client.exists(key) == 1
    eventually(lambda: not fleet.client.exists(key), 2, "the key is gone", pause=0.01)


def test_several_are_taken_together_or_not_at_all(fleet: Fleet) -> None:
    limited(fleet, day={"limit": 3, "period": LONG}, burst={"limit": 5, "period": LONG})
    for _ in range(3):
        admit(fleet)
    for _ in range(4):
        with pytest.raises(RateLimited, match="rate limit day"):
            admit(fleet)
    left = {each.name: each.standing.left for each in fleet.plane.limits.read("acme") if each.standing}
    assert left == {"burst": 2, "day": 0}


def test_what_another_check_refuses_takes_nothing(fleet: Fleet) -> None:
    fleet.plane.workspaces.create("acme", {"rate_limits": {"submit": {"limit": 9, "period": LONG}}, "max_pending": 1})
    admit(fleet)
    with pytest.raises(QuotaExceeded) as refused:
        admit(fleet)
    assert refused.value.rate_limits[0].left == 8


def test_a_repeated_submit_takes_nothing_and_is_never_refused(fleet: Fleet) -> None:
    limited(fleet, submit={"limit": 1, "period": LONG})
    first = admit(fleet, idempotency_key="k")
    assert admit(fleet, idempotency_key="k").task == first.task
    with pytest.raises(IdempotencyConflict):
        admit(fleet, idempotency_key="k", payload=b"{}")
    with pytest.raises(RateLimited):
        admit(fleet, idempotency_key="other")


def test_a_limit_per_token_counts_each_by_itself(fleet: Fleet) -> None:
    limited(fleet, mine={"limit": 2, "period": LONG, "per": "token"})
    for actor in ("token:a", "token:b"):
        for _ in range(2):
            admit(fleet, actor=actor)
        with pytest.raises(RateLimited):
            admit(fleet, actor=actor)
    assert fleet.plane.limits.read("acme")[0].standing is None


def test_shadow_counts_and_refuses_nothing(fleet: Fleet) -> None:
    limited(fleet, tried={"limit": 2, "period": LONG, "shadow": True})
    for _ in range(5):
        admit(fleet)
    report = fleet.plane.limits.read("acme")[0]
    assert (report.refused, report.would_refuse) == (0, 3)


def test_nearness_is_told_once_a_crossing(fleet: Fleet) -> None:
    limited(fleet, submit={"limit": 10, "period": 1})
    for _ in range(10):
        admit(fleet)
    assert signals(fleet, "near-limit") == ["submit"]
    eventually(lambda: not fleet.client.exists(fleet.keys("rate", "submit", "")), 3, "it is calm again")
    for _ in range(9):
        admit(fleet)
    assert signals(fleet, "near-limit") == ["submit"] * 2


def test_a_change_holds_in_the_next_script(fleet: Fleet) -> None:
    limited(fleet, submit={"limit": 1, "period": LONG})
    admit(fleet)
    with pytest.raises(RateLimited):
        admit(fleet)
    fleet.plane.workspaces.change("acme", {"rate_limits": {"submit": {"limit": 3, "period": LONG, "burst": 3}}})
    assert fleet.plane.limits.read("acme")[0].refused == 0
    fleet.plane.workspaces.change("acme", {"rate_limits": {}})
    assert admit(fleet).rate_limits == ()
    fleet.plane.workspaces.change("acme", {"rate_limits": None})
    assert fleet.plane.limits.read("acme") == []


def test_the_platforms_limits_hold_where_a_workspace_has_none(server: StoreServer) -> None:
    config = short_config(server, rate_limits=json.dumps({"all": {"limit": 1, "period": LONG}}))
    parts = Fleet(config)
    try:
        parts.plane.workspaces.create("acme", {})
        parts.plane.workspaces.create("free", {"rate_limits": {}})
        admit(parts)
        with pytest.raises(RateLimited, match="rate limit all"):
            admit(parts)
        for _ in range(3):
            parts.scheduler.submit(NewTask("free", "t", b"{}"))
    finally:
        parts.close()


def test_the_last_day_of_a_long_period_counts_as_exactly(fleet: Fleet) -> None:
    """The numbers are largest there: 31 days in microseconds on top of the present."""
    limited(fleet, month={"limit": 1_000_000, "period": 31 * 86400.0})
    for n in range(5):
        assert admit(fleet).rate_limits[0].left == 1_000_000 - n - 1
