"""The real server over real HTTP: gunicorn in a process of its own, started and stopped as `serve` does it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from aragora_cp.api.app import BASE
from aragora_cp.api.bodies import ENVELOPE_BYTES
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.model import Role
from aragora_cp.tenancy.tokens import TokenIssuer
from aragora_cp.wiring import ControlPlane

from .conftest import SUBMIT

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from aragora_cp.api.serve import run_gunicorn
from aragora_cp.config import ControlPlaneConfig
run_gunicorn(ControlPlaneConfig.from_env(), port=int(sys.argv[1]), workers=2)
"""


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            if httpx.get(f"{url}/readyz?exclude=leader").status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert process.poll() is None, "the server has ended"
        assert time.monotonic() < end, "the server is not ready"
        time.sleep(0.05)


@pytest.fixture
def server(config: ControlPlaneConfig) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = _free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith("ARAGORA_CP_")}
    process = subprocess.Popen(
        [sys.executable, "-W", "error::ResourceWarning", "-c", PROGRAM, str(port)],
        env={**env, **config.to_env(), "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _until_ready(url, process)
        yield url, process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_it_serves_waits_bounds_bodies_and_stops_cleanly(
    server: tuple[str, subprocess.Popen[bytes]], plane: ControlPlane
) -> None:
    url, process = server
    token = TokenIssuer(plane.tokens).issue(workspace="acme", role=Role.SUBMITTER).text
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url + BASE, headers=headers, timeout=30) as client, ThreadPoolExecutor(1) as pool:
        submitted = client.post("/tasks/submit", json=dict(SUBMIT))
        assert submitted.status_code == 202
        assert client.get(url + submitted.headers["Location"]).json() == submitted.json()
        path = f"/tasks/{submitted.json()['task_id']}"

        with httpx.Client(base_url=url + BASE, headers=headers, timeout=30) as other:
            waiting = pool.submit(other.get, f"{path}?wait=20")
            client.get(path)
            assert client.post(f"{path}/cancel").status_code == 200
            assert waiting.result(2).json()["status"] == "CANCELLED"

        # Without a length: sent in chunks, and refused when it gets too long.
        most = plane.config.max_payload_bytes + ENVELOPE_BYTES
        kind = {"Content-Type": "application/json"}
        small = client.post("/tasks/submit", content=iter([b'{"task_type": "x", ', b'"payload": {}}']), headers=kind)
        large = client.post("/tasks/submit", content=iter([b" " * 50_000] * (most // 50_000 + 2)), headers=kind)
        assert (small.status_code, large.status_code) == (202, 413)
        assert large.json()["code"] == "payload-too-large"
        # An answer that does not need the body still leaves the connection usable.
        for size in (300_000, 3_000_000):
            assert client.post("/tasks/submit", content=b" " * size, headers=kind).status_code in (400, 413)
            nobody = {**kind, "Authorization": ""}
            assert client.post("/tasks/submit", content=b" " * size, headers=nobody).status_code == 401
        assert client.get(path, headers={"X-Forwarded-Proto": "https", "Forwarded": "for=1"}).status_code == 200

        # SIGTERM: a request that waits is answered, then the process ends well.
        waiting = pool.submit(client.get, f"/tasks/{small.json()['task_id']}?wait=50")
        _until_waiting(plane)
        told = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert waiting.result(10).json()["status"] == "PENDING"
    _, lines = process.communicate(timeout=15)
    assert time.monotonic() - told < 10
    assert process.returncode == 0, lines.decode()
    assert b"Traceback" not in lines
    assert b"Warning" not in lines


def test_readiness_fails_first_when_it_is_told_to_stop(server: tuple[str, subprocess.Popen[bytes]]) -> None:
    url, process = server
    process.send_signal(signal.SIGTERM)
    seen = []
    with suppress(httpx.ConnectError):  # until nobody listens any more
        while len(seen) < 200:
            seen.append(httpx.get(f"{url}/readyz?exclude=leader").json())
    after = [each["reasons"] for each in seen if each["status"] == "not-ready"]
    assert len(after) > 3
    assert after[0] == ["this process is stopping"]
    assert seen[-1]["status"] == "not-ready"
    process.communicate(timeout=15)
    assert process.returncode == 0


def test_broken_chunks_are_a_malformed_request(
    server: tuple[str, subprocess.Popen[bytes]], plane: ControlPlane
) -> None:
    token = TokenIssuer(plane.tokens).issue(workspace="acme", role=Role.SUBMITTER).text
    with socket.create_connection(("127.0.0.1", httpx.URL(server[0]).port), timeout=10) as raw:
        raw.sendall(
            f"POST {BASE}/tasks/submit HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"malformed-request"' in answer


def _until_waiting(plane: ControlPlane) -> None:
    """Until the store has a subscription: then the request is in the server's hands."""
    end = time.monotonic() + 10
    while not plane.client.pubsub_channels(f"{plane.config.key_prefix}*"):
        assert time.monotonic() < end
        time.sleep(0.01)
