"""Feature flags in the store, and what the product itself asks of them."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from aragora_cp.context import Context
from aragora_cp.errors import EncryptionUnavailable, NotFound, QuotaExceeded
from aragora_cp.model import Claim, FlagVersion, TaskStatus
from aragora_cp.store.flags import MOST_FLAGS
from tests.crowds import at_once
from tests.fleet import Fleet

ON: dict[str, Any] = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}
OFF = ON | {"defaultVariant": "off"}
ONLY_ACME = {"targeting": {"if": [{"==": [{"var": "workspace"}, "acme"]}, "off", "on"]}}


def reasons(fleet: Fleet, task_id: str) -> list[str]:
    found = fleet.plane.explainer().why(fleet.workspace, task_id)
    return [found.reason.code, *(each.code for each in found.also)]


# --- in the store ----------------------------------------------------------------------------------------------------


def test_versions_are_numbered_without_gap_or_repeat_under_concurrency(fleet: Fleet) -> None:
    texts = [json.dumps(ON | {"metadata": {"n": n}}) for n in range(40)]
    made = at_once([partial(fleet.flag_store.put, "acme", "f", text) for text in texts])
    assert sorted(each.version for each in made if isinstance(each, FlagVersion)) == list(range(1, 41))
    versions = fleet.flag_store.versions("acme", "f")
    assert [each.version for each in versions] == list(range(40, 0, -1))
    (present,) = fleet.flag_store.read(["acme"])
    assert present["f"] == versions[0]


def test_the_limit_holds_under_concurrency(fleet: Fleet) -> None:
    for n in range(MOST_FLAGS - 3):
        fleet.flag_store.put(None, f"f{n}", "{}")

    answers = at_once([partial(fleet.flag_store.put, None, f"more-{n}", "{}") for n in range(20)])
    assert sum(isinstance(answer, FlagVersion) for answer in answers) == 3
    assert sum(isinstance(answer, QuotaExceeded) for answer in answers) == 17


def test_old_versions_go(fleet: Fleet) -> None:
    for n in range(60):
        fleet.flag_store.put(None, "f", json.dumps({"n": n}))
    kept = fleet.flag_store.versions(None, "f")
    assert [each.version for each in kept] == list(range(60, 10, -1))
    with pytest.raises(NotFound):
        fleet.flag_store.roll_back(None, "f", 10)
    assert fleet.flag_store.roll_back(None, "f", 11).version == 61


def test_any_text_comes_back_as_it_was(fleet: Fleet) -> None:
    text = json.dumps({"a": 'ä/"\\ \u2028 \x00', "n": 12345678901234567890})
    assert fleet.flag_store.put("acme", "f", text).text == text
    assert fleet.flag_store.versions("acme", "f")[0].text == text


# --- a capability that is switched off -------------------------------------------------------------------------------


def test_what_needs_it_is_accepted_and_waits(fleet: Fleet) -> None:
    spec = fleet.agent("a1", "code", "search")
    fleet.set_flag("capability.code", ON | ONLY_ACME)
    task, free = fleet.submit("code"), fleet.submit("search")
    assert [ticket.task_id for ticket in fleet.broker.sent] == [free.task_id]
    fleet.sweep()
    assert fleet.broker.take_for(task.task_id) is None
    assert reasons(fleet, task.task_id)[0] == "capability-off"
    # Neither another workspace nor another capability is touched.
    fleet.submit("code", workspace="beta")
    assert isinstance(fleet.scheduler.claim(fleet.hold(fleet.broker.sent[-1]), spec), Claim)
    fleet.set_flag("capability.code", ON)
    fleet.sweep()
    assert reasons(fleet, task.task_id)[0] == "ticket-out"
    fleet.claim(spec, fleet.broker.take_for(task.task_id))


def test_a_ticket_that_is_out_already_is_not_honoured(fleet: Fleet) -> None:
    spec = fleet.agent("a1", "code", "search")
    task = fleet.submit("code")
    fleet.set_flag("capability.code", OFF)
    ticket = fleet.broker.take()
    assert ticket is not None
    assert fleet.scheduler.claim(fleet.hold(ticket), spec) == "capability-off"
    assert fleet.get(task.task_id).status is TaskStatus.PENDING
    fleet.sweep()
    assert fleet.broker.take() is None
    assert reasons(fleet, task.task_id)[0] == "capability-off"
    fleet.set_flag("capability.code", ON)
    fleet.sweep()
    fleet.claim(spec)


def test_a_task_for_one_agent_waits_too(fleet: Fleet) -> None:
    spec = fleet.agent("a1", "code")
    fleet.set_flag("capability.code", OFF)
    task = fleet.submit("code", agent_id="a1")
    ticket = fleet.broker.take()
    assert ticket is not None
    assert fleet.scheduler.claim(fleet.hold(ticket), spec) == "capability-off"
    assert fleet.get(task.task_id).status is TaskStatus.PENDING
    assert reasons(fleet, task.task_id) == ["capability-off", "capability-off"]
    fleet.set_flag("capability.code", ON)
    fleet.client.zadd(fleet.keys("delayed"), {task.task_id: 1}, xx=True)
    fleet.sweep()
    fleet.claim(spec)


def test_what_runs_goes_on(fleet: Fleet) -> None:
    spec = fleet.agent()
    claim, following = fleet.running(spec), fleet.submit()
    fleet.set_flag("capability.code", OFF)
    assert fleet.finish(claim, spec).status is TaskStatus.COMPLETED
    assert reasons(fleet, following.task_id)[0] == "capability-off"


# --- encryption ------------------------------------------------------------------------------------------------------


def test_encryption_required_by_a_flag(fleet: Fleet) -> None:
    spec = fleet.agent()
    before = fleet.submit()
    fleet.set_flag("encryption.required", OFF | {"targeting": {"if": [{"==": [{"var": "workspace"}, "acme"]}, "on"]}})
    with pytest.raises(EncryptionUnavailable):
        fleet.submit()
    ticket = fleet.broker.take()
    assert ticket is not None
    assert fleet.scheduler.claim(fleet.hold(ticket), spec) == "no-key"
    assert reasons(fleet, before.task_id)[0] == "no-key"
    fleet.submit(workspace="beta")


# --- in agents -------------------------------------------------------------------------------------------------------


def test_a_handler_asks_without_a_round_trip_and_never_fails(fleet: Fleet) -> None:
    spec = fleet.agent()
    context = Context(fleet.plane, spec, fleet.running(spec), lambda: False)
    rule = {"if": [{"==": [{"var": "task_type"}, "t"]}, "new", "old"]}
    variants = {"old": "bm25", "new": "vectors"}
    flag = {"state": "ENABLED", "variants": variants, "defaultVariant": "old", "targeting": rule}
    fleet.set_flag("search.engine", flag, workspace="acme")
    assert context.flag("search.engine", "none") == "vectors"
    before = int(fleet.client.info("commandstats")["cmdstat_hgetall"]["calls"])
    for _ in range(200):
        context.flag("search.engine", "none")
    assert int(fleet.client.info("commandstats")["cmdstat_hgetall"]["calls"]) - before <= 4
    assert context.flag("search.engine", 7) == 7
    assert context.flag("nothing", "mine") == "mine"
    fleet.client.hset(fleet.keys("flags"), "search.engine", "not ours")
    fleet.flags.forget()
    assert context.flag("search.engine", "none") == "vectors"
    assert fleet.submit().status is TaskStatus.PENDING


def test_shares_are_of_tasks_in_a_handler(fleet: Fleet) -> None:
    spec = fleet.agent(concurrency=100)
    rule = {"fractional": [["on", 50], ["off", 50]]}
    fleet.set_flag("f", ON | {"targeting": rule})
    contexts = [Context(fleet.plane, spec, fleet.running(spec), lambda: False) for _ in range(30)]
    seen = [context.flag("f", False) for context in contexts]
    assert 0 < sum(seen) < 30
    assert [context.flag("f", False) for context in contexts] == seen
