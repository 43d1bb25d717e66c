"""One correlation id and one log line a request; and the headers that every answer carries."""

from __future__ import annotations

import logging
import time

import structlog
from flask import Flask, Response, g, request

from aragora_cp.lanes import TASK_ID
from aragora_cp.tenancy.correlation import correlation_id

log = logging.getLogger("aragora_cp.api")


def trace(app: Flask) -> None:
    """Must be installed before anything else that looks at a request."""
    app.before_request(_begin)
    app.after_request(_finish)
    app.teardown_request(_forget)


def _begin() -> None:
    g.started = time.perf_counter()
    g.correlation_id = correlation_id(request.headers)
    g.bound = dict(structlog.contextvars.bind_contextvars(correlation_id=g.correlation_id))
    named = (request.view_args or {}).get("task_id", "")
    if TASK_ID.fullmatch(named):  # anything else may be what a person typed
        say(task_id=named)


def say(**fields: str) -> None:
    """Put `fields` on every further line of the present request."""
    for name, token in structlog.contextvars.bind_contextvars(**fields).items():
        g.bound.setdefault(name, token)


def _finish(response: Response) -> Response:
    response.headers["X-Correlation-ID"] = g.correlation_id
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault("Cache-Control", "no-store")
    # Neither the path nor the query: they may hold what a person typed. Never bodies, never tokens.
    log.info(
        "request",
        extra={
            "method": request.method,
            "route": request.url_rule.rule if request.url_rule else None,
            "status": response.status_code,
            "duration_ms": round((time.perf_counter() - g.started) * 1000, 1),
        },
    )
    return response


def _forget(_error: BaseException | None) -> None:
    if bound := g.pop("bound", None):
        structlog.contextvars.reset_contextvars(**bound)
