"""Where the present call comes from, for the audit trail: said once at the edge, and carried by every script."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """`actor` for calls that name none themselves (`token:<id>`, `local:<user>`); `address` is the HTTP caller's."""

    actor: str = ""
    address: str = ""
    correlation_id: str = ""

    def __str__(self) -> str:
        """As the scripts take it: three lines."""
        return "\n".join(part.replace("\n", " ") for part in (self.actor, self.address, self.correlation_id))


_present: ContextVar[Origin] = ContextVar("aragora_cp_origin", default=Origin())  # noqa: B039 - frozen


def present() -> Origin:
    return _present.get()


def enter(origin: Origin) -> Token[Origin]:
    """From here on calls come from `origin`, until `leave` gets what this answers."""
    return _present.set(origin)


def leave(token: Token[Origin]) -> None:
    _present.reset(token)


@contextmanager
def called_by(origin: Origin) -> Iterator[None]:
    token = enter(origin)
    try:
        yield
    finally:
        leave(token)
