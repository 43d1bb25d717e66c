"""The web process: gunicorn with threads, one ControlPlane in each worker, made after the fork."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import ThreadWorker

from aragora_cp.api.app import create_app
from aragora_cp.api.services import services
from aragora_cp.config import ControlPlaneConfig
from aragora_cp.wiring import ControlPlane, build

#: Seconds that requests under way get to finish when the process is told to stop; waits end at once.
GRACE = 30


def app(config: ControlPlaneConfig | None = None) -> Flask:
    """The application for another WSGI server: ``gunicorn 'aragora_cp.api.serve:app()'``. Settings come from the
    environment; its parts live as long as the process. Raises ConfigError."""
    served = create_app(build(config or ControlPlaneConfig.from_env()))
    Duties(served).start()
    return served


def run_gunicorn(
    config: ControlPlaneConfig,
    host: str = "127.0.0.1",
    port: int = 8080,
    workers: int = 1,
    *,
    build_plane: Callable[[ControlPlaneConfig], ControlPlane] = build,
) -> None:
    """Serve on `host` (an IPv6 address in brackets) until SIGTERM or SIGINT; then requests under way are finished, and
    it leaves by SystemExit.

    The server itself believes no `X-Forwarded-*` header; which address counts as the caller's is for `trusted_proxies`
    to say, and nothing depends on the scheme.
    """
    _Server(config, f"{host}:{port}", workers, build_plane).run()


class Duties:
    """What a web process does beside answering: it beats, and it delivers alerts."""

    def __init__(self, served: Flask) -> None:
        found = services(served)
        self._health = found.health
        self._parts = (found.watch.deliverer(), found.watch.pulse("web", found.health))

    def start(self) -> None:
        for part in self._parts:
            part.start()

    def unready(self) -> None:
        """This process ends soon: nobody should send it anything new."""
        self._health.stop()

    def close(self) -> None:
        for part in self._parts:
            part.close()


class _Server(BaseApplication):
    """gunicorn's application. Each worker process has a copy of its own, with a plane of its own."""

    def __init__(
        self,
        config: ControlPlaneConfig,
        bind: str,
        workers: int,
        build_plane: Callable[[ControlPlaneConfig], ControlPlane],
    ) -> None:
        self._config = config
        self._bind = bind
        self._workers = workers
        self._build = build_plane
        self._plane: ControlPlane | None = None
        self._app: Flask | None = None
        self._duties: Duties | None = None
        self._stopping = False
        super().__init__()

    def load_config(self) -> None:
        chosen: dict[str, Any] = {
            "bind": self._bind,
            "workers": self._workers,
            "worker_class": DrainingWorker,
            "threads": self._config.web_threads,
            "graceful_timeout": GRACE,
            "accesslog": None,
            "logger_class": _QuietLogger,
            "forwarded_allow_ips": "",
            "secure_scheme_headers": {},
            "control_socket_disable": True,
            "worker_exit": lambda _server, _worker: self.close(),
        }
        for name, value in chosen.items():
            if name in self.cfg.settings:  # the control socket came with a later gunicorn
                self.cfg.set(name, value)

    def load(self) -> Flask:
        self._plane = self._build(self._config)
        self._app = create_app(self._plane)
        self._duties = Duties(self._app)
        if self._stopping:  # told so before it had begun
            self._duties.unready()
        self._duties.start()
        return self._app

    @property
    def shutdown_delay(self) -> float:
        return self._config.shutdown_delay

    def unready(self) -> None:
        self._stopping = True
        if self._duties is not None:
            self._duties.unready()

    def stop_waits(self) -> None:
        if self._app is not None:
            services(self._app).waits.stop()

    def close(self) -> None:
        if self._duties is not None:
            self._duties.close()
        if self._app is not None and self._plane is not None:
            services(self._app).close()
            self._plane.close()
            self._app = self._plane = None


class DrainingWorker(ThreadWorker):
    """Told to stop, it first fails readiness and goes on for a moment, so that whoever sends it requests can notice.
    Then it lets go of the requests that only wait: they are answered with what there is."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._told_to_stop:
            return
        self._told_to_stop = True
        self.app.unready()
        # Not in the signal handler itself: it takes locks that the interrupted code may hold.
        threading.Thread(target=self._leave, args=(sig, frame), name="aragora-cp-leave", daemon=True).start()

    _told_to_stop = False

    def _leave(self, sig: int, frame: FrameType | None) -> None:
        time.sleep(self.app.shutdown_delay)
        super().handle_exit(sig, frame)
        self.app.stop_waits()


class _QuietLogger(Logger):
    """Leaves lines to the process's own logging, which `telemetry` has set up."""

    def setup(self, cfg: Any) -> None:
        self.cfg = cfg
        self.error_log = logging.getLogger("gunicorn.error")
        self.access_log = logging.getLogger("gunicorn.access")
        for log in (self.error_log, self.access_log):
            log.propagate = True  # gunicorn has just turned it off
