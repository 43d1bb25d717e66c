"""What must hold of a workspace's state between any two scripts, read from the store without any script of ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import redis

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import TaskStatus
from aragora_cp.store.keys import WORKSPACE_KEYS, workspace_keys

PRIORITIES = ("0", "1", "2", "3")
FINAL = {status.value for status in TaskStatus if status.final}


def broken_invariants(client: redis.Redis, config: ControlPlaneConfig, workspace: str) -> list[str]:
    """What does not hold, in words; empty when all is well. Reads all of the workspace; nobody may write meanwhile."""
    return list(_Snapshot(client, config, workspace).complaints())


class _Snapshot:
    def __init__(self, client: redis.Redis, config: ControlPlaneConfig, workspace: str) -> None:
        self.window = config.window
        self.keys = workspace_keys(config.key_prefix, workspace)
        self.zsets: dict[str, dict[str, float]] = {}
        self.hashes: dict[str, dict[str, str]] = {}
        self.sets: dict[str, set[str]] = {}
        names = [key.decode() for key in client.scan_iter(match=f"{self.keys.root}*", count=1000)]
        pipe = client.pipeline(transaction=False)
        for name in names:
            pipe.type(name)
        kinds = dict(zip(names, (kind.decode() for kind in pipe.execute()), strict=True))
        readers: dict[str, Any] = {
            "zset": lambda name: pipe.zrange(name, 0, -1, withscores=True),
            "hash": pipe.hgetall,
            "set": pipe.smembers,
        }
        read = [name for name in names if kinds[name] in readers]
        for name in read:
            readers[kinds[name]](name)
        for name, value in zip(read, pipe.execute(), strict=True):
            short = name.removeprefix(self.keys.root)
            if kinds[name] == "zset":
                self.zsets[short] = {member.decode(): score for member, score in value}
            elif kinds[name] == "hash":
                self.hashes[short] = {_text(field): _text(held) for field, held in value.items()}
            else:
                self.sets[short] = {member.decode() for member in value}
        self.names = {name.removeprefix(self.keys.root) for name in names}
        self.records = {
            name.removeprefix("task:"): record for name, record in self.hashes.items() if name.startswith("task:")
        }

    def complaints(self) -> Iterator[str]:
        yield from self._names()
        yield from self._indexes()
        for task_id, record in self.records.items():
            for complaint in self._record(task_id, record):
                yield f"{record['status']} {task_id}: {complaint}"
        yield from self._members()
        yield from self._heads()
        yield from self._windows_and_load()
        yield from self._waits()

    def _names(self) -> Iterator[str]:
        known = [template.split("{}")[0] for template in WORKSPACE_KEYS.values()]
        for name in self.names:
            if not any(name.startswith(start) for start in known):
                yield f"a key of no known kind: {name}"

    def _indexes(self) -> Iterator[str]:
        if set(self.zsets.get("tasks", ())) != set(self.records):
            yield "the index of all tasks differs from the records"
        for status in TaskStatus:
            told = {task_id for task_id, record in self.records.items() if record["status"] == status}
            listed = set(self.zsets.get(f"by:{status}", ()))
            if told != listed:
                yield f"by:{status} differs from the records by {sorted(told ^ listed)}"

    def _places(self, task_id: str) -> list[str]:
        found = [
            name
            for name, members in self.zsets.items()
            if task_id in members and name.split(":")[0] in ("backlog", "released", "delayed")
        ]
        return found + (["parked"] if self.records[task_id].get("parked") else [])

    def _record(self, task_id: str, record: dict[str, str]) -> Iterator[str]:
        status, places = record["status"], self._places(task_id)
        leased = task_id in self.zsets.get("running", {})
        if leased != (status == "RUNNING"):
            yield "has a lease" if leased else "has no lease"
        if status == "RUNNING" and not (record.get("agent") and record.get("lease") and record.get("run_lane")):
            yield "runs without agent, lease or lane"
        if status == "PENDING":
            yield from self._pending(task_id, record, places)
        elif places:
            yield f"waits in {places}"
        if (status in FINAL) != bool(record.get("finished")):
            yield f"finished is {record.get('finished')!r}"
        if (status == "COMPLETED") != ("result" in record):
            yield "its result does not go with its status"
        if (status == "FAILED") != ("err_code" in record):
            yield "its error does not go with its status"
        if (status in FINAL or status == "HELD" or leased) and task_id in self.zsets.get("deadlines", {}):
            yield "a deadline for waiting, though it does not wait"
        if (status == "HELD") != (task_id in self.zsets.get("held", {})):
            yield "its time for approval does not go with its status"
        yield from self._numbers(record)

    def _pending(self, task_id: str, record: dict[str, str], places: list[str]) -> Iterator[str]:
        if len(places) != 1:
            yield f"waits in {places or 'no place'}"
            return
        (place,) = places
        target = record.get("target")
        home = f"backlog:{'@' + target if target else record['caps']}:{record['prio']}"
        wanted = {"backlog": home, "released": f"released:{record.get('lane')}:{record['prio']}"}
        if (kind := place.split(":")[0]) in wanted and place != wanted[kind]:
            yield f"waits in {place}, not in {wanted[kind]}"
        if kind == "backlog" and self.zsets[place][task_id] != int(record["seq"]):
            yield "is not at its place in the backlog"
        if kind == "delayed" and self.zsets["delayed"][task_id] != float(record["due"]):
            yield "is due at another time than its record says"
        if kind != "delayed" and record.get("due"):
            yield "has a due time and is not delayed"
        deadline = self.zsets.get("deadlines", {}).get(task_id)
        if (deadline is not None) != (kind in ("backlog", "released") and bool(record.get("queue_timeout"))):
            yield f"its deadline for waiting is {deadline}"

    def _numbers(self, record: dict[str, str]) -> Iterator[str]:
        attempt = int(record["attempt"])
        history = [int(name[1:]) for name in record if name[0] == "h" and name[1:].isdigit()]
        if any(not 1 <= number <= attempt for number in history):
            yield f"a history of {sorted(history)} in {attempt} attempts"
        if not 0 <= int(record["retries"]) <= int(record["max_retries"]):
            yield f"{record['retries']} retries of {record['max_retries']}"

    def _members(self) -> Iterator[str]:
        """Nothing waits or runs that has no record."""
        for name, members in self.zsets.items():
            if name.split(":")[0] in ("backlog", "released", "delayed", "deadlines", "running", "held"):
                for task_id in members.keys() - self.records.keys():
                    yield f"{name} has {task_id}, which has no record"

    def _heads(self) -> Iterator[str]:
        for prio in PRIORITIES:
            heads = {
                name.removeprefix("backlog:").rpartition(":")[0]: min(members.values())
                for name, members in self.zsets.items()
                if name.startswith("backlog:") and name.endswith(f":{prio}")
            }
            if heads != self.zsets.get(f"waiting:{prio}", {}):
                yield f"waiting:{prio} is {self.zsets.get(f'waiting:{prio}')}, the backlogs' heads are {heads}"

    def _windows_and_load(self) -> Iterator[str]:
        load: Counter[str] = Counter()
        for name, members in self.zsets.items():
            if name.startswith("released:"):
                load["tickets:" + name.removeprefix("released:").rpartition(":")[0]] += len(members)
                if len(members) > self.window:
                    yield f"{name} has {len(members)} tickets out of {self.window}"
        load.update(f"running:{r['run_lane']}" for r in self.records.values() if r["status"] == "RUNNING")
        told = {name: int(number) for name, number in self.hashes.get("load", {}).items()}
        if told != dict(load):
            yield f"the load is told as {told}, it is {dict(load)}"

    def _waits(self) -> Iterator[str]:
        """A parked task waits for tasks that are open and know of it; no other task does."""
        for name, awaited in self.sets.items():
            kind, _, task_id = name.partition(":")
            if kind == "awaiting":
                if not self.records.get(task_id, {}).get("parked"):
                    yield f"{name}, which is not parked, waits for {sorted(awaited)}"
                for other in awaited:
                    if self.records.get(other, {}).get("status") in FINAL | {None}:
                        yield f"{task_id} waits for {other}, which has ended"
                    if task_id not in self.sets.get(f"awaited:{other}", ()):
                        yield f"{task_id} waits for {other}, which does not know"
        for task_id, record in self.records.items():
            if record["status"] == "PENDING" and record.get("parked") and f"awaiting:{task_id}" not in self.sets:
                yield f"{task_id} is parked for nothing"


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
