"""The rules of `aragora-cp acl`, loaded into real servers: each kind of process lives under its user, no further."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import NoPermissionError

from aragora_cp.cli.acl import agent_rules, common_rules, user_rule
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import StoreUnavailable
from aragora_cp.model import AgentSpec, Claim, ErrorCode, Failure, Hold, NewTask, Role, Task
from aragora_cp.store.keys import fleet_keys, workspace_keys
from aragora_cp.tenancy.tokens import TokenIssuer, check_token
from aragora_cp.wiring import ControlPlane, build
from tests.faults.world import Member
from tests.servers import EVERY_SERVER, StoreServer
from tests.waiting import eventually

A, B = "acme", "beta"
REFUSED = r"(?i)no permissions|NOPERM|ACL failure|can't access at least one of the keys"
PASSWORD = "open-sesame"
FAILURE = Failure(ErrorCode.HANDLER_ERROR, "it did not work", retryable=True)
AGENT = AgentSpec("own-1", ("chaos",), workspace=A, concurrency=4)


class House:
    """A server with the rules loaded; `plane(user)` is a process under that user, `root` knows no bounds."""

    def __init__(self, server: StoreServer) -> None:
        self.config = ControlPlaneConfig(redis_url=server.url, heartbeat_interval=1.0, heartbeat_timeout=3.0)
        self.root = server.client()
        users = {**common_rules(self.config), **{f"agent-{name}": agent_rules(self.config, name) for name in (A, B)}}
        for user, grants in users.items():
            self.root.execute_command(*_words(user_rule(user, PASSWORD, grants, "commands")))
        self._planes: dict[str, ControlPlane] = {}
        self.web = self.plane("aragora-web")
        for workspace in (A, B):
            self.web.workspaces.create(workspace, {})

    def config_of(self, user: str) -> ControlPlaneConfig:
        return replace(self.config, redis_url=self.config.redis_url.replace("//", f"//{user}:{PASSWORD}@"))

    def plane(self, user: str) -> ControlPlane:
        if user not in self._planes:
            self._planes[user] = build(self.config_of(user))
        return self._planes[user]

    def submit(self, plane: ControlPlane | None = None, workspace: str = A, **more: Any) -> Task:
        new = NewTask(workspace, "chaos.work", b'{"seconds":0,"n":1}', ("chaos",), **more)
        return (plane or self.web).scheduler.submit(new)[0]

    def refused(self) -> list[str]:
        """What the server has turned away since the start, or the last call of this."""
        rows: Any = self.root.execute_command("ACL", "LOG")
        self.root.execute_command("ACL", "LOG", "RESET")
        return [f"{_text(row, 'username')}: {_text(row, 'context')} {_text(row, 'object')}" for row in rows]

    def close(self) -> None:
        for plane in self._planes.values():
            plane.close()
        self.root.close()


def _words(line: str) -> list[str]:
    """As redis-cli sends it: selectors in parentheses go out word by word, and the server joins them."""
    return line.split()


def _text(row: Any, name: str) -> str:
    told = row if isinstance(row, dict) else dict(zip(row[::2], row[1::2], strict=True))
    value = told.get(name.encode(), told.get(name))
    return value.decode() if isinstance(value, bytes) else str(value)


@pytest.fixture(params=EVERY_SERVER)
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    server = StoreServer(request.param, tmp_path / "store").start()
    house = House(server)
    yield house
    house.close()
    server.stop()


def test_a_private_agent_lives_its_whole_life_under_its_user(house: House) -> None:
    plane = house.plane(f"agent-{A}")
    token = TokenIssuer(house.web.tokens).issue(workspace=A, role=Role.AGENT).text
    assert check_token(plane.tokens, token).workspace == A
    agent, created = plane.registry.register(AGENT, owner="celery", takeover=False)
    assert created

    def claim() -> Claim:
        task = house.submit(placement="private", max_retries=1)
        found = plane.scheduler.claim(Hold(A, task.task_id, 1, f"lease-{task.task_id}"), AGENT)
        assert isinstance(found, Claim)
        return found

    done, failed, given_back, parked = claim(), claim(), claim(), claim()
    plane.registry.heartbeat(AGENT.handle, agent.session, [done.hold, failed.hold], completed=1, failed=1)
    plane.scheduler.progress(done.hold, percent=50, message="half", input_tokens=3, cost="0.01")
    sub = house.submit(plane, parent_id=parked.hold.task_id, idempotency_key="sub:1", cache_ttl=60)
    plane.scheduler.hand_back(parked.hold, awaits=[sub.task_id])
    plane.scheduler.hand_back(given_back.hold, handle=AGENT.handle)
    assert plane.scheduler.finish(done.hold, b"{}", AGENT).status == "COMPLETED"
    assert plane.scheduler.fail(failed.hold, FAILURE, AGENT.agent_id, handle=AGENT.handle).status == "PENDING"
    assert plane.scheduler.cancel(A, sub.task_id).status == "CANCELLED"
    assert plane.waiter.wait(A, sub.task_id, 5)
    house.web.scheduler.cancel(A, failed.hold.task_id)
    assert [plane.scheduler.get(A, done.hold.task_id).status] == plane.scheduler.statuses(A, [done.hold.task_id])
    plane.workspaces.find(A)
    plane.registry.own(AGENT.handle)
    plane.registry.stop_taking(AGENT.handle)
    plane.registry.leave(AGENT.handle, agent.session)
    assert house.refused() == []
    assert house.web.registry.get(AGENT.agent_id, A).status == "OFFLINE"


def test_it_reads_and_writes_nothing_of_another_workspace(house: House) -> None:
    """Every key that B has, by every command that could show or change it; and B's queues."""
    house.web.registry.register(replace(AGENT, agent_id="b-1", workspace=B), owner="celery", takeover=False)
    house.submit(workspace=B, placement="private", idempotency_key="k", parent_id="p")
    house.submit(workspace=B, placement="private", delay=60.0, queue_timeout=90.0)
    house.refused()
    client = house.plane(f"agent-{A}").client
    prefix = house.config.key_prefix
    keys = [key.decode() for key in house.root.scan_iter(f"{prefix}*") if B.encode() in key]
    assert any(key.startswith(f"{prefix}cp.{B}.") for key in keys), keys
    assert fleet_keys(prefix)("agent", f"{B}/b-1") in keys
    own = workspace_keys(prefix, B)
    keys += [own(name) for name in ("audit", "seals", "workspace", "keys")]
    for key in keys:
        for command in (
            ("GET", key), ("HGETALL", key), ("HGET", key, "payload"), ("HMGET", key, "status"), ("LRANGE", key, 0, -1),
            ("ZRANGE", key, 0, -1), ("XRANGE", key, "-", "+"), ("SMEMBERS", key), ("TYPE", key), ("EXISTS", key),
            ("SET", key, 1), ("HSET", key, "status", "x"), ("DEL", key), ("LPUSH", key, "x"), ("BRPOP", key, 1),
            ("RENAME", key, f"{prefix}{{{A}}}:task:x"), ("COPY", key, f"{prefix}{{{A}}}:task:x"), ("DUMP", key),
            ("EVAL", "return redis.call('HGETALL', ARGV[1])", 1, f"{prefix}{{{A}}}:", key),
            ("EVAL", "return 1", 1, own.root), ("SORT", key), ("OBJECT", "ENCODING", key),
        ):  # fmt: skip
            with pytest.raises(redis.ResponseError, match=REFUSED):
                client.execute_command(*command)
    for channel in (own("done", "x"), fleet_keys(prefix)("changes")):
        with pytest.raises(NoPermissionError):
            client.execute_command("PUBLISH", channel, "x")
    with pytest.raises(StoreUnavailable, match="access rules"):
        house.submit(house.plane(f"agent-{A}"), workspace=B)
    hold = Hold(B, house.submit(workspace=B).task_id, 1, "lease")
    with pytest.raises(StoreUnavailable, match="access rules"):
        house.plane(f"agent-{A}").scheduler.claim(hold, AGENT)


@pytest.mark.parametrize("user", ["agent-acme", "aragora-agent", "aragora-web", "aragora-monitor"])
def test_nobody_may_do_what_only_the_servers_master_may(house: House, user: str) -> None:
    client = house.plane(user).client
    for command in (
        ("KEYS", "*"), ("FLUSHALL",), ("FLUSHDB",), ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("MONITOR",),
        ("SHUTDOWN",), ("SAVE",), ("REPLICAOF", "NO", "ONE"), ("CLIENT", "LIST"),
        ("SCRIPT", "FLUSH"), ("GET", "elsewhere"), ("SET", "elsewhere", "x"), ("PUBLISH", "elsewhere", "x"),
    ):  # fmt: skip
        with pytest.raises(NoPermissionError):
            client.execute_command(*command)
    if user != "aragora-monitor":
        for command in (("DEL",), ("XTRIM", "MAXLEN", "0"), ("XDEL", "1-0"), ("SET", "x"), ("RENAME", "x")):
            for name in ("audit", "seals"):
                key = workspace_keys(house.config.key_prefix, A)(name)
                with pytest.raises(NoPermissionError):
                    client.execute_command(command[0], key, *command[1:])


def test_web_and_monitor_do_their_work(house: House) -> None:
    monitor = house.plane("aragora-monitor").monitor()
    agent, _ = house.web.registry.register(AGENT, owner="web", takeover=True)
    task = house.submit(placement="private")
    house.web.registry.lanes()
    assert monitor.tick()
    house.web.registry.drain(AGENT.agent_id, A)
    house.web.registry.resume(AGENT.agent_id, A)
    house.web.registry.list(A)
    house.web.scheduler.list(A)
    claim = house.web.scheduler.claim(Hold(A, task.task_id, 1, "lease"), AGENT)
    assert isinstance(claim, Claim)
    house.web.registry.heartbeat(AGENT.handle, agent.session, [claim.hold])
    house.web.scheduler.cancel(A, task.task_id)
    house.web.scheduler.rerun(A, task.task_id)
    issued = TokenIssuer(house.web.tokens).issue(workspace=A, role=Role.VIEWER)
    house.web.tokens.revoke(issued.record.token_id)
    assert house.web.audit.list(A).items
    house.web.registry.remove(AGENT.agent_id, A)
    house.web.workspaces.change(A, {"weight": 2})
    house.web.workspaces.delete(A)

    def gone() -> bool:
        monitor.tick()
        return house.web.workspaces.list().items == (house.web.workspaces.get(B),)

    eventually(gone, 20, "the workspace is deleted")
    assert house.refused() == []


@pytest.fixture
def worker(house: House, tmp_path: Path) -> Iterator[Callable[[str, str | None], Member]]:
    started: list[Member] = []

    def start(user: str, workspace: str | None) -> Member:
        token = TokenIssuer(house.web.tokens).issue(workspace=workspace, role=Role.AGENT).text
        env = {**os.environ, **house.config_of(user).to_env(), "ARAGORA_CP_AGENT_TOKEN": token,
               "PYTHONPATH": os.getcwd()}  # fmt: skip
        argv = [sys.executable, "-m", "aragora_cp.cli", "worker", "tests.faults.agents:agent", "--agent-id", "real-1"]
        started.append(Member("worker", argv, env, tmp_path / "worker.log"))
        started[-1].start()
        return started[-1]

    yield start
    for member in started:
        with suppress(ProcessLookupError):
            member.end(10)


@pytest.mark.parametrize(("user", "workspace"), [(f"agent-{A}", A), ("aragora-agent", None)])
def test_a_whole_agents_process_works_under_its_user(
    house: House, worker: Callable[[str, str | None], Member], user: str, workspace: str | None
) -> None:
    """Celery's own connections too: tickets, remote control, cancelling, and a clean end."""
    member = worker(user, workspace)
    eventually(lambda: any(lane.slots for lane in house.web.registry.lanes()), 30, f"it is there: {member.text()}")
    done = house.submit()
    held = house.web.scheduler.submit(NewTask(A, "chaos.clean", b"{}", ("chaos",)))[0].task_id
    eventually(lambda: house.web.scheduler.get(A, done.task_id).status == "COMPLETED", 20, "it completes a task")
    eventually(lambda: house.web.scheduler.get(A, held).status == "RUNNING", 20, "it runs another one")
    house.web.scheduler.cancel(A, held)
    eventually(lambda: "cancelled" in member.text(), 10, "it hears of it")
    assert member.end() == 0, member.text()
    assert house.refused() == [], member.text()
    assert house.web.registry.get("real-1", A).status == "OFFLINE"
