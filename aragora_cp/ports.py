"""The seams: what a lower layer asks of a higher one, or of something outside. Each has one contract suite in tests/contract."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from aragora_cp.model import Lane, Ticket


class TicketBroker(Protocol):
    """Carries tickets to agents. Losing, doubling or delaying one costs time, never a task."""

    def send(self, tickets: Sequence[Ticket]) -> None:
        """Queue each ticket in its lane at its priority. Bounded in time.

        Raises BrokerUnavailable when not all could be sent; the monitor sends what is missing.
        """
        ...

    def depths(self, lanes: Iterable[str]) -> Mapping[str, int]:
        """Tickets queued in each of `lanes`, all priorities together; a lane without a queue has 0.

        Raises BrokerUnavailable.
        """
        ...

    def cancel(self, agent_id: str, task_id: str, attempt: int) -> None:
        """Tell an agent at once that an attempt is cancelled. A hint: its next heartbeat says it again. Never raises."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


class LaneDirectory(Protocol):
    """Which lanes there are. Answers from a local copy that is at most a second old; no round trip."""

    def lanes(self) -> Sequence[Lane]:
        """Every lane with a live agent."""
        ...
