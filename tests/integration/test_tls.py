"""`rediss://`: the records, the broker, the feed of endings, and a whole agent, over TLS."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from aragora_cp.cli import cli
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.errors import BrokerUnavailable, ConfigError, StoreUnavailable
from aragora_cp.model import NewTask, Role, TaskStatus
from aragora_cp.store.probes import StoreProbes
from aragora_cp.tenancy.tokens import TokenIssuer
from aragora_cp.wiring import ControlPlane, build
from tests.integration.tls import Authority, TlsServer
from tests.waiting import eventually


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    server = TlsServer(tmp_path_factory.mktemp("tls")).start()
    yield server
    server.stop()


def config_for(server: TlsServer, **more: str) -> ControlPlaneConfig:
    given = {"redis_ca_file": str(server.authority.file)} | more
    return ControlPlaneConfig(redis_url=server.url, redis_timeout=2.0, heartbeat_interval=1.0, **given)  # type: ignore[arg-type]


@contextmanager
def parts(config: ControlPlaneConfig) -> Iterator[ControlPlane]:
    plane = build(config)
    try:
        yield plane
    finally:
        plane.close()


@contextmanager
def monitor(plane: ControlPlane) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=plane.monitor().run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_store_broker_and_probes_are_reached(tls: TlsServer) -> None:
    config = config_for(tls)
    with parts(config) as plane:
        assert plane.tokens.now() > 0
        assert plane.broker.depths(["shared.any"]) == {"shared.any": 0}
    probes = StoreProbes(config)
    assert probes.report().writable
    probes.close()


def test_an_agent_works_from_end_to_end(tls: TlsServer, tmp_path: Path) -> None:
    config = config_for(tls)
    with parts(config) as plane, monitor(plane), (tmp_path / "agent.log").open("wb") as log:
        token = TokenIssuer(plane.tokens).issue(workspace=None, role=Role.AGENT).text
        agent = subprocess.Popen(
            [sys.executable, "-m", "aragora_cp.cli", "worker", "tests.acceptance.agents.helper:agent"],
            env={**os.environ, **config.to_env(), "ARAGORA_CP_AGENT_TOKEN": token},
            stdout=log,
            stderr=log,
        )
        try:
            eventually(lambda: b"agent ready" in (tmp_path / "agent.log").read_bytes(), 20, "the agent is ready")
            new = NewTask("default", "echo", b'{"n":1}', ("work",))
            ids = [plane.scheduler.submit(new)[0].task_id for _ in range(20)]
            for task_id in ids:
                assert plane.waiter.wait("default", task_id, 20)
            done = plane.scheduler.get("default", ids[0])
            assert (done.status, done.result["got"]) == (TaskStatus.COMPLETED, {"n": 1})
        finally:
            agent.terminate()
            agent.wait(20)
    assert agent.returncode == 0


def test_a_certificate_of_a_stranger_is_refused_in_one_line(tls: TlsServer, tmp_path: Path) -> None:
    config = config_for(tls, redis_ca_file=str(Authority(tmp_path, "stranger").file))
    with parts(config) as plane:
        with pytest.raises(StoreUnavailable, match=r"certificate is not trusted: .*; see redis_ca_file"):
            plane.tokens.now()
        with pytest.raises(BrokerUnavailable):
            plane.broker.depths(["shared.any"])
    told = CliRunner(env=config.to_env()).invoke(cli, ["worker", "tests.acceptance.agents.helper:agent"])
    assert told.exit_code == 1
    assert "certificate is not trusted" in told.stderr
    assert told.stderr.count("\n") == 1


def test_a_certificate_for_another_address_is_refused(tmp_path: Path) -> None:
    server = TlsServer(tmp_path, address="127.0.0.9").start()
    try:
        with parts(config_for(server)) as plane, pytest.raises(StoreUnavailable, match=r"not trusted: .*127\.0\.0\.1"):
            plane.tokens.now()
    finally:
        server.stop()


def test_a_server_may_want_the_clients_certificate(tmp_path: Path) -> None:
    server = TlsServer(tmp_path, mutual=True).start()
    own = {"redis_cert_file": str(server.client_cert), "redis_key_file": str(server.client_key)}
    try:
        with parts(config_for(server, **own)) as plane:
            assert plane.tokens.now() > 0
            assert plane.broker.depths(["shared.any"]) == {"shared.any": 0}
        with parts(config_for(server)) as plane, pytest.raises(StoreUnavailable):
            plane.tokens.now()
    finally:
        server.stop()


def test_files_without_tls_are_a_mistake(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    with pytest.raises(ConfigError, match="nothing would be encrypted"):
        ControlPlaneConfig(redis_ca_file=str(file))
    with pytest.raises(ConfigError, match="cannot be read"):
        ControlPlaneConfig(redis_url="rediss://h", redis_ca_file=str(file))
    file.touch()
    with pytest.raises(ConfigError, match="go together"):
        ControlPlaneConfig(redis_url="rediss://h", redis_cert_file=str(file))
