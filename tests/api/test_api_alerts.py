"""/alerts: whose they are, what is refused, and that a test reaches the sinks."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from aragora_cp.api.schemas.alerts import AlertPageSchema, DeliveryPageSchema, SilencePageSchema, SilenceSchema
from aragora_cp.api.services import services
from aragora_cp.health.delivery import Deliverer
from aragora_cp.health.rules import Signal
from aragora_cp.model import Role
from aragora_cp.store.alerts import AlertStore
from aragora_cp.wiring import ControlPlane

from .conftest import Caller, MakeCaller


@pytest.fixture
def alerts(app: Flask) -> AlertStore:
    return services(app).watch.alerts


@pytest.fixture
def admin(caller: MakeCaller) -> Caller:
    return caller(Role.ADMIN, None)


@pytest.fixture
def firing(alerts: AlertStore) -> None:
    alerts.judge({"agent-offline": [Signal("agent-offline", f"a-{each}", "", each) for each in ("acme", "beta", "")]})


def subjects(caller: Caller, **query: str) -> set[str]:
    page = caller.get("/alerts", query_string=query).json
    AlertPageSchema().load(page)
    return {each["subject"] for each in page["items"]}


@pytest.mark.usefixtures("firing")
def test_an_operator_sees_its_workspaces_alerts_and_the_platform_all(
    operator: Caller, admin: Caller, alerts: AlertStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert subjects(operator) == {"a-acme"}
    assert subjects(admin) == {"a-acme", "a-beta", "a-"}
    assert subjects(admin, state="ended") == set()


def test_silences_are_their_workspaces(operator: Caller, admin: Caller, caller: MakeCaller) -> None:
    path, body = "/alerts/silences/night", {"rule": "agent-offline", "duration": 60, "reason": "we know"}
    made = operator.call("PUT", path, json=body)
    SilenceSchema().load(made.json)
    assert (made.status_code, made.json["workspace"]) == (200, "acme")
    assert operator.call("PUT", path, json={**body, "reason": "still"}).json["reason"] == "still"
    other = caller(Role.OPERATOR, "beta")
    assert other.get("/alerts/silences").json == {"items": []}
    assert other.delete(path).status_code == admin.delete(path).status_code == 404
    page = admin.get("/alerts/silences").json
    SilencePageSchema().load(page)
    assert [each["name"] for each in page["items"]] == ["night"]
    assert operator.delete(path).status_code == 204
    assert operator.delete(path).status_code == 404
    assert admin.get("/alerts/silences").json == {"items": []}


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("night", {}),
        ("night", {"duration": 0}),
        ("night", {"duration": "60"}),
        ("night", {"duration": 1e12}),
        ("night", {"duration": 60, "rule": "unknown"}),
        ("night", {"duration": 60, "workspace": "beta"}),
        ("night", {"duration": 60, "subject": "x" * 201}),
        ("Night*", {"duration": 60}),
    ],
)
def test_bad_silences_are_refused(operator: Caller, name: str, body: dict[str, Any]) -> None:
    assert operator.call("PUT", f"/alerts/silences/{name}", json=body).status_code == 422
    assert operator.get("/alerts/silences").json == {"items": []}


def test_a_test_goes_to_every_sink(
    app: Flask, admin: Caller, alerts: AlertStore, caplog: pytest.LogCaptureFixture, plane: ControlPlane
) -> None:
    answer = admin.post("/alerts/test")
    assert (answer.status_code, answer.json) == (202, {"sinks": ["log"]})
    waiting = admin.get("/alerts/deliveries?state=waiting").json
    DeliveryPageSchema().load(waiting)
    assert [each["kind"] for each in waiting["items"]] == ["test"]
    watch = services(app).watch
    with caplog.at_level("INFO", "aragora_cp.alerts"):
        assert Deliverer(alerts, watch.sinks, watch.tally).round() == 1
    assert "alert test" in caplog.text
    assert admin.get("/alerts/deliveries?state=waiting").json == {"items": []}
    entries: Any = plane.client.xrange(f"{plane.config.key_prefix}{{@}}:audit")
    assert any(fields[b"action"] == b"alert.test" for _, fields in entries)


def test_a_missing_leader_is_an_alert_of_the_web_processes(app: Flask, alerts: AlertStore, plane: ControlPlane) -> None:
    found = services(app)
    pulse = found.watch.pulse("web", found.health)
    pulse.beat()
    assert [(each.rule, each.state) for each in alerts.open(None)] == [("leader-missing", "pending")]
    plane.monitor().tick()
    assert alerts.open(None) == []
    assert found.watch.store.gather().instances[0].kind == "web"
    pulse.close()
    assert found.watch.store.gather().instances == ()
