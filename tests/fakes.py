"""What stands in for the ports in tests. Each passes the port's contract suite in tests/contract."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from threading import Lock

from aragora_cp.errors import BrokerUnavailable
from aragora_cp.model import Lane, Ticket


class RecordingBroker:
    """A TicketBroker in memory: queues by lane and priority, and a note of everything that was asked of it.

    `away` makes it refuse like a broker that cannot be reached.
    """

    def __init__(self) -> None:
        self.sent: list[Ticket] = []
        self.cancelled: list[tuple[str, str, int]] = []
        self.away = False
        self._queues: dict[str, list[Ticket]] = defaultdict(list)
        self._lock = Lock()

    def send(self, tickets: Sequence[Ticket]) -> None:
        if self.away:
            raise BrokerUnavailable
        with self._lock:
            self.sent.extend(tickets)
            for ticket in tickets:
                self._queues[ticket.lane].append(ticket)

    def depths(self, lanes: Iterable[str]) -> Mapping[str, int]:
        if self.away:
            raise BrokerUnavailable
        with self._lock:
            return {lane: len(self._queues.get(lane, ())) for lane in lanes}

    def cancel(self, agent_id: str, task_id: str, attempt: int) -> None:
        self.cancelled.append((agent_id, task_id, attempt))

    def close(self) -> None:
        self._queues.clear()

    def take(self, *lanes: str) -> Ticket | None:
        """The next ticket of `lanes` (all when none is named): most urgent first, then oldest, as a worker gets it."""
        with self._lock:
            waiting = [ticket for lane in lanes or list(self._queues) for ticket in self._queues.get(lane, ())]
            if not waiting:
                return None
            ticket = min(waiting, key=lambda each: each.priority)
            self._queues[ticket.lane].remove(ticket)
            return ticket

    def take_for(self, task_id: str) -> Ticket | None:
        """The next ticket of one task."""
        with self._lock:
            for queue in self._queues.values():
                for ticket in queue:
                    if ticket.task_id == task_id:
                        queue.remove(ticket)
                        return ticket
        return None

    def queued(self, *lanes: str) -> list[Ticket]:
        """What waits in `lanes` (all when none is named), in no order between lanes."""
        with self._lock:
            return [ticket for lane in lanes or list(self._queues) for ticket in self._queues.get(lane, ())]

    def lose(self) -> None:
        """Every queued ticket is gone, as after a broker that kept nothing."""
        with self._lock:
            self._queues.clear()


class FixedLanes:
    """A LaneDirectory with the lanes it was given."""

    def __init__(self, *lanes: Lane) -> None:
        self._lanes = lanes

    def lanes(self) -> Sequence[Lane]:
        return self._lanes
