"""Request bodies in, JSON out. A body is measured before it is parsed, and parsed strictly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from typing import Any, NoReturn, TypeVar, cast

import marshmallow as ma
from flask import Request, Response, request
from flask_smorest import Blueprint
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import HTTPException

from aragora_cp.api.services import services, tenant
from aragora_cp.errors import InvalidRequest, MalformedRequest, PayloadTooLarge, UnsupportedMediaType
from aragora_cp.store.codec import NotJson, dumps, loads

View = TypeVar("View", bound=Callable[..., Any])

#: What a body may hold beside its payload or result: metadata, names, numbers.
ENVELOPE_BYTES = 96 * 1024
#: An answer that comes before the body was read (401, 413) still reads so much of it and throws it away: a client that
#: is sending gets its answer only then, and can use the connection again.
MOST_DISCARDED = 8 * 1024 * 1024
_BLOCK = 64 * 1024
#: JSON nested deeper than this is refused: it must come out again wherever it went in.
DEEPEST = 512


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    response = Response(dumps(value), status, content_type="application/json")
    response.headers.update(headers or {})
    return response


def payload_limit() -> int:
    """Most bytes of a payload in the workspace of the present request."""
    return tenant().settings.max_payload_bytes or services().plane.config.max_payload_bytes


def result_limit() -> int:
    """Most bytes of a result in the workspace of the present request."""
    return tenant().settings.max_result_bytes or services().plane.config.max_result_bytes


def carries_result(view: View) -> View:
    """The body of this operation holds a result, which may be larger than a payload. Stands before the arguments."""

    @wraps(view)
    def allowing(*args: Any, **kwargs: Any) -> Any:
        request.max_content_length = result_limit() + ENVELOPE_BYTES
        return view(*args, **kwargs)

    return cast(View, allowing)


def as_json(value: Any, field: str, most: int) -> bytes:
    """`value` as it is kept. Raises PayloadTooLarge beyond `most` bytes, InvalidRequest naming `field`."""
    try:
        body = dumps(value)
    except NotJson as error:
        raise InvalidRequest({field: [str(error)]}) from None
    if len(body) > most:
        raise PayloadTooLarge(f"{field} has {len(body)} bytes of JSON; {most} are allowed")
    if _deeper_than(value, DEEPEST):
        raise InvalidRequest({field: [f"must not be nested deeper than {DEEPEST} levels"]})
    return body


def read_body(of: Request) -> Any:
    """The JSON body, `ma.missing` when there is none.

    Raises UnsupportedMediaType, MalformedRequest, and werkzeug's RequestEntityTooLarge, before anything is parsed, for
    a body longer than the request may be (also one that does not tell its length).
    """
    try:
        data = of.get_data(cache=False)
        if of.content_length is None:
            of.stream.read(1)  # raises at the limit, where the first read only stopped
    except HTTPException:
        raise
    except Exception as error:  # a broken chunk, a client gone: each server has its own errors for it
        raise MalformedRequest("the body cannot be read to its end") from error
    if not data:
        return ma.missing
    if of.mimetype != "application/json" or of.mimetype_params.get("charset", "utf-8").lower() != "utf-8":
        raise UnsupportedMediaType
    try:
        return loads(data)
    except NotJson as error:
        raise MalformedRequest(f"the body is not JSON: {error}") from None


def discard_rest(response: Response) -> Response:
    """For `Flask.after_request`: read what is left of the body, if the server says that reading it comes to an end."""
    if request.environ.get("wsgi.input_terminated"):
        source, left = request.environ["wsgi.input"], MOST_DISCARDED
        with suppress(Exception):  # the client has gone, or broke its own chunks: each server has its own errors
            while left > 0 and (block := source.read(min(left, _BLOCK))):
                left -= len(block)
    return response


def expect_no_body() -> None:
    """For operations without fields: nothing, or an empty object. Raises as `read_body`, and InvalidRequest."""
    body = read_body(request)
    if body not in (ma.missing, {}):
        names = list(body) if isinstance(body, dict) else ["body"]
        raise InvalidRequest({name: ["Unknown field."] for name in names})


class _Parser(FlaskParser):
    """Strict bodies, no unknown query parameter, our errors."""

    DEFAULT_UNKNOWN_BY_LOCATION = {**FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION, "query": ma.RAISE}  # noqa: RUF012

    def load_json(self, req: Request, _schema: ma.Schema) -> Any:
        body = read_body(req)
        if body is ma.missing:
            if req.content_type and req.mimetype != "application/json":
                raise UnsupportedMediaType
            raise MalformedRequest("the request has no body; this call needs a JSON object")
        return body

    def handle_error(self, error: ma.ValidationError, *_args: Any, **_kwargs: Any) -> NoReturn:
        found: dict[str, list[str]] = {}
        for told in error.messages_dict.values():
            _flatten(told, "", found)
        raise InvalidRequest(found) from None


class Resource(Blueprint):
    """A blueprint whose arguments are read by the parser above."""

    ARGUMENTS_PARSER = _Parser()


def _flatten(told: Any, name: str, into: dict[str, list[str]]) -> None:
    """marshmallow's nested messages under dotted names; what concerns the body as a whole under `body`."""
    if isinstance(told, Mapping):
        for part, inner in told.items():
            _flatten(inner, name if part == "_schema" else f"{name}.{part}".lstrip("."), into)
    else:
        into.setdefault(name or "body", []).extend(map(str, told if isinstance(told, list) else [told]))


def _deeper_than(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels + 1):
        layer = [
            inner
            for outer in layer
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not layer:
            return False
    return True
