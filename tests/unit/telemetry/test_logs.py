"""What reaches a log line, and what never does."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.telemetry.logs import configure_logging
from aragora_cp.telemetry.redaction import redacted

SECRET = "do-not-show"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, hook, thread_hook = root.handlers[:], root.level, sys.excepthook, threading.excepthook
    yield
    root.handlers[:], sys.excepthook, threading.excepthook = handlers, hook, thread_hook
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


class Logged(io.StringIO):
    def last(self) -> dict[str, Any]:
        return json.loads(self.getvalue().splitlines()[-1])


@pytest.fixture
def lines() -> Logged:
    out = Logged()
    configure_logging(ControlPlaneConfig(), process="web", stream=out)
    return out


def test_both_kinds_of_logger_give_the_same_line(lines: Logged) -> None:
    with structlog.contextvars.bound_contextvars(correlation_id="c-1"):
        logging.getLogger("one").warning("met %d", 3, extra={"agent_id": "code-1"})
        standard = lines.last()
        structlog.get_logger("one").warning("met %d", 3, agent_id="code-1")
        structured = lines.last()
    assert standard["time"].endswith("Z")
    assert standard.pop("time") <= structured.pop("time")
    assert standard == structured
    assert standard == {
        "level": "warning",
        "process": "web",
        "logger": "one",
        "message": "met 3",
        "agent_id": "code-1",
        "correlation_id": "c-1",
    }


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_error_is_told_by_type_and_place_only(log_format: str) -> None:
    out = io.StringIO()
    configure_logging(ControlPlaneConfig(log_format=log_format), process="web", stream=out)

    def fail() -> None:
        try:
            {}[SECRET]
        except KeyError as error:
            raise ValueError(SECRET) from error

    try:
        fail()
    except ValueError as error:
        logging.getLogger("one").error("handling %s failed", error, exc_info=True)
        structlog.get_logger("one").exception("failed")
        logging.getLogger("celery.app.trace").error("Task t[1] raised unexpected: %r", error, exc_info=True)
    said = out.getvalue()
    assert SECRET not in said
    assert "Traceback" not in said
    assert said.count("ValueError") >= 3
    assert "KeyError" in said
    assert "test_logs.py:" in said
    assert "test_an_error_is_told_by_type_and_place_only" in said


def test_celery_does_not_tell_what_a_task_was_given(lines: Logged) -> None:
    data = {"args": [SECRET], "kwargs": {}, "exc": SECRET}
    logging.getLogger("celery.app.trace").error(
        "Task t[1] raised unexpected: %s\nTraceback", SECRET, extra={"data": data}
    )
    assert SECRET not in lines.getvalue()
    assert lines.last()["message"] == "Task t[1] raised unexpected"


@pytest.mark.parametrize("field", ["token", "Authorization", "agent-token", "password", "payload", "result"])
def test_secret_fields_are_dropped_at_any_depth(lines: Logged, field: str) -> None:
    structlog.get_logger().info("said", **{field: SECRET}, nested={"list": [{field: SECRET}]})
    logging.getLogger("one").info("said", extra={field: {"inner": SECRET}})
    assert SECRET not in lines.getvalue()
    assert lines.getvalue().count("[hidden]") == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis://:do-not-show@10.0.0.1:6379/0", "redis://[hidden]"),
        ("at amqps://me:do-not-show@host//v", "at amqps://[hidden]"),
        ("Cannot connect to redis://localhost:6379//: refused", "Cannot connect to redis://[hidden] refused"),
        ("Error 111 connecting to localhost:6379. Refused.", "Error 111 connecting to [hidden]. Refused."),
        ("no socket at unix:///run/valkey.sock", "no socket at unix://[hidden]"),
        ("token acp_0f3a_do-not-show refused", "token acp_0f3a_[hidden] refused"),
        ("Authorization: Bearer do-not-show", "Authorization: Bearer [hidden]"),
        ("http://127.0.0.1:8080/docs", "http://127.0.0.1:8080/docs"),
    ],
)
def test_secrets_within_text_are_dropped(lines: Logged, text: str, expected: str) -> None:
    logging.getLogger("one").info("%s", text, extra={"about": text})
    assert lines.last()["message"] == lines.last()["about"] == expected


def test_one_event_is_one_line() -> None:
    out = io.StringIO()
    configure_logging(ControlPlaneConfig(log_format="console"), process="web", stream=out)
    logging.getLogger("one").warning("lost\nTrying again\r\n12:00:00 [info] forged")
    assert len(out.getvalue().splitlines()) == 1
    assert "lost Trying again" in out.getvalue()


def test_anything_can_be_logged(lines: Logged) -> None:
    deep: list[Any] = []
    deep.append(deep)
    structlog.get_logger().info(
        "odd", surrogate="\ud800", data=b"\x00", deep=deep, error=ValueError(SECRET), kind=object
    )
    assert SECRET not in lines.getvalue()
    assert lines.last()["surrogate"] == "\\ud800"
    assert redacted(float("nan")) != redacted(0.0)


def test_a_level_below_the_configured_one_is_silent() -> None:
    out = io.StringIO()
    configure_logging(ControlPlaneConfig(log_level="WARNING"), process="web", stream=out)
    logging.getLogger("one").info("quiet")
    structlog.get_logger("one").info("quiet")
    assert out.getvalue() == ""


def test_configuring_again_does_not_double_lines(lines: Logged) -> None:
    configure_logging(ControlPlaneConfig(), process="monitor", stream=lines)
    logging.getLogger("celery").warning("once")
    assert len(lines.getvalue().splitlines()) == 1
    assert lines.last()["process"] == "monitor"


def test_a_library_with_handlers_of_its_own_comes_through_ours() -> None:
    stray = logging.StreamHandler(io.StringIO())
    logger = logging.getLogger("gunicorn.error")
    logger.addHandler(stray)
    logger.propagate = False
    out = Logged()
    configure_logging(ControlPlaneConfig(), process="web", stream=out)
    logger.warning("once")
    assert out.last()["logger"] == "gunicorn.error"
    assert logger.handlers == []


def test_an_error_that_nobody_handles_is_one_line(lines: Logged) -> None:
    sys.excepthook(ValueError, ValueError(SECRET), None)
    assert lines.last()["error"] == "ValueError"
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert len(lines.getvalue().splitlines()) == 1
    assert SECRET not in lines.getvalue()
