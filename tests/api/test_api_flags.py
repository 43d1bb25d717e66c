"""/flags over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from aragora_cp.errors import StoreUnavailable
from aragora_cp.model import Role
from aragora_cp.store.flags import MOST_FLAGS, FlagStore
from aragora_cp.wiring import ControlPlane, build
from tests.api.conftest import Caller, MakeCaller
from tests.waiting import eventually

ON_OFF: dict[str, Any] = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}
PLATFORM = {"query_string": {"platform": "true"}}


@pytest.fixture
def admin(caller: MakeCaller) -> Caller:
    return caller(Role.ADMIN, None, named="acme")


def value(who: Caller, name: str, **more: Any) -> dict[str, Any]:
    answer = who.post("/flags/evaluate", {"name": name, **more})
    assert answer.status_code == 200, answer.json
    return answer.json


def test_a_flags_life(operator: Caller) -> None:
    made = operator.put("/flags/new-index", ON_OFF)
    assert made.status_code == 200
    assert (made.json["source"], made.json["version"], made.json["flag"]) == ("override", 1, ON_OFF)
    assert value(operator, "new-index") == {
        "name": "new-index",
        "value": True,
        "variant": "on",
        "reason": "STATIC",
        "version": 1,
        "source": "override",
        "error": None,
    }
    off = {**ON_OFF, "defaultVariant": "off"}
    assert operator.put("/flags/new-index", off).json["version"] == 2
    assert operator.put("/flags/new-index", off).json["version"] == 2  # it says so already
    assert value(operator, "new-index")["value"] is False
    back = operator.post("/flags/new-index/rollback", {"version": 1})
    assert (back.json["version"], back.json["flag"]) == (3, ON_OFF)
    found = operator.get("/flags/new-index").json
    assert [(each["version"], each["flag"]["defaultVariant"]) for each in found["versions"]] == [
        (3, "on"), (2, "off"), (1, "on"),
    ]  # fmt: skip
    assert found["by"] == f"token:{(operator.token or '').split('_')[1]}"
    assert [each["name"] for each in operator.get("/flags").json["items"]] == ["new-index"]
    assert operator.delete("/flags/new-index").status_code == 204
    assert operator.get("/flags/new-index").status_code == 404
    assert operator.post("/flags/evaluate", {"name": "new-index"}).status_code == 404
    # What was deleted can come back, and its numbers go on.
    assert operator.post("/flags/new-index/rollback", {"version": 2}).json["version"] == 5


def test_the_platforms_and_its_override(admin: Caller, operator: Caller, caller: MakeCaller) -> None:
    rule = {"if": [{"==": [{"var": "workspace"}, "another-tenant"]}, "off"]}
    assert admin.put("/flags/f", {**ON_OFF, "targeting": rule}, **PLATFORM).json["source"] == "platform"
    seen = operator.get("/flags/f").json
    assert (seen["source"], seen["version"], seen["flag"], seen["by"], seen["versions"]) == (
        "platform",
        1,
        None,
        None,
        [],
    )
    assert "another-tenant" not in operator.get("/flags").get_data(as_text=True)
    assert admin.get("/flags/f").json["flag"]["targeting"] == rule
    assert value(operator, "f", context={"workspace": "another-tenant"})["value"] is True
    operator.put("/flags/f", {**ON_OFF, "defaultVariant": "off"})
    assert (value(operator, "f")["value"], value(operator, "f")["source"]) == (False, "override")
    assert value(caller(Role.OPERATOR, "beta"), "f")["source"] == "platform"
    assert [each["source"] for each in operator.get("/flags").json["items"]] == ["override", "platform"]
    operator.delete("/flags/f")
    assert value(operator, "f")["source"] == "platform"


def test_what_makes_no_sense_is_refused_and_the_last_one_stays(operator: Caller) -> None:
    operator.put("/flags/f", ON_OFF)
    bad: list[dict[str, Any]] = [
        {},
        {"flags": {}},
        {"flags": {"f": ON_OFF}},
        {**ON_OFF, "defaultVariant": "of"},
        {**ON_OFF, "variants": {}},
        {**ON_OFF, "variants": {"on": True, "off": "no"}},
        {**ON_OFF, "targeting": {"if": [True, "onn"]}},
        {**ON_OFF, "targeting": {"nonsense": 1}},
        {**ON_OFF, "colour": "red"},
    ]
    for body in bad:
        answer = operator.put("/flags/f", body)
        assert (answer.status_code, answer.json["code"]) == (422, "invalid-request"), body
        assert answer.json["errors"], body
    assert operator.put("/flags/b@d", ON_OFF).status_code == 404
    found = operator.get("/flags/f").json
    assert (found["version"], found["flag"]) == (1, ON_OFF)


def test_who_may(caller: MakeCaller, operator: Caller, admin: Caller) -> None:
    for role in (Role.VIEWER, Role.SUBMITTER, Role.AGENT):
        assert caller(role).put("/flags/f", ON_OFF).status_code == 403
        assert caller(role).get("/flags").status_code == 403
    for name in ("f", "capability.code"):
        assert operator.put(f"/flags/{name}", ON_OFF, **PLATFORM).status_code == 403
    for name in ("capability.code", "encryption.required", "rules.shadow"):
        assert operator.put(f"/flags/{name}", ON_OFF).json["code"] == "forbidden"
        assert operator.delete(f"/flags/{name}").status_code == 403
        assert operator.post(f"/flags/{name}/rollback", {"version": 1}).status_code == 403
        assert admin.put(f"/flags/{name}", ON_OFF).json["source"] == "override"


def test_as_many_as_there_may_be(operator: Caller, plane: ControlPlane) -> None:
    store = FlagStore(plane.client, plane.config)
    for n in range(MOST_FLAGS):
        store.put("acme", f"f{n}", "{}")
    answer = operator.put("/flags/one-more", ON_OFF)
    assert (answer.status_code, answer.json["code"], answer.json["quota"]) == (429, "quota-exceeded", "flags")
    assert operator.put("/flags/f1", ON_OFF).status_code == 200


def test_every_change_and_refusal_is_in_the_trail(operator: Caller) -> None:
    operator.put("/flags/f", ON_OFF)
    operator.put("/flags/f", {})
    operator.put("/flags/f", {**ON_OFF, "defaultVariant": "off"})
    operator.post("/flags/f/rollback", {"version": 1})
    operator.post("/flags/f/rollback", {"version": 99})
    operator.delete("/flags/f")
    entries = operator.get("/audit?limit=50").json["items"]
    told = [(each["action"], each["outcome"]) for each in entries if each["target"] == "f"]
    assert sorted(told) == sorted(
        [
            ("flag.set", "accepted"),
            ("flag.set", "invalid-request"),
            ("flag.set", "accepted"),
            ("flag.roll-back", "accepted"),
            ("flag.roll-back", "not-found"),
            ("flag.delete", "accepted"),
        ]
    )
    deleted = next(each for each in entries if each["action"] == "flag.delete")
    assert (deleted["before"], deleted["after"]) == ({"version": 3}, {"version": 4})


def test_without_a_value_the_default_and_why(operator: Caller) -> None:
    operator.put("/flags/f", {**ON_OFF, "state": "DISABLED"})
    told = value(operator, "f", default=True)
    assert (told["value"], told["variant"], told["reason"], told["error"]) == (True, None, "DISABLED", None)
    operator.put("/flags/f", ON_OFF)
    mismatch = value(operator, "f", default="text")
    assert (mismatch["value"], mismatch["error"], mismatch["reason"]) == ("text", "TYPE_MISMATCH", "ERROR")


def test_a_change_reaches_other_processes(operator: Caller, plane: ControlPlane) -> None:
    operator.put("/flags/f", ON_OFF)
    other = build(plane.config, broker=plane.broker)
    try:
        assert other.flags.flag_enabled("f", "acme", False)
        operator.put("/flags/f", {**ON_OFF, "defaultVariant": "off"})
        eventually(
            lambda: not other.flags.flag_enabled("f", "acme", True), 2.0, "the other process has the new version"
        )
    finally:
        other.close()


def test_the_store_is_away(operator: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    operator.put("/flags/f", ON_OFF)

    def away(*_: Any) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(FlagStore, "_change", away)
    assert operator.put("/flags/f", {**ON_OFF, "defaultVariant": "off"}).status_code == 503
    assert value(operator, "f")["variant"] == "on"
