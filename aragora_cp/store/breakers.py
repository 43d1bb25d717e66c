"""Circuit breakers in the store: the calls that go with a claim and a report, and what operators do and see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import Breaker, Hold, Standing
from aragora_cp.store import scripts
from aragora_cp.store.connection import translated
from aragora_cp.store.forms import Record, as_record
from aragora_cp.store.keys import fleet_keys

#: Length of one outcome in a window's text; its last letter is the kind (lib/breaker.lua).
_ENTRY = 14


@dataclass(frozen=True, slots=True)
class Word:
    """A breaker's answer: go, refused, counted or ignored; and what the agent is to know."""

    word: str
    standing: Standing


class BreakerStore:
    """Agents' breakers, by handle. All of it is in the fleet's slot and goes by the server's clock. Raises
    StoreUnavailable from every method that is not said to make a call only."""

    def __init__(self, client: redis.Redis, config: ControlPlaneConfig) -> None:
        self._client = client
        self._keys = fleet_keys(config.key_prefix)

    def begin(self, handle: str, hold: Hold) -> scripts.Call:
        """The call that asks whether the agent may take an attempt, and enters it; it goes with the claim."""
        return self._call("begin_call", handle, _name(hold))

    def end(self, handle: str, hold: Hold, outcome: str, pause: float = 0) -> scripts.Call:
        """The call that says how an attempt ended; it goes with the report. Told twice it counts once. `pause`:
        seconds that the upstream asked for."""
        return self._call("end_call", handle, _name(hold), outcome, round(pause * 1000))

    def tell(self, calls: Sequence[scripts.Call]) -> list[Word]:
        """Make these calls alone. One round trip."""
        with translated():
            return [read_word(answer) for answer in scripts.run_all(self._client, calls)]

    def force(self, handle: str, word: str, *, reason: str, seconds: float) -> bool:
        """Hold it ``open`` or ``closed`` for so long, or ``auto``: give it back to itself, fresh. False when there is
        no such agent. One round trip."""
        with translated():
            answer = scripts.run(self._client, self._call("force_breaker", handle, word, reason, round(seconds * 1000)))
        return answer == b"ok"

    def find(self, handle: str) -> Breaker | None:
        """What is known of an agent's breaker and its model's; None when there is no such agent. Two round trips."""
        with translated():
            record = as_record(self._client.hgetall(self._keys("agent", handle)))
            if not record:
                return None
            model = record["model"].decode()
            pipe = self._client.pipeline(transaction=False)
            pipe.hgetall(self._keys("model", f"{record['scope'].decode()}/{model}"))
            pipe.time()
            of_model, (seconds, micros) = pipe.execute()
        return read_breaker(record, as_record(of_model), seconds * 1000 + micros // 1000)

    def _call(self, name: str, *args: Any) -> scripts.Call:
        return scripts.Call(scripts.script(name), self._keys.root, args)


def read_word(answer: Sequence[Any]) -> Word:
    """An answer of begin_call or end_call."""
    return Word(answer[0].decode(), Standing(answer[1].decode(), answer[2] / 1000))


def state_of(record: Record, now: int) -> str:
    """closed, open or half-open, of an agent's or a model's record: as lib/breaker.lua has it."""
    if _forced(record, now):
        return record["forced"].decode()
    if record.get("breaker") != b"open":
        return "closed"
    return "open" if _number(record, "open_until") > now else "half-open"


def read_breaker(record: Record, of_model: Record, now: int) -> Breaker:
    """All that the records of an agent and of its model say of their breakers as of `now`."""
    forced = _forced(record, now)
    until = _number(record, "forced_until" if forced else "open_until")
    state, model_state = state_of(record, now), state_of(of_model, now)
    kinds = record.get("recent", b"").decode()[_ENTRY - 1 :: _ENTRY]
    paused = max(
        _number(record, "paused_until"),
        _number(of_model, "paused_until"),
        _number(of_model, "open_until") if model_state == "open" else 0,
    )
    return Breaker(
        state=state,
        until=until if forced or state == "open" else None,
        forced=forced,
        reason=record.get("forced_reason", b"").decode() if forced else "",
        actor=record.get("forced_by", b"").decode() if forced else "",
        trips=_number(record, "trips"),
        calls=len(kinds),
        failed=sum(kind in "fx" for kind in kinds),
        slow=sum(kind in "lx" for kind in kinds),
        spared=bool(record.get("spared")),
        model=record["model"].decode(),
        model_state=model_state,
        paused_until=paused if paused > now else None,
    )


def _forced(record: Record, now: int) -> bool:
    return bool(record.get("forced")) and _number(record, "forced_until") > now


def _number(record: Record, name: str) -> int:
    return int(record.get(name) or 0)


def _name(hold: Hold) -> str:
    """An attempt in an agent's hands; by its lease too, for an agent may hold a doubled ticket of what it runs."""
    return f"{hold.task_id}:{hold.attempt}:{hold.lease}"
