"""The id that ties together everything one request causes: taken over from the caller, or made. Pure."""

from __future__ import annotations

import re
import uuid
from typing import Protocol

#: What may be copied into headers, records and log lines without a second look.
_SAFE = re.compile(r"[A-Za-z0-9._:/=+@-]{1,128}")
#: W3C Trace Context, `traceparent`: version, trace-id, parent-id, flags; later versions may append fields.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


class Headers(Protocol):
    """Request headers; whether the case of a name matters is the mapping's own business."""

    def get(self, name: str, /) -> str | None:
        """The header's value, None when the request does not have it."""
        ...


def correlation_id(headers: Headers) -> str:
    """`X-Correlation-ID` when it is 1 to 128 of letters, digits and ``. _ : / = + @ -``; else the trace-id of a valid
    `traceparent`; else a new one. A value that is none of these is replaced and not refused: it names no resource."""
    given = headers.get("X-Correlation-ID")
    if given is not None and _SAFE.fullmatch(given):
        return given
    trace = _TRACEPARENT.fullmatch(headers.get("traceparent") or "")
    return trace[1] if trace else uuid.uuid4().hex
