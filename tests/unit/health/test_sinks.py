"""Sinks against real HTTP servers: what they send, and what they never say."""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import ConfigError
from aragora_cp.health.sinks import NotDelivered, Sink, make_sinks

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
FIRING = {
    "kind": "firing",
    "incident": "i-1",
    "rule": "agent-offline",
    "subject": "a1",
    "workspace": "acme",
    "severity": "warning",
    "text": "the agent a1 is offline",
    "fired_at": 1_700_000_000_000,
}
RESOLVED = {**FIRING, "kind": "resolved", "ended_at": 1_700_000_060_000}


class Receiver:
    def __init__(self) -> None:
        self.status = 200
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(receiver.status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def sink(name: str, **settings: Any) -> Sink:
    (found,) = [each for each in make_sinks(ControlPlaneConfig(**settings)) if each.name == name]
    return found


def webhook(receiver: Receiver) -> Sink:
    return sink("webhook", alert_webhook_url=receiver.url + "/hook?key=hidden", alert_webhook_secret=SECRET)


def test_a_webhook_is_signed_so_that_any_receiver_can_verify_it(receiver: Receiver) -> None:
    hook = webhook(receiver)
    hook.send("id-1", FIRING)
    hook.send("id-1", FIRING)
    first, second = receiver.got
    told = Webhook(SECRET).verify(first[2], first[1])
    assert told["type"] == "alert.firing"
    assert told["data"]["text"] == "the agent a1 is offline"
    assert told["data"]["fired_at"] == "2023-11-14T22:13:20+00:00"
    assert first[1]["webhook-id"] == second[1]["webhook-id"] == "id-1"
    with pytest.raises(Exception, match="signature"):
        Webhook("whsec_" + base64.b64encode(b"x" * 32).decode()).verify(first[2], first[1])


@pytest.mark.parametrize("status", [302, 307, 400, 410, 500])
def test_anything_but_success_is_not_delivered(receiver: Receiver, status: int) -> None:
    receiver.status = status
    with pytest.raises(NotDelivered, match=str(status)) as raised:
        webhook(receiver).send("id-1", FIRING)
    assert len(receiver.got) == 1  # it follows nobody elsewhere
    assert "hidden" not in str(raised.value)


def test_a_receiver_that_is_away_is_not_named() -> None:
    gone = Receiver()
    gone.close()
    with pytest.raises(NotDelivered) as raised:
        webhook(gone).send("id-1", FIRING)
    assert "127.0.0.1" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_alertmanager_hears_of_begin_and_end(receiver: Receiver) -> None:
    manager = sink("alertmanager", alert_alertmanager_url=receiver.url + "/")
    assert manager.refreshed
    for told in (FIRING, RESOLVED):
        manager.send("id", told)
    assert {path for path, _, _ in receiver.got} == {"/api/v2/alerts"}
    (begun,), (ended,) = (json.loads(body) for _, _, body in receiver.got)
    assert begun["labels"] == ended["labels"]
    assert begun["labels"]["alertname"] == "aragora-cp agent-offline"
    assert begun["annotations"] == {"summary": "the agent a1 is offline"}
    assert begun["startsAt"] == ended["startsAt"] == "2023-11-14T22:13:20+00:00"
    assert begun["endsAt"] > ended["endsAt"] == "2023-11-14T22:14:20+00:00"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # its plugins import what Python 3.13 has not
def test_apprise_takes_its_own_addresses(receiver: Receiver) -> None:
    address = receiver.url.replace("http://", "json://") + "/path"
    apprise = sink("apprise", alert_apprise_urls=address)
    apprise.send("id", FIRING)
    told = json.loads(receiver.got[0][2])
    assert (told["title"], told["message"]) == ("firing: agent-offline", "the agent a1 is offline")
    receiver.status = 500
    with pytest.raises(NotDelivered):
        apprise.send("id", FIRING)


def test_the_log_always_hears(caplog: pytest.LogCaptureFixture) -> None:
    (only,) = make_sinks(ControlPlaneConfig())
    with caplog.at_level(logging.INFO, "aragora_cp.alerts"):
        only.send("id", FIRING)
        only.send("id", RESOLVED)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "alert firing"),
        ("INFO", "alert resolved"),
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {"alert_webhook_url": "http://x"},
        {"alert_webhook_url": "ftp://x", "alert_webhook_secret": SECRET},
        {"alert_webhook_url": "http://x", "alert_webhook_secret": "whsec_short"},
        {"alert_webhook_url": "http://x", "alert_webhook_secret": "whsec_" + base64.b64encode(b"short").decode()},
        {"alert_alertmanager_url": "file:///etc/passwd"},
        {"alert_apprise_urls": "nonsense"},
        {"alert_failure_rate": 1.5},
        {"shutdown_delay": 60.0},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as raised:
        make_sinks(ControlPlaneConfig(**settings))
    assert SECRET not in str(raised.value)


def test_no_address_or_secret_is_shown() -> None:
    config = ControlPlaneConfig(
        alert_webhook_url="http://hidden", alert_webhook_secret=SECRET, alert_apprise_urls="json://hidden"
    )
    assert "hidden" not in repr(config)
    assert SECRET not in repr(config)
