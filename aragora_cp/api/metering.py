"""/metrics; and what each request adds to the figures."""

from __future__ import annotations

import time

from flask import Flask, Response, g, request

from aragora_cp.api.access import public
from aragora_cp.api.bodies import Resource
from aragora_cp.api.services import services
from aragora_cp.errors import StoreUnavailable
from aragora_cp.health.metrics import exposition
from aragora_cp.telemetry import trips

blueprint = Resource("metrics", __name__)

#: Of a request that met no route: the path is the caller's own text.
_NO_ROUTE = "none"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ROUTES_NOT_COUNTED = ("/livez", "/readyz", "/metrics")


def meter(app: Flask) -> None:
    """Install after `tracing.trace`, which takes the time."""
    app.before_request(trips.begin)
    app.after_request(_count)


@blueprint.route("/metrics", methods=["GET"])
@public
@blueprint.response(200, content_type="text/plain", schema={"type": "string"})
def metrics() -> Response:
    """The figures of the whole fleet, for Prometheus

    Any one web process tells all of them.
    """
    parts = services()
    try:
        figures = parts.watch.store.figures()
    except StoreUnavailable:
        figures = None
    text, kind = exposition(figures, parts.health.readiness(), request.headers.get("Accept", ""))
    return Response(text, content_type=kind)


def _count(response: Response) -> Response:
    route = request.url_rule.rule if request.url_rule else _NO_ROUTE
    if route.endswith(_ROUTES_NOT_COUNTED):
        return response
    tally = services().watch.tally
    method = request.method if request.method in _METHODS else "other"
    tally.count("http_requests", method, route, f"{response.status_code // 100}xx")
    tally.observe("http_request_duration_seconds", route, seconds=time.perf_counter() - g.started)
    tally.count("http_store_round_trips", route, by=trips.so_far())
    if response.status_code >= 400:
        refusal = g.get("refusal")
        tally.count("rejections", refusal.code if refusal else f"http-{response.status_code}")
    return response
