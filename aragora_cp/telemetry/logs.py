"""Logs: structlog and the standard library through one handler; JSON for machines, short lines for people.

Secrets, payloads, results and tracebacks never reach a line: see `redaction`.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from types import TracebackType
from typing import Any, TextIO

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.telemetry.redaction import HIDDEN, error_report, is_secret, places_of, redacted
from aragora_cp.telemetry.subject import always_said

#: Libraries that come with handlers of their own, or say more than anyone reads at INFO.
_QUIETER = {
    "amqp": logging.WARNING,
    "celery.apps.worker": logging.WARNING,
    "celery.worker.consumer": logging.WARNING,
    "celery.worker.control": logging.WARNING,
    "celery.worker.strategy": logging.WARNING,
    "celery.app.trace": logging.WARNING,
    "flower.inspector": logging.ERROR,
    "gunicorn.access": logging.WARNING,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
    "kombu": logging.WARNING,
    "multiprocessing": logging.WARNING,
    "tornado.access": logging.WARNING,
    "urllib3": logging.WARNING,
    "werkzeug": logging.WARNING,
}
#: Whose lines quote what a task was given or gave, after the first colon.
_QUOTING = ("celery.app.trace", "celery.worker.request")
_QUOTED_REQUEST = re.compile(r"^(Invalid request from ip=[^ ]+?|Error handling request)(?=:? ).*", re.DOTALL)
_OWN_HANDLERS = (
    "celery",
    "celery.task",
    "celery.redirected",
    "gunicorn.error",
    "gunicorn.access",
    "multiprocessing",
    "werkzeug",
    "flower",
)


def configure_logging(config: ControlPlaneConfig, *, process: str, stream: TextIO | None = None) -> None:
    """Send every log line of this process to `stream` (standard error by default); in JSON `process` stands on each.

    Called again it starts over, so the last call wins.
    """
    out = stream or sys.stderr
    as_json = config.log_format == "json" or (config.log_format == "auto" and not out.isatty())
    stamps: list[Processor] = [structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)]
    if as_json:
        stamps = [structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"), _Named(process)]
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        *stamps,
    ]
    rendering: list[Processor] = [_console(out)]
    if as_json:
        rendering = [structlog.processors.EventRenamer("message"), _to_json]
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *common, _plain_celery, _plain_gunicorn],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _report_errors,
                _Redacted(config),
                *rendering,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(config.log_level)
    for name in _OWN_HANDLERS:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    for name, level in _QUIETER.items():
        logging.getLogger(name).setLevel(max(level, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *common,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


class _Named:
    """Puts the process's name on a line, and what it always says."""

    def __init__(self, process: str) -> None:
        self._process = process

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = self._process
        for name, value in always_said().items():
            event.setdefault(name, value)
        return event


def _plain_celery(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Celery's own lines on a task quote its error, its arguments and its result: keep what comes before the quote."""
    if event["_record"].name in _QUOTING:
        event["event"] = event["event"].partition(": ")[0]
    if event["_record"].name.startswith("celery"):
        event.pop("data", None)
    return event


def _plain_gunicorn(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """gunicorn quotes what it could not read or answer, the query and headers included: keep what comes before it."""
    if event["_record"].name == "gunicorn.error":
        event["event"] = _QUOTED_REQUEST.sub(r"\1", str(event["event"]))
    return event


def _report_errors(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    given = event.pop("exc_info", None)
    event.pop("stack_info", None)
    if given is True:
        given = sys.exc_info()
    error = given[1] if isinstance(given, tuple) else given
    error = getattr(error, "exc", error)  # as billiard wraps what comes from a child
    if isinstance(error, BaseException):
        said = str(error)
        for quote in (repr(error), said if len(said) > 3 else ""):
            if quote:
                event["event"] = str(event["event"]).replace(quote, type(error).__name__)
        event.update(error_report(error))
    event["event"] = " ".join(str(event["event"]).partition("\nTraceback (most recent call last)")[0].split())
    return event


class _Redacted:
    """Takes secrets out of a line, and where the store and the broker are."""

    def __init__(self, config: ControlPlaneConfig) -> None:
        self._places = places_of((config.redis_url, config.effective_broker_url))

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        shown = {
            name: value if name.startswith("_") else HIDDEN if is_secret(name) else redacted(value)
            for name, value in event.items()
        }
        return {name: self._without_places(value) for name, value in shown.items()}

    def _without_places(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._places.sub(HIDDEN, value)
        if isinstance(value, list):
            return [self._without_places(each) for each in value]
        return value


def _to_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    first = {name: event.pop(name) for name in ("time", "level", "process", "logger", "message") if name in event}
    return json.dumps(first | dict(event))


def _console(out: TextIO) -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(colors=out.isatty(), pad_event_to=0, sort_keys=False)


def _log_uncaught(kind: type[BaseException], error: BaseException | None, _trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt | SystemExit):
        logging.getLogger(__name__).critical("an error nobody handled", exc_info=error or kind())


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
