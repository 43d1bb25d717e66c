"""Where alerts go. Their addresses come from the operators' own settings and from nowhere else: no tenant can make the
control plane send anything anywhere. An address may hold a secret, so none is ever logged, nor any answer's body."""

from __future__ import annotations

import base64
import binascii
import importlib
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import httpx
from standardwebhooks.webhooks import Webhook

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import AragoraError, ConfigError

log = logging.getLogger("aragora_cp.alerts")

#: Bound on one delivery, in seconds: well below the time for which it is ours.
TIMEOUT = 10.0
#: How long an Alertmanager believes in an alert that it is not told again; it is told every hour.
BELIEVED = timedelta(hours=3)
FIRING, RESOLVED, TEST = "firing", "resolved", "test"

Told = Mapping[str, Any]


class NotDelivered(AragoraError):
    """A sink did not take a message."""


class Sink(Protocol):
    """One place that is told of alerts."""

    name: str
    #: Whether it forgets an incident that it is not told of again.
    refreshed: bool

    def send(self, delivery_id: str, told: Told) -> None:
        """Deliver what `lib/alerts.lua` makes. `delivery_id` is the same each time that it is tried. Raises
        NotDelivered."""
        ...


class LogSink:
    """A line in this process's own log."""

    name = "log"
    refreshed = False

    def send(self, delivery_id: str, told: Told) -> None:  # noqa: ARG002
        level = logging.INFO if told["kind"] == RESOLVED else logging.WARNING
        fields = ("incident", "rule", "subject", "workspace", "severity", "text")
        log.log(level, "alert %s", told["kind"], extra={name: told[name] for name in fields if name in told})


class WebhookSink:
    """Standard Webhooks: https://www.standardwebhooks.com. `webhook-id` is the same for each try of one message."""

    name = "webhook"
    refreshed = False

    def __init__(self, url: str, secret: str, client: httpx.Client) -> None:
        self._url = url
        self._webhook = Webhook(secret)
        self._client = client

    def send(self, delivery_id: str, told: Told) -> None:
        now = datetime.now(UTC)
        body = json.dumps({"type": f"alert.{told['kind']}", "timestamp": now.isoformat(), "data": _shown(told)})
        headers = {
            "content-type": "application/json",
            "webhook-id": delivery_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(delivery_id, now, body),
        }
        _post(self._client, self._url, body, headers)


class AlertmanagerSink:
    """Alertmanager's API v2, `POST /api/v2/alerts`. It forgets what it is not told again."""

    name = "alertmanager"
    refreshed = True

    def __init__(self, url: str, client: httpx.Client) -> None:
        self._url = f"{url.rstrip('/')}/api/v2/alerts"
        self._client = client

    def send(self, delivery_id: str, told: Told) -> None:  # noqa: ARG002
        ends = _instant(told["ended_at"]) if told.get("ended_at") else datetime.now(UTC) + BELIEVED
        labels = {name: told[name] for name in ("severity", "workspace", "subject", "incident") if told.get(name)}
        alert = {
            "labels": {"alertname": f"aragora-cp {told['rule']}", **labels},
            "annotations": {"summary": told["text"]},
            "startsAt": _instant(told["fired_at"]).isoformat(),
            "endsAt": ends.isoformat(),
        }
        _post(self._client, self._url, json.dumps([alert]), {"content-type": "application/json"})


class AppriseSink:
    """Whatever Apprise speaks to: https://github.com/caronc/apprise."""

    name = "apprise"
    refreshed = False

    def __init__(self, urls: Sequence[str]) -> None:
        """Raises ConfigError when it is not installed, or does not know one of `urls`."""
        try:
            apprise = importlib.import_module("apprise")
        except ImportError:
            raise ConfigError("alert_apprise_urls needs the extra: pip install 'aragora-cp[alerts]'") from None
        self._all = apprise.Apprise()
        self._types = {FIRING: apprise.NotifyType.WARNING, RESOLVED: apprise.NotifyType.SUCCESS}
        self._other = apprise.NotifyType.INFO
        for n, url in enumerate(urls, start=1):
            if not self._all.add(url):
                raise ConfigError(f"alert_apprise_urls: Apprise does not know number {n}")

    def send(self, delivery_id: str, told: Told) -> None:  # noqa: ARG002
        title = f"{told['kind']}: {told['rule']}"
        kind = self._types.get(told["kind"], self._other)
        if not self._all.notify(title=title, body=told["text"], notify_type=kind):
            raise NotDelivered("Apprise could not deliver to every address")


def make_sinks(config: ControlPlaneConfig) -> tuple[Sink, ...]:
    """Those that the settings name; the log is always one of them. Raises ConfigError."""
    sinks: list[Sink] = [LogSink()]
    if config.alert_webhook_url:
        sinks.append(WebhookSink(config.alert_webhook_url, _secret(config.alert_webhook_secret), _client()))
    if config.alert_alertmanager_url:
        sinks.append(AlertmanagerSink(config.alert_alertmanager_url, _client()))
    if urls := config.alert_apprise_urls.split():
        sinks.append(AppriseSink(urls))
    return tuple(sinks)


def _client() -> httpx.Client:
    """Follows no redirection: it goes where the operator said, and nowhere else."""
    return httpx.Client(timeout=TIMEOUT, follow_redirects=False, trust_env=False)


def _secret(text: str) -> str:
    try:
        length = len(base64.b64decode(text.removeprefix("whsec_"), validate=True))
    except binascii.Error:
        length = 0
    if not 24 <= length <= 64:
        raise ConfigError("alert_webhook_secret must be whsec_ and 24 to 64 bytes in base64")
    return text


def _post(client: httpx.Client, url: str, body: str, headers: Mapping[str, str]) -> None:
    try:
        # Streamed: an answer's body is nothing to us, however long it is.
        with client.stream("POST", url, content=body.encode(), headers=dict(headers)) as answer:
            status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        # Not the error's own words: they may name the address.
        raise NotDelivered(f"no answer ({type(error).__name__})") from None
    if not 200 <= status < 300:
        raise NotDelivered(f"the answer was {status}")


def _shown(told: Told) -> dict[str, Any]:
    moments = {name: _instant(told[name]).isoformat() for name in ("fired_at", "ended_at") if told.get(name)}
    return {name: value for name, value in told.items() if name != "kind"} | moments


def _instant(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
