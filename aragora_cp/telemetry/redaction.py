"""What may never stand in a log line, and what stands there instead. Pure."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

#: Fields whose values are dropped, whatever they are. Compared in lower case, with - as _.
SECRET_FIELDS = frozenset(
    {
        "agent_token", "api_key", "args", "authorization", "body", "cookie", "kwargs", "passphrase", "password",
        "payload", "requirepass", "result", "secret", "token",
    }
)  # fmt: skip
HIDDEN = "[hidden]"

_TOKEN = re.compile(r"\bacp_([A-Za-z0-9-]+)_[A-Za-z0-9_-]+")
_CREDENTIALS = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^\s/@]*:[^\s/@]*@", re.IGNORECASE)
#: Where a store or a broker is, whatever stands behind it.
_SERVER_URL = re.compile(r"\b((?:rediss?|valkeys?|amqps?|unix)(?:\+[a-z]+)?):/\S*", re.IGNORECASE)
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]+", re.IGNORECASE)

_PORTS = {"amqp": 5672, "amqps": 5671}

#: How deep a field is looked into; what lies deeper is dropped.
_DEEPEST = 4
#: Frames of an error that are named, innermost last.
_FRAMES = 6


def redacted(value: Any, *, depth: int = 0) -> Any:
    """`value` without secrets: SECRET_FIELDS at any depth, tokens, the credentials in URLs and headers,
    and the addresses of stores and brokers that are given as URLs."""
    if isinstance(value, str):
        value = value.encode("utf-8", "backslashreplace").decode()  # a lone surrogate cannot be written out
        text = _TOKEN.sub(rf"acp_\1_{HIDDEN}", value)
        text = _SERVER_URL.sub(rf"\1://{HIDDEN}", text)
        return _BEARER.sub(rf"\1 {HIDDEN}", _CREDENTIALS.sub(rf"\g<scheme>{HIDDEN}@", text))
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth == _DEEPEST:
        return HIDDEN
    if isinstance(value, Mapping):
        return {key: HIDDEN if is_secret(key) else redacted(each, depth=depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(each, depth=depth + 1) for each in value]
    if isinstance(value, BaseException):
        return type(value).__name__  # its text may quote what it was given
    if isinstance(value, bytes | bytearray | memoryview):
        return HIDDEN
    return redacted(str(value), depth=depth)


def is_secret(field: Any) -> bool:
    """Whether a field of that name is dropped."""
    return str(field).lower().replace("-", "_") in SECRET_FIELDS


def places_of(urls: Iterable[str]) -> re.Pattern[str]:
    """Finds the servers that `urls` name where they are not written as URLs: drivers say ``host:port``, or the path of
    a socket. Without any it finds nothing."""
    found = set()
    for url in filter(None, urls):
        parts = urlsplit(url)
        if parts.hostname is None:
            found.add(re.escape(parts.path))
            continue
        port = parts.port or _PORTS.get(parts.scheme, 6379)
        found.add(rf"\[?{re.escape(parts.hostname)}\]?:{port}\b")
    return re.compile("|".join(sorted(found)) or "(?!)", re.IGNORECASE)


def error_report(error: BaseException) -> dict[str, Any]:
    """What a log says of an error: its type, where it was raised, and the types of its causes.

    Neither its message nor any value: both may quote a payload or a secret.
    """
    report: dict[str, Any] = {"error": qualified_name(error), "error_at": _places(error.__traceback__)}
    causes: list[str] = []
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    while cause is not None and len(causes) < _FRAMES:
        causes.append(qualified_name(cause))
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    if causes:
        report["error_from"] = causes
    return report


def qualified_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _places(trace: TracebackType | None) -> list[str]:
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(trace)][-_FRAMES:]
    return [f"{_short(code.co_filename)}:{line}:{code.co_name}" for code, line in frames]


def _short(filename: str) -> str:
    """The file from its package on: `site-packages/celery/app/trace.py` becomes `celery/app/trace.py`."""
    return re.split(r"[/\\](?:site-packages|dist-packages|lib[/\\]python3\.\d+)[/\\]", filename)[-1]
