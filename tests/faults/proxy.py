"""A TCP proxy in front of the store whose line can be cut or go silent."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Proxy:
    """Forwards to 127.0.0.1:`port`. `cut` resets every connection and refuses new ones; `hush` lets them hang."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._subscribers: set[socket.socket] = set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._open = threading.Event()
        self._open.set()
        self._hushed_subscribers = False
        self._refusing = False
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._refusing = True
        self._drop()

    def hush(self) -> None:
        """Bytes go nowhere, and nobody is told: a firewall that has forgotten the connection."""
        self._open.clear()

    def hush_subscribers(self) -> None:
        """Only what has subscribed to something hangs; every other connection goes on."""
        self._hushed_subscribers = True

    def heal(self) -> None:
        self._refusing = False
        if not self._open.is_set():
            self._drop()
        self._open.set()

    def close(self) -> None:
        self._closed = True
        self._open.set()
        self._listener.close()
        self._drop()

    def _drop(self) -> None:
        for pair in self._pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
        self._pairs = []

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing or self._closed:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                near.close()
                continue
            self._pairs.append((near, far))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if b"SUBSCRIBE" in data.upper():
                    self._subscribers |= {source, sink}
                if self._hushed_subscribers and source in self._subscribers:
                    continue
                self._open.wait()
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
