"""Alerts in the store: incidents, silences, and what is to be delivered of them. One method, one round trip."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import redis

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import NotFound, QuotaExceeded
from aragora_cp.store import scripts
from aragora_cp.store.connection import translated
from aragora_cp.store.keys import fleet_keys

if TYPE_CHECKING:
    from aragora_cp.health.rules import Rule, Signal

#: What a sink that keeps no state of its own hears again of an incident that goes on: ms.
REFRESH_MS = 3600 * 1000
MOST_SILENCES = 500
#: A delivery that was taken and not settled is due again after this: longer than a sink may take.
DELIVERY_LEASE_MS = 60_000
#: What is for a sink that no process has any more goes after a day.
UNREACHED_MS = 86400 * 1000
DEAD_KEPT = 1000
DEAD_KEPT_MS = 7 * 86400 * 1000


@dataclass(frozen=True, slots=True)
class Alert:
    """An incident: `state` is pending, firing or resolved. Times in ms; `workspace` '' is the platform."""

    incident: str
    rule: str
    subject: str
    workspace: str
    severity: str
    state: str
    text: str
    since: int
    fired_at: int | None
    ended_at: int | None
    silenced: bool


@dataclass(frozen=True, slots=True)
class Silence:
    """Which alerts are not told until `ends` (ms): '' in `rule` or `subject` is any, in `workspace` everybody's."""

    name: str
    rule: str
    subject: str
    workspace: str
    ends: int
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one sink. `body`: what `told` of lib/alerts.lua makes; `age_ms`: since it was first due."""

    id: str
    sink: str
    kind: str
    incident: str
    body: Mapping[str, Any]
    attempts: int
    age_ms: int


class AlertStore:
    """Raises StoreUnavailable from every method."""

    def __init__(
        self,
        client: redis.Redis,
        config: ControlPlaneConfig,
        rules: Mapping[str, Rule],
        sinks: Sequence[str],
        refreshed: Sequence[str] = (),
    ) -> None:
        """`sinks`: names of those that each alert goes to; `refreshed`: those of them that forget what they are not
        told again."""
        self._client = client
        self._keys = fleet_keys(config.key_prefix)
        self._rules = rules
        self._sinks = tuple(sinks)
        self._refreshed = tuple(refreshed)

    def judge(self, found: Mapping[str, Sequence[Signal]], *, epoch: int = 0) -> dict[str, int]:
        """Say of each rule in `found` for which subjects its condition holds now; answers how many alerts fire, by
        severity. One script a rule. `epoch`: the leader's that says so (0: anyone may); a deposed one changes
        nothing."""
        calls = [self._judgement(self._rules[name], group, epoch) for name, group in found.items()]
        with translated():
            answers = scripts.run_all(self._client, calls)
        firing: Counter[str] = Counter()
        for name, answer in zip(found, answers, strict=True):
            firing[self._rules[name].severity] += answer if isinstance(answer, int) else 0
        return dict(firing)

    def open(self, workspace: str | None) -> list[Alert]:
        """Incidents that are pending or fire, of `workspace` or (None) of all."""
        rows = self._run("list_alerts", "*" if workspace is None else workspace, *self._rules)
        return [_alert(_text(row)) for row in rows]

    def ended(self, workspace: str | None, most: int) -> list[Alert]:
        """The incidents that ended last, newest first; one of the last thousand beginnings and ends."""
        with translated():
            rows: Any = self._client.xrevrange(self._keys("alert_log"), count=1000)
        found = [(int(entry_id.partition(b"-")[0]), _text(fields)) for entry_id, fields in rows]
        return [
            _alert({**told, "state": "resolved", "since": told["fired"], "ended": str(at)})
            for at, told in found
            if told["kind"] == "resolved" and workspace in (None, told["workspace"])
        ][:most]

    # --- silences --------------------------------------------------------------------------------------------------

    def silences(self, workspace: str | None) -> list[Silence]:
        """Those that have not ended, of `workspace` or (None) all, by name."""
        with translated():
            pipe = self._client.pipeline(transaction=False)
            pipe.hgetall(self._keys("silences"))
            pipe.time()
            rows, (seconds, micros) = pipe.execute()
        now = seconds * 1000 + micros // 1000
        found = [Silence(**json.loads(row)) for row in rows.values()]
        kept = [each for each in found if each.ends > now and workspace in (None, each.workspace)]
        return sorted(kept, key=lambda each: (each.workspace, each.name))

    def silence(self, silence: Silence) -> None:
        """Begin or change one; a name is unique within its workspace. Raises QuotaExceeded."""
        key = _silence_key(silence.workspace, silence.name)
        if self._run("set_silence", key, json.dumps(asdict(silence)), MOST_SILENCES) == b"full":
            raise QuotaExceeded("silences", MOST_SILENCES, MOST_SILENCES)

    def unsilence(self, workspace: str, name: str) -> None:
        """Raises NotFound."""
        if self._run("set_silence", _silence_key(workspace, name), "", MOST_SILENCES) == b"unknown":
            raise NotFound(f"there is no silence {name!r}")

    # --- deliveries ------------------------------------------------------------------------------------------------

    def test(self, body: Mapping[str, Any]) -> int:
        """Send `body` to every sink; answers how many there are."""
        incident = f"test-{uuid.uuid4().hex[:12]}"
        told = json.dumps({**body, "kind": "test", "incident": incident})
        return self._run("test_alert", incident, told, *self._sinks)

    def take(self, sinks: Sequence[str], most: int) -> list[Delivery]:
        """Deliveries to `sinks` that are due; each must be settled."""
        now, rows = self._run("take_deliveries", most, DELIVERY_LEASE_MS, UNREACHED_MS, *sinks)
        return [_delivery(now, *row) for row in rows]

    def settle(self, delivery: Delivery, outcome: str, *, again_ms: int = 0, reason: str = "") -> None:
        """`outcome`: done, again (after `again_ms`) or dead."""
        self._run("settle_delivery", delivery.id, outcome, again_ms, reason, DEAD_KEPT, DEAD_KEPT_MS)

    def deliveries(self, which: str, most: int) -> list[dict[str, Any]]:
        """Those that are `waiting`, or `dead`: sink, kind, incident, attempts, created (ms), reason."""
        names = ("sink", "kind", "incident", "attempts", "created", "reason")
        rows = self._run("list_deliveries", which, most)
        found = [dict(zip(names, (part.decode() for part in row), strict=True)) for row in rows]
        return [{**each, "attempts": int(each["attempts"]), "created": int(each["created"])} for each in found]

    # --- inside ----------------------------------------------------------------------------------------------------

    def _judgement(self, rule: Rule, group: Sequence[Signal], epoch: int) -> scripts.Call:
        control = {
            "epoch": epoch,
            "rule": rule.name,
            "severity": rule.severity,
            "hold": round(rule.hold * 1000),
            "clear": round(rule.clear * 1000),
            "sinks": self._sinks,
            "refreshed": self._refreshed,
            "refresh": REFRESH_MS,
        }
        now = [(signal.subject, signal.workspace, signal.text) for signal in group]
        return self._call("judge_alerts", json.dumps(control), json.dumps(now), uuid.uuid4().hex[:16])

    def _call(self, name: str, *args: Any) -> scripts.Call:
        return scripts.Call(scripts.script(name), self._keys.root, args)

    def _run(self, name: str, *args: Any) -> Any:
        with translated():
            return scripts.run(self._client, self._call(name, *args))


def _silence_key(workspace: str, name: str) -> str:
    return f"{workspace}/{name}"


def _text(flat: Any) -> dict[str, str]:
    pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
    return {name.decode(): value.decode() for name, value in pairs}


def _delivery(
    now: int, key: bytes, sink: bytes, kind: bytes, incident: bytes, body: bytes, attempts: int, created: int
) -> Delivery:
    return Delivery(
        id=key.decode(),
        sink=sink.decode(),
        kind=kind.decode(),
        incident=incident.decode(),
        body=json.loads(body),
        attempts=attempts,
        age_ms=now - created,
    )


def _alert(told: Mapping[str, str]) -> Alert:
    def moment(name: str) -> int | None:
        return int(told[name]) if told.get(name) else None

    return Alert(
        incident=told["incident"],
        rule=told["rule"],
        subject=told["subject"],
        workspace=told["workspace"],
        severity=told["severity"],
        state=told["state"],
        text=told.get("text", ""),
        since=int(told["since"]),
        fired_at=moment("fired"),
        ended_at=moment("ended"),
        silenced=told.get("silenced") == "1",
    )
