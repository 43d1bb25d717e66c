"""Every figure that is kept, by its one name; and the figures of this process, until they are added to the fleet's.

A counter is an integer in a hash, its field `name|label|…`: kept by the scripts in the same step as what it counts, or
by a process, which adds what it has once a second. So a restart loses nothing older than that, any web process exports
the whole, and nothing depends on how many processes there are.
"""

from __future__ import annotations

import bisect
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

PREFIX = "aragora_cp_"
#: Upper bounds of the buckets of times, in ms; a last one has no bound.
BOUNDS_MS = (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000)


@dataclass(frozen=True, slots=True)
class Meter:
    """`kind`: counter, histogram (of seconds, kept in ms) or gauge. Labels take few values, none that a tenant
    chooses."""

    kind: str
    help: str
    labels: tuple[str, ...] = ()


#: By name, less the prefix and less `_total`.
METERS: Mapping[str, Meter] = {
    # Kept by the scripts.
    "tasks_submitted": Meter("counter", "Tasks accepted."),
    "tasks_ended": Meter("counter", "Tasks that became final.", ("outcome",)),
    "tasks_rerun": Meter("counter", "Ended tasks that a person ran again."),
    "attempts_started": Meter("counter", "Attempts claimed by an agent."),
    "attempts_returned": Meter("counter", "Attempts after which the task waits again.", ("why",)),
    "attempts_failed": Meter("counter", "Attempts that ended badly, and tasks that expired.", ("code",)),
    "queue_wait_seconds": Meter("histogram", "Waiting for an agent before an attempt, without backoff."),
    "run_time_seconds": Meter("histogram", "From claim to end of an attempt."),
    "lease_renewals": Meter("counter", "Leases that a heartbeat asked to renew, by the answer.", ("answer",)),
    # Kept by the monitor.
    "repairs": Meter("counter", "What the monitor put right.", ("kind",)),
    "alert_deliveries": Meter("counter", "Tries to deliver an alert.", ("sink", "outcome")),
    # Kept by the web processes.
    "http_requests": Meter("counter", "Requests answered; status is the class, as 2xx.", ("method", "route", "status")),
    "http_request_duration_seconds": Meter("histogram", "Time to the answer, waits included.", ("route",)),
    "http_store_round_trips": Meter("counter", "Times that requests went to the store.", ("route",)),
    "rejections": Meter("counter", "Requests refused, by the problem's code.", ("code",)),
    # As the leader counted last.
    "agents_online": Meter("gauge", "Agents that are not offline."),
    "agents_lost": Meter("gauge", "Agents that fell silent within the last hour and are not back."),
    "agent_slots": Meter("gauge", "Tasks that the agents can run at once."),
    "lanes": Meter("gauge", "Lanes with an agent."),
    "tasks": Meter("gauge", "Tasks that have not ended.", ("state",)),
    "tickets_out": Meter("gauge", "Tickets in the queues: what the windows have let out."),
    "oldest_wait_seconds": Meter("gauge", "How long the task that has waited longest has waited."),
    "capabilities_without_agents": Meter("gauge", "Sets of capabilities that tasks wait for and no agent has."),
    "breakers_open": Meter("gauge", "Agents whose circuit breaker is open."),
    "alerts_firing": Meter("gauge", "Alerts that fire.", ("severity",)),
    "instances": Meter("gauge", "Processes that have beaten lately.", ("kind",)),
    "instances_ready": Meter("gauge", "Those of them that say they are ready.", ("kind",)),
    "store_memory_bytes": Meter("gauge", "Memory that the store uses."),
    "store_memory_limit_bytes": Meter("gauge", "Memory that the store may use; 0: as much as there is."),
    "health": Meter("gauge", "1 for what the control plane is now.", ("status",)),
    "health_age_seconds": Meter("gauge", "Age of the leader's last report."),
    # Of the process that answers the scrape.
    "ready": Meter("gauge", "Whether a check of readiness passes here.", ("check",)),
}


def field_of(name: str, *labels: str) -> str:
    """The field of a counter. Raises KeyError for a name that is not in the table, ValueError for other labels."""
    if len(labels) != len(METERS[name].labels):
        raise ValueError(f"{name} has the labels {METERS[name].labels}")
    return "|".join((name, *(label.replace("|", "_") for label in labels)))


def bucket_of(ms: float) -> int:
    return bisect.bisect_left(BOUNDS_MS, ms)


class Tally:
    """Counts of this process since they were taken last. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def count(self, name: str, *labels: str, by: int = 1) -> None:
        if by:
            with self._lock:
                self._counts[field_of(name, *labels)] += by

    def observe(self, name: str, *labels: str, seconds: float) -> None:
        """One value of a histogram."""
        field, ms = field_of(name, *labels), round(seconds * 1000)
        with self._lock:
            self._counts[f"{field}|{bucket_of(ms)}"] += 1
            self._counts[f"{field}|sum"] += ms

    def take(self) -> dict[str, int]:
        """All of them; they begin anew."""
        with self._lock:
            taken, self._counts = self._counts, Counter()
        return dict(taken)

    def put_back(self, counts: Mapping[str, int]) -> None:
        """What was taken could not be added."""
        with self._lock:
            self._counts.update(counts)
