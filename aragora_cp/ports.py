"""The seams: what a lower layer asks of a higher one, or of something outside. Their contract suites:
tests/contract."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import AgentSpec, Beat, Claim, Failure, Hold, Lane, Standing, Task, Ticket


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

    def cancel(self, handle: str, task_id: str, attempt: int) -> None:
        """Tell an agent at once that an attempt is cancelled. A hint: its next heartbeat says it again. Never
        raises."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


class LaneDirectory(Protocol):
    """Which lanes there are. Answers from a local copy that is at most a second old; no round trip."""

    def lanes(self) -> Sequence[Lane]:
        """Every lane with a live agent."""
        ...


class AgentHost(Protocol):
    """What the engine needs to know of the agent that it runs. One process-wide object, safe to carry over a fork."""

    config: ControlPlaneConfig

    @property
    def spec(self) -> AgentSpec:
        """The agent as it is registered."""
        ...

    @property
    def scheduler(self) -> TaskOutcomes:
        """This process's own scheduler; a forked child gets one of its own."""
        ...

    def prepare(self, *, node: str | None, concurrency: int | None, pool: str) -> str:
        """Check the token, register, and answer the node's name; `node` is what the command line said. Raises
        AragoraError when this process must not run as that agent."""
        ...

    def beat(self, holds: Sequence[Hold], *, completed: int, failed: int, stuck: int) -> Beat:
        """One heartbeat. Raises StaleSession, NotFound, StoreUnavailable."""
        ...

    def drain(self) -> None:
        """Say that this process takes nothing new any more; best effort."""
        ...

    def leave(self) -> None:
        """Say goodbye to the registry; best effort."""
        ...

    def perform(self, claim: Claim, interrupted: Callable[[], bool]) -> bytes:
        """Run the handler; answers its result as JSON. `interrupted` says that the attempt was told to stop. Raises
        AttemptFailed, StepAside, and whatever the handler raises."""
        ...


class TaskOutcomes(Protocol):
    """The part of the scheduler that the engine reports to. `standing`: what the last claim or report of this process
    learnt of the agent's breaker."""

    standing: Standing

    def claim(self, hold: Hold, agent: AgentSpec) -> Claim | str: ...
    def finish(self, hold: Hold, result: bytes, agent: AgentSpec) -> Task: ...
    def fail(self, hold: Hold, failure: Failure, agent_id: str, *, handle: str | None = None) -> Task: ...
    def hand_back(self, hold: Hold, *, awaits: Sequence[str] = (), handle: str | None = None) -> None: ...
    def let_go(self, hold: Hold, agent: AgentSpec) -> None: ...
    def throttled(self, hold: Hold, agent: AgentSpec, retry_after: float) -> None: ...
    def get(self, workspace: str, task_id: str) -> Task: ...


class Switches:
    """What operators have switched, by workspace. This one has nothing switched. Never raises; answers from a local
    copy at most 2 s old."""

    def look(self, workspaces: Iterable[str]) -> None:
        """Bring the copies of these up to date, in one round trip when one is needed."""

    def switched_off(self, workspace: str) -> frozenset[str]:  # noqa: ARG002 - a hook that does nothing
        """Capabilities that no task of the workspace gets for now."""
        return frozenset()

    def must_encrypt(self, workspace: str) -> bool:  # noqa: ARG002 - a hook that does nothing
        """Whether the workspace's data must be encrypted, beside what its own settings say."""
        return False
