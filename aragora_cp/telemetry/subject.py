"""What the present work is about, on every log line: the agent that this process is, the attempt in hand."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import structlog

from aragora_cp.model import Hold

_standing: dict[str, str] = {}


def always_say(**fields: str) -> None:
    """Put `fields` on every line of this process from now on, on those of its threads and children too."""
    _standing.update(fields)


def always_said() -> Mapping[str, str]:
    return _standing


def about(hold: Hold, correlation_id: str = "", **more: Any) -> AbstractContextManager[None]:
    """Lines within name the task's workspace, the task and its attempt; and the correlation id, when it is known."""
    return structlog.contextvars.bound_contextvars(**_fields(hold, correlation_id), **more)


def begin(hold: Hold, correlation_id: str = "") -> None:
    """As `about`, for work whose end is told elsewhere: by `end`."""
    structlog.contextvars.bind_contextvars(**_fields(hold, correlation_id))


def end() -> None:
    structlog.contextvars.clear_contextvars()


def _fields(hold: Hold, correlation_id: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"workspace": hold.workspace, "task_id": hold.task_id, "attempt": hold.attempt}
    return fields | ({"correlation_id": correlation_id} if correlation_id else {})
