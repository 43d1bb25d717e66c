"""While policies cannot be read nothing is let through, and nothing is denied for good."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from aragora_cp.errors import PolicyDenied, StoreUnavailable
from aragora_cp.model import Task, TaskStatus
from tests.conftest import short_config
from tests.faults.proxy import Proxy
from tests.fleet import Fleet
from tests.policies import ALL, NO_ROOT, judge, publish
from tests.servers import StoreServer

#: How long the store is away, in seconds.
AWAY = 30.0 if os.environ.get("FAULTS_FULL") else 2.0


@pytest.fixture
def proxied(own_server: StoreServer) -> Iterator[tuple[Fleet, Proxy]]:
    """A control plane that reaches its store through a line that can be cut."""
    config = short_config(own_server, redis_timeout=0.5)
    port = urlsplit(config.redis_url).port
    assert port is not None
    proxy = Proxy(port)
    fleet = Fleet(replace(config, redis_url=config.redis_url.replace(f":{port}", f":{proxy.port}")))
    yield fleet, proxy
    fleet.close()
    proxy.close()


def submit(fleet: Fleet, capability: str = "code") -> Task:
    new = fleet.new(capability, actor="token:submitter-1")
    return fleet.scheduler.submit(new, decision=judge(fleet, new))[0]


def test_nothing_is_let_through_and_nothing_denied_for_good(proxied: tuple[Fleet, Proxy]) -> None:
    fleet, proxy = proxied
    fleet.agent("a1", "code", "root")
    publish(fleet, ALL + NO_ROOT)
    waiting = submit(fleet).task_id
    proxy.cut()
    refused, end = 0, time.monotonic() + AWAY
    while time.monotonic() < end:
        for capability in ("code", "root"):
            with pytest.raises(StoreUnavailable):
                submit(fleet, capability)
            refused += 1
    proxy.heal()
    assert refused >= 2
    assert [task.task_id for task in fleet.scheduler.list("acme").items] == [waiting]
    denials = [entry for entry in fleet.plane.audit.list("acme").items if entry["outcome"] == "denied"]
    assert denials == []
    assert submit(fleet).status is TaskStatus.PENDING
    with pytest.raises(PolicyDenied):
        submit(fleet, "root")
    print(f"away for {AWAY:g} s: {refused} submits refused, 0 dispatched, 0 denied")
