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


def dispatched(fleet: Fleet) -> int:
    """Tickets that went to agents; the broker is not behind the line that is cut."""
    return len(fleet.broker.queued())


def denied(fleet: Fleet) -> int:
    return len(fleet.plane.audit.list("acme", action="policy.submit", limit=200).items)


def test_nothing_is_let_through_and_nothing_denied_for_good(proxied: tuple[Fleet, Proxy]) -> None:
    fleet, proxy = proxied
    fleet.agent("a1", "code", "root")
    publish(fleet, ALL + NO_ROOT)
    waiting = submit(fleet).task_id
    before = (dispatched(fleet), denied(fleet))
    assert before == (1, 0)
    proxy.cut()
    refused, end = 0, time.monotonic() + AWAY
    while time.monotonic() < end:
        for capability in ("code", "root"):
            with pytest.raises(StoreUnavailable) as told:
                submit(fleet, capability)
            assert (told.value.status, told.value.retry_after) == (503, 1.0)
            refused += 1
    proxy.heal()
    after = (dispatched(fleet), denied(fleet))
    print(f"away for {AWAY:g} s: {refused} refused, {after[0] - before[0]} dispatched, {after[1] - before[1]} denied")
    assert refused >= 2
    assert after == before
    assert [task.task_id for task in fleet.scheduler.list("acme").items] == [waiting]
    # Both are judged as before, and both counts see it.
    assert submit(fleet).status is TaskStatus.PENDING
    with pytest.raises(PolicyDenied):
        submit(fleet, "root")
    assert (dispatched(fleet), denied(fleet)) == (2, 1)
