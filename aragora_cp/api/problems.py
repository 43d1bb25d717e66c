"""Every error answer, as RFC 9457 problem documents."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from aragora_cp import errors
from aragora_cp.api.views import moment
from aragora_cp.errors import (
    BudgetExceeded,
    InvalidRequest,
    PolicyDenied,
    QuotaExceeded,
    RateLimited,
    Refused,
    Unauthenticated,
)
from aragora_cp.model import RateStanding
from aragora_cp.store.codec import dumps
from aragora_cp.store.records import format_micros

log = logging.getLogger("aragora_cp.api")

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:aragora-cp:problem:"

_INTERNAL = "The server met a condition that it did not expect; quote the correlation id when you report it."
#: The framework's own errors under the codes of the contract; any other goes by its name.
_FRAMEWORK_CODES: Mapping[int, type[Refused]] = {
    400: errors.MalformedRequest,
    404: errors.NotFound,
    413: errors.PayloadTooLarge,
    415: errors.UnsupportedMediaType,
}
#: A document names so many fields and no more, however many a body got wrong.
_MOST_FIELDS = 50
_LONGEST_NAME = 100


def title_of(kind: type[Refused]) -> str:
    """The same for every problem of one kind: the first line of its docstring."""
    return (kind.__doc__ or "").strip().splitlines()[0].rstrip(".")


def problem(
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    fields: Mapping[str, Sequence[str]] | None = None,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, object] | None = None,
) -> Response:
    """One problem document, with the correlation id of the present request; `more` are members of its own."""
    body: dict[str, object] = {
        "type": TYPE_PREFIX + code,
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "correlation_id": g.get("correlation_id", ""),
    }
    body |= more or {}
    if fields is not None:
        shown = list(fields.items())[:_MOST_FIELDS]
        body["errors"] = {name[:_LONGEST_NAME]: list(texts) for name, texts in shown}
    response = Response(dumps(body), status, content_type=MEDIA_TYPE)
    response.headers.update(headers or {})
    return response


def register(app: Flask) -> None:
    """Answer every error of `app` with a problem."""
    app.register_error_handler(Refused, _of_refusal)
    app.register_error_handler(HTTPException, _of_framework)
    app.register_error_handler(Exception, _of_surprise)


def _of_refusal(error: Refused) -> Response:
    g.refusal = error  # for the audit trail
    headers: dict[str, str] = {}
    if isinstance(error, Unauthenticated):
        told = ', error="invalid_token"' if "Authorization" in request.headers else ""  # RFC 6750, section 3
        headers["WWW-Authenticate"] = f'Bearer realm="aragora-cp"{told}'
    if error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    headers |= limit_headers(_standings(error))
    fields = error.errors if isinstance(error, InvalidRequest) else None
    more = _members(error)
    detail = title_of(InvalidRequest) if fields else str(error)
    return problem(error.status, error.code, title_of(type(error)), detail, fields=fields, headers=headers, more=more)


def limit_headers(standings: Sequence[RateStanding]) -> dict[str, str]:
    """RateLimit and RateLimit-Policy, as draft-ietf-httpapi-ratelimit-headers-10 has them; nothing without limits. Of a
    limit that fills evenly `t` is when all of `q` is there again; one more may come sooner, as Retry-After says."""
    if not standings:
        return {}
    policies = (f'"{each.name}";q={each.limit};w={math.ceil(each.period)}' for each in standings)
    left = (f'"{each.name}";r={each.left};t={math.ceil(each.reset)}' for each in standings)
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(left)}


def _standings(error: Refused) -> Sequence[RateStanding]:
    if isinstance(error, RateLimited) and not error.rate_limits:  # counted elsewhere than in a submit
        return [RateStanding(error.policy, error.limit, error.window, 0, error.retry_after or 0)]
    return error.rate_limits


def _members(error: Refused) -> Mapping[str, object]:
    """What a problem says beside what every problem does."""
    if isinstance(error, QuotaExceeded):
        return {"quota": error.quota, "limit": error.limit, "used": error.used}
    if isinstance(error, BudgetExceeded):
        amounts = ("limit", "spent", "reserved", "asked")
        money = {name: format_micros(getattr(error, name)) for name in amounts}
        return {"budget": error.budget, **money, "resets_at": moment(error.resets_at)}
    if isinstance(error, RateLimited):
        return {"policy": error.policy, "limit": error.limit, "window": error.window}
    if isinstance(error, PolicyDenied):
        return {"decision_id": error.decision_id, "rules": error.rules, "policy_version": error.version}
    return {}


def _of_framework(error: HTTPException) -> Response:
    status = error.code or 500
    if status >= 500:
        return _of_surprise(error)
    kept = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
    kind = _FRAMEWORK_CODES.get(status)
    code = kind.code if kind else error.name.lower().replace(" ", "-")
    title = title_of(kind) if kind else error.name
    return problem(status, code, title, error.description or title, headers=kept)


def _of_surprise(error: Exception) -> Response:
    log.error("request failed unexpectedly", exc_info=error)
    return problem(500, Refused.code, "Internal error", _INTERNAL)
