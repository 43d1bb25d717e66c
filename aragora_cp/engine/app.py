"""The Celery app, and its settings made from ControlPlaneConfig."""

from __future__ import annotations

import sys
import warnings
from typing import Any

from billiard.util import get_logger as billiard_logger
from celery import Celery
from celery.exceptions import SecurityWarning
from celery.signals import setup_logging

from aragora_cp.config import ControlPlaneConfig
from aragora_cp.telemetry.logs import configure_logging

#: The one Celery task. What it does is in the record; Flower shows the task's type, which travels as its shadow name.
TASK_NAME = "aragora_cp.run"

#: Under it a ticket carries the correlation id; the name `correlation_id` is Celery's own, for the task's id.
CORRELATION_HEADER = "aragora_correlation_id"

#: Celery's four default priority steps on Redis, where 0 is first. RabbitMQ's 9 is first.
PRIORITY_STEPS = (0, 3, 6, 9)


#: Celery wants a queue for messages that name none; there are none, but it is bound in each process that sends.
UNUSED_QUEUE = "cp.unused"


def celery_settings(config: ControlPlaneConfig) -> dict[str, Any]:
    """Celery's settings. Why each is what it is: docs/explanation/celery.md."""
    url = config.effective_broker_url
    on_redis = not url.startswith("amqp")
    transport: dict[str, Any] = {}
    if on_redis:
        transport = {
            "global_keyprefix": config.key_prefix,
            "priority_steps": list(PRIORITY_STEPS),
            "queue_order_strategy": "round_robin",
            # The record is the truth and the monitor sends a lost ticket again: kombu's bookkeeping would buy nothing.
            "ack_emulation": False,
            "socket_timeout": config.redis_timeout,
            "socket_connect_timeout": config.redis_timeout,
            "socket_keepalive": not url.startswith("unix"),
            "health_check_interval": 25,
        }
    return {
        "broker_transport": "aragora_cp.engine.transport:TicketTransport" if on_redis else None,
        "broker_url": f"redis+socket:{url.removeprefix('unix:')}" if url.startswith("unix:") else url,
        "broker_transport_options": transport,
        "broker_use_ssl": config.tls_options(url) or None,
        "broker_connection_timeout": config.redis_timeout,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        "task_acks_late": True,
        "task_acks_on_failure_or_timeout": True,
        "task_create_missing_queues": False,
        "task_default_queue": UNUSED_QUEUE,
        "task_ignore_result": False,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_send_sent_event": False,
        "worker_send_task_events": False,
        "worker_prefetch_multiplier": 1,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_disable_rate_limits": True,
        "worker_enable_remote_control": True,
        "enable_utc": True,
        "timezone": "UTC",
        # Not Celery's: what tickets need to know of ours.
        "aragora_kill_grace": config.kill_grace,
    }


def run_worker(app: Celery, *, pool: str, concurrency: int | None) -> int:
    """Run `app`'s worker in this process until it is told to stop; answers the exit status.

    What keeps it from starting is said in one line on stderr.
    """
    argv = ["--quiet", "worker", f"--pool={pool}", "--without-gossip", "--without-mingle", "--loglevel=INFO"]
    if concurrency is not None:
        argv.append(f"--concurrency={concurrency}")
    # A container's only user is often root; what Celery warns of is pickle, which is not accepted here.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    try:
        app.worker_main(argv)
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
            return 1
        return int(end.code or 0)
    return 0


def make_app(config: ControlPlaneConfig, *, backend: type | str = "disabled://") -> Celery:
    """A Celery app for this control plane. Opens no connection."""
    app = Celery("aragora_cp", backend=backend, set_as_current=False)
    app.conf.update(celery_settings(config))

    @setup_logging.connect(weak=False)
    def _logging(**_: Any) -> None:
        billiard_logger()  # which would otherwise take its lines out of ours when it first has one
        configure_logging(config, process="agent")

    return app
