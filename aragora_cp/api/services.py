"""What the views work with: the parts of this process, and the caller of this request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import Flask, current_app, g

from aragora_cp.api.waits import Waits
from aragora_cp.health.monitor import HealthMonitor
from aragora_cp.store.probes import StoreProbes
from aragora_cp.tenancy.keeper import CacheKeeper
from aragora_cp.tenancy.middleware import TenancyMiddleware, TenantContext

if TYPE_CHECKING:
    from aragora_cp.wiring import ControlPlane, HealthParts

_NAME = "aragora_cp"


@dataclass(frozen=True, slots=True)
class Services:
    """All that the views of one app need."""

    plane: ControlPlane
    tenancy: TenancyMiddleware
    keeper: CacheKeeper
    probes: StoreProbes
    waits: Waits
    health: HealthMonitor
    watch: HealthParts

    def close(self) -> None:
        """End the waits and give back what the app opened itself; the plane is its owner's to close."""
        self.waits.stop()
        self.keeper.close()
        self.probes.close()


def install(app: Flask, services: Services) -> None:
    app.extensions[_NAME] = services


def services(app: Flask | None = None) -> Services:
    """Of `app`, by default the one that serves the present request."""
    return (app or current_app).extensions[_NAME]


def tenant() -> TenantContext:
    """Who sent the present request, and where it acts. Raises AttributeError outside a guarded operation."""
    return g.tenant
