"""What is worth an alert: the table of rules, and what the leader's figures say about each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aragora_cp.config import ControlPlaneConfig
    from aragora_cp.store.health import Gathered
    from aragora_cp.store.sweeps import Queue

#: An audit trail that has had something unsealed for so long is late, in seconds.
SEAL_LATE = 60.0
#: Subjects that one rule may have at once; a fleet that is lost as a whole is not a thousand alerts.
MOST_SUBJECTS = 50


@dataclass(frozen=True, slots=True)
class Rule:
    """An incident begins when its condition has held for `hold` seconds, and ends when it has not for `clear`: so what
    comes and goes is one incident."""

    name: str
    severity: str
    hold: float
    clear: float
    meaning: str


#: By name. The conditions themselves: `signals`, and whoever else knows of one (`lookout.Source`).
RULES: Mapping[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule("agent-offline", "warning", 0, 5, "An agent fell silent and did not say goodbye."),
        Rule("breaker-open", "warning", 0, 10, "An agent's circuit breaker is open."),
        Rule("capability-without-agents", "critical", 30, 10, "Tasks wait for capabilities that no agent has."),
        Rule("oldest-wait", "warning", 30, 30, "A task has waited longer than `alert_oldest_wait`."),
        Rule("failure-rate", "warning", 60, 60, "Of the tasks that ended, more than `alert_failure_rate` failed."),
        Rule("budget-share", "warning", 0, 60, "A budget is nearly used up."),
        Rule("leader-missing", "critical", 10, 5, "No monitor leads."),
        Rule("seal-late", "critical", 0, 10, "An audit trail has not been sealed for a minute."),
        Rule("store-memory", "critical", 30, 60, "The store uses more of its memory than `alert_store_memory`."),
    )
}


@dataclass(frozen=True, slots=True)
class Signal:
    """A rule's condition holds. `subject`: what it is about, within the rule; `workspace`: whose it is, '' the
    platform's; `text`: for people, without anything that a task holds."""

    rule: str
    subject: str
    text: str
    workspace: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the leader knows without looking at any one task or agent."""

    gathered: Gathered
    queues: Mapping[str, Queue]
    #: Workspace: (share that failed, tasks that ended); None: not known long enough to say.
    failing: Mapping[str, tuple[float, int]] | None
    #: Seconds since all trails were last sealed as far as they went.
    seal_lag: float


def signals(facts: Facts, config: ControlPlaneConfig) -> Iterator[Signal]:
    """Every condition that holds, of the rules that these facts decide."""
    yield from _lost(facts)
    yield from _queues(facts, config.alert_oldest_wait)
    for workspace, (share, ended) in (facts.failing or {}).items():
        if share > config.alert_failure_rate:
            yield Signal("failure-rate", workspace, f"{share:.0%} of {ended} tasks failed in {workspace}", workspace)
    if facts.seal_lag > SEAL_LATE:
        yield Signal("seal-late", "", f"audit trails have not been sealed for {facts.seal_lag:.0f} s")
    share = memory_share(facts.gathered)
    if share > config.alert_store_memory:
        yield Signal("store-memory", "", f"the store uses {share:.0%} of its memory")


def decided(facts: Facts) -> Iterator[str]:
    """The rules that `signals` speaks of: where it names no subject, there is none."""
    yield from ("agent-offline", "capability-without-agents", "oldest-wait", "leader-missing", "seal-late")
    yield "store-memory"
    if facts.failing is not None:
        yield "failure-rate"


def memory_share(gathered: Gathered) -> float:
    """Of the memory that the store may use; 0 where it has no limit."""
    return gathered.memory_used / gathered.memory_limit if gathered.memory_limit else 0.0


def by_rule(found: Iterable[Signal]) -> dict[str, list[Signal]]:
    """No more than MOST_SUBJECTS each, those that come first."""
    groups: dict[str, list[Signal]] = {}
    for signal in found:
        group = groups.setdefault(signal.rule, [])
        if len(group) < MOST_SUBJECTS:
            group.append(signal)
    return groups


def _lost(facts: Facts) -> Iterator[Signal]:
    for agent in facts.gathered.lost:
        text = f"the agent {agent.handle} is offline and did not say goodbye"
        yield Signal("agent-offline", agent.handle, text, agent.workspace or "")


def _queues(facts: Facts, longest: float) -> Iterator[Signal]:
    now = facts.gathered.now
    for workspace, queue in facts.queues.items():
        for capabilities in queue.unserved:
            text = f"tasks of {workspace} wait for {capabilities or 'any agent'}, and no agent can serve them"
            yield Signal("capability-without-agents", f"{workspace}:{capabilities}", text, workspace)
        waited = (now - queue.oldest_since) / 1000 if queue.oldest_since else 0
        if waited > longest:
            yield Signal("oldest-wait", workspace, f"a task of {workspace} has waited for {waited:.0f} s", workspace)
