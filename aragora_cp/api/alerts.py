"""/alerts: what is wrong now, what was, and what shall not be told for a while."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Response

from aragora_cp.api.access import requires
from aragora_cp.api.bodies import Resource, expect_no_body, json_answer
from aragora_cp.api.schemas.alerts import (
    AlertFilterSchema,
    AlertPageSchema,
    DeliveryFilterSchema,
    DeliveryPageSchema,
    SetSilenceSchema,
    SilencePageSchema,
    SilenceSchema,
    TestedSchema,
)
from aragora_cp.api.services import services, tenant
from aragora_cp.api.views import moment
from aragora_cp.errors import InvalidRequest, NotFound, QuotaExceeded
from aragora_cp.health.rules import RULES
from aragora_cp.lanes import WORKSPACE
from aragora_cp.model import Role
from aragora_cp.store.alerts import Alert, Silence

blueprint = Resource("alerts", __name__)


def _reach() -> str | None:
    """Whose alerts the caller sees: everybody's (None) with a platform token, else the workspace's own."""
    return None if tenant().of_platform else tenant().workspace


@blueprint.route("", methods=["GET"])
@requires(Role.OPERATOR)
@blueprint.arguments(AlertFilterSchema, location="query")
@blueprint.response(200, AlertPageSchema)
def list_alerts(query: dict[str, Any]) -> Response:
    """List the alerts that are open, or the last that ended

    An operator sees those of the workspace, a platform token all.
    """
    alerts = services().watch.alerts
    if query["state"] == "ended":
        found = alerts.ended(_reach(), query["limit"])
    else:
        found = alerts.open(_reach())[: query["limit"]]
    return json_answer({"items": [_alert_view(each) for each in found]})


@blueprint.route("/silences", methods=["GET"])
@requires(Role.OPERATOR)
@blueprint.response(200, SilencePageSchema)
def list_silences() -> Response:
    """List silences that have not ended"""
    found = services().watch.alerts.silences(_reach())
    return json_answer({"items": [_silence_view(each) for each in found]})


@blueprint.route("/silences/<name>", methods=["PUT"])
@requires(Role.OPERATOR, QuotaExceeded)
@blueprint.arguments(SetSilenceSchema)
@blueprint.response(200, SilenceSchema)
def set_silence(body: dict[str, Any], name: str) -> Response:
    """Silence alerts for a time, or change a silence

    A workspace's operator silences the workspace's own alerts. What still fires when the silence ends is told then.
    """
    parts = services()
    if not WORKSPACE.fullmatch(name):
        raise InvalidRequest({"name": ["must be 1 to 63 of a-z, 0-9 and -"]})
    silence = Silence(
        name=name,
        rule=body["rule"],
        subject=body["subject"],
        workspace=_reach() or "",
        ends=parts.plane.tokens.now() + round(body["duration"] * 1000),
        reason=body["reason"],
        by=tenant().caller.actor,
    )
    parts.watch.alerts.silence(silence)
    return json_answer(_silence_view(silence))


@blueprint.route("/silences/<name>", methods=["DELETE"])
@requires(Role.OPERATOR)
@blueprint.response(204)
def remove_silence(name: str) -> Response:
    """End a silence"""
    expect_no_body()
    if not WORKSPACE.fullmatch(name):
        raise NotFound(f"there is no silence {name[:63]!r}")
    services().watch.alerts.unsilence(_reach() or "", name)
    return Response(status=204)


@blueprint.route("/deliveries", methods=["GET"])
@requires(Role.ADMIN)
@blueprint.arguments(DeliveryFilterSchema, location="query")
@blueprint.response(200, DeliveryPageSchema)
def list_deliveries(query: dict[str, Any]) -> Response:
    """List deliveries of alerts that wait for another try, or were given up"""
    found = services().watch.alerts.deliveries(query["state"], query["limit"])
    return json_answer({"items": [{**each, "created": moment(each["created"])} for each in found]})


@blueprint.route("/test", methods=["POST"])
@requires(Role.ADMIN)
@blueprint.response(202, TestedSchema)
def test_alerts() -> Response:
    """Send one message to every sink, to see that they work"""
    expect_no_body()
    parts = services()
    now = parts.plane.tokens.now()
    told = {
        "rule": "test",
        "subject": "",
        "workspace": "",
        "severity": "info",
        "text": "This is a test of the alerts; nothing is wrong.",
        "fired_at": now,
        "ended_at": now + 60_000,
    }
    parts.watch.alerts.test(told)
    return json_answer({"sinks": [sink.name for sink in parts.watch.sinks]}, 202)


def _alert_view(alert: Alert) -> dict[str, Any]:
    shown = asdict(alert)
    for name in ("since", "fired_at", "ended_at"):
        shown[name] = moment(shown[name])
    return shown | {"meaning": RULES[alert.rule].meaning if alert.rule in RULES else ""}


def _silence_view(silence: Silence) -> dict[str, Any]:
    return asdict(silence) | {"ends": moment(silence.ends)}
