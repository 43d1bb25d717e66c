"""Every error answer, as RFC 9457 problem documents."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from aragora_cp import errors
from aragora_cp.errors import InvalidRequest, PolicyDenied, QuotaExceeded, RateLimited, Refused, Unauthenticated
from aragora_cp.store.codec import dumps

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
    if isinstance(error, RateLimited):
        headers |= _limit_headers(error)
    fields = error.errors if isinstance(error, InvalidRequest) else None
    more: dict[str, object] = {}
    if isinstance(error, QuotaExceeded):
        more = {"quota": error.quota, "limit": error.limit, "used": error.used}
    elif isinstance(error, PolicyDenied):
        more = {"decision_id": error.decision_id, "rules": error.rules, "policy_version": error.version}
    detail = title_of(InvalidRequest) if fields else str(error)
    return problem(error.status, error.code, title_of(type(error)), detail, fields=fields, headers=headers, more=more)


def _limit_headers(error: RateLimited) -> dict[str, str]:
    """RateLimit and RateLimit-Policy, as the IETF draft has them."""
    left = math.ceil(error.retry_after or 0)
    return {
        "RateLimit-Policy": f'"{error.policy}";q={error.limit};w={math.ceil(error.window)}',
        "RateLimit": f'"{error.policy}";r=0;t={left}',
    }


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
