"""The monitor: one leader among any number of processes keeps timers, leases and tickets true. One duty, one
function."""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from threading import Event

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import BrokerUnavailable, StoreUnavailable
from aragora_cp.lookout import Lookout
from aragora_cp.model import Lane
from aragora_cp.notary import Notary
from aragora_cp.ports import TicketBroker
from aragora_cp.store.sweeps import GONE, Deposed, Due, Look, SweepStore

log = logging.getLogger(__name__)

#: A leader that has not ticked for this long is followed by another.
LEADER_LEASE = 3.0
#: A pause between two ticks beyond this is a silence of ours: agents are not judged for one heartbeat timeout after it.
TICK_GAP = 2.0
#: How often queues are counted against tickets.
COUNT_QUEUES = 0.5


class Monitor:
    """Ticks until told to stop. Each tick is a handful of round trips, whatever the number of tasks and agents."""

    def __init__(
        self,
        store: SweepStore,
        broker: TicketBroker,
        config: ControlPlaneConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Random | None = None,
        token: str | None = None,
        notary: Notary | None = None,
        lookout: Lookout | None = None,
    ) -> None:
        self._store = store
        self._notary = notary
        self._lookout = lookout
        self._broker = broker
        self._config = config
        self._clock = clock
        self._chance = chance or Random()  # noqa: S311 - spreads retries, guards nothing
        self._token = token or uuid.uuid4().hex
        self._load: dict[str, int] = {}
        self._loads: dict[str, Mapping[str, int]] = {}
        self._short: set[str] = set()
        self._suspects: set[str] = set()
        self._idle: set[str] = set()
        self._counted_at = float("-inf")
        self._leading = False
        self._ticked_at = clock()

    def silence(self) -> float:
        """Seconds since the last round that came to its end."""
        return self._clock() - self._ticked_at

    def run(self, stop: Event) -> None:
        """Tick every `monitor_interval` until `stop`; trouble with the store or the broker is logged and waited out."""
        while not stop.is_set():
            try:
                self.tick()
                self._ticked_at = self._clock()
            except StoreUnavailable as error:
                log.warning("the store is away, trying again", extra={"reason": str(error)})
                stop.wait(0.5)
            except Exception:
                log.exception("a tick failed")
                stop.wait(0.5)
            stop.wait(self._config.monitor_interval)
        try:
            self._store.resign(self._token)
        except StoreUnavailable:
            log.debug("left without resigning: the store is away")

    def tick(self) -> bool:
        """One round of all duties; False when another monitor leads."""
        leadership = self._store.lead(self._token, lease_ms=round(LEADER_LEASE * 1000), gap_ms=round(TICK_GAP * 1000))
        if bool(leadership.epoch) != self._leading:
            self._leading = bool(leadership.epoch)
            log.info("leading" if self._leading else "another monitor leads")
        if not leadership.epoch:
            return False
        if leadership.new:
            self._begin()
        try:
            if leadership.judge:
                self._retire_agents(leadership.epoch)
            due = self._store.due(self._load)
            self._count_queues(due.lanes)
            looks = self._sweep(leadership.epoch, leadership.judge, due)
        except Deposed:
            self._leading = False
            return False
        self._send(looks)
        self._plan(due, looks)
        if self._lookout:
            self._lookout.look(leadership.epoch, looks, due.lanes, self._load)
        if self._notary:
            self._notary.saw(workspace for workspace, _ in due.workspaces)
            self._notary.tick()
        return True

    def _begin(self) -> None:
        if self._notary:
            self._notary.begin()
        if self._lookout:
            self._lookout.begin()

    def _retire_agents(self, epoch: int) -> None:
        for agent_id in self._store.retire(epoch):
            log.warning("agent offline", extra={"agent_id": agent_id})

    def _count_queues(self, lanes: tuple[Lane, ...]) -> None:
        """Find the lanes whose queue holds fewer tickets than are out (twice in a row), and the idle ones."""
        if self._clock() - self._counted_at < COUNT_QUEUES:
            return
        self._counted_at = self._clock()
        names = {lane.name for lane in lanes} | {
            name.removeprefix("tickets:") for name in self._load if name.startswith("tickets:")
        }
        try:
            depths = self._broker.depths(names)
        except BrokerUnavailable as error:
            log.warning("the broker is away", extra={"reason": str(error)})
            self._short, self._suspects, self._idle = set(), set(), set()
            return
        short = {name for name in names if depths.get(name, 0) < self._load.get(f"tickets:{name}", 0)}
        self._short, self._suspects = short & self._suspects, short
        self._idle = {lane.name for lane in lanes if lane.free > 0 and depths.get(lane.name, 0) == 0}

    def _sweep(self, epoch: int, judge: bool, due: Due) -> list[Look]:
        if not due.workspaces:
            return []
        return self._store.sweep(
            epoch,
            [workspace for workspace, _ in due.workspaces],
            judge=judge,
            lanes=due.lanes,
            short=sorted(self._short),
            idle=sorted(self._idle),
            chance=self._chance.random(),
        )

    def _send(self, looks: list[Look]) -> None:
        for look in looks:
            if look.repairs:
                log.info("repaired", extra={"workspace": look.workspace, **dict(look.repairs)})
            if look.next_look == GONE:
                log.info("workspace deleted", extra={"workspace": look.workspace})
            for stopped in look.stopped:
                self._broker.cancel(*stopped)
        tickets = [ticket for look in looks for ticket in look.tickets]
        if tickets:
            try:
                self._broker.send(tickets)
            except BrokerUnavailable as error:
                log.warning("tickets not sent", extra={"count": len(tickets), "reason": str(error)})

    def _plan(self, due: Due, looks: list[Look]) -> None:
        for look in looks:
            if look.load:
                self._loads[look.workspace] = look.load
            else:
                self._loads.pop(look.workspace, None)
        total: Counter[str] = Counter()
        for load in self._loads.values():
            total.update(load)
        self._load = dict(total)
        found = dict(due.workspaces)
        self._store.schedule(
            self._load,
            [
                (
                    look.workspace,
                    found[look.workspace],
                    float("inf") if look.next_look is None else look.next_look,
                )
                for look in looks
            ],
        )
