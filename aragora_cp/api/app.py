"""create_app: the Flask application over one ControlPlane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask

from aragora_cp.api import (
    access,
    agents,
    alerts,
    approvals,
    audit,
    auditing,
    breakers,
    budgets,
    flags,
    health,
    limits,
    metering,
    openapi,
    policies,
    prices,
    problems,
    queues,
    reports,
    tasks,
    tokens,
    tracing,
    workspaces,
)
from aragora_cp.api.bodies import ENVELOPE_BYTES, discard_rest
from aragora_cp.api.services import Services, install
from aragora_cp.api.waits import Waits
from aragora_cp.health.monitor import HealthMonitor
from aragora_cp.store.changes import ChangeFeed
from aragora_cp.store.probes import StoreProbes
from aragora_cp.tenancy.guesses import GuessGuard
from aragora_cp.tenancy.keeper import CacheKeeper
from aragora_cp.tenancy.middleware import TenancyMiddleware
from aragora_cp.tenancy.tokens import Authenticator

if TYPE_CHECKING:
    from aragora_cp.wiring import ControlPlane

BASE = "/api/control-plane"


def create_app(plane: ControlPlane) -> Flask:
    """The application; any number may share one `plane`. Opens no connection yet.

    `services(app).close()` ends its waits; the plane stays the caller's.
    """
    app = Flask(__name__, static_folder=None)
    app.config.update(
        openapi.settings(),
        MAX_CONTENT_LENGTH=plane.config.max_payload_bytes + ENVELOPE_BYTES,
        PROVIDE_AUTOMATIC_OPTIONS=False,
    )
    authenticator = Authenticator(plane.tokens)
    guard = GuessGuard(plane.tokens, plane.config.auth_failures)
    tenancy = TenancyMiddleware(authenticator, plane.workspaces, guard)

    def forget(kind: str | None, name: str | None) -> None:
        tenancy.forget(kind, name)
        if kind in (None, "flags"):
            plane.flags.forget(name)
        if kind in (None, "policy"):
            plane.policy.forget(name)

    keeper = CacheKeeper(lambda: ChangeFeed(plane.config), forget, authenticator.take_uses, plane.tokens.note_uses)
    probes = StoreProbes(plane.config)
    health_monitor = HealthMonitor(probes, plane.broker)
    install(app, Services(plane, tenancy, keeper, probes, Waits(plane.waiter), health_monitor, plane.watch()))
    tracing.trace(app)
    metering.meter(app)
    auditing.arrive(app)
    access.guard(app)
    auditing.let_in(app)
    app.after_request(discard_rest)
    problems.register(app)
    api = openapi.ControlPlaneApi(app)
    for blueprint, path in (
        (tasks.blueprint, "/tasks"),
        (reports.blueprint, "/tasks"),
        (approvals.of_tasks, "/tasks"),
        (approvals.blueprint, "/approvals"),
        (policies.blueprint, "/policies"),
        (agents.blueprint, "/agents"),
        (breakers.blueprint, "/agents"),
        (queues.blueprint, "/queues"),
        (workspaces.blueprint, "/workspaces"),
        (tokens.blueprint, "/tokens"),
        (audit.blueprint, "/audit"),
        (flags.blueprint, "/flags"),
        (limits.blueprint, "/limits"),
        (budgets.blueprint, "/budgets"),
        (budgets.usage_blueprint, "/usage"),
        (prices.blueprint, "/prices"),
        (alerts.blueprint, "/alerts"),
        (health.blueprint, ""),
        (metering.blueprint, ""),
    ):
        api.register_blueprint(blueprint, url_prefix=BASE + path)
    for view in (health.livez, health.readyz, metering.metrics):
        app.add_url_rule(f"/{view.__name__}", f"root-{view.__name__}", view, methods=["GET"])
    openapi.serve(app, api, (BASE, ""))
    return app
