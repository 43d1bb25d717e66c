"""Aragora Control Plane: a multi-tenant control plane for fleets of AI agents.

Agent authors need `Agent`, `Context`, `RejectTask` and `Throttled`; programs that submit tasks without HTTP need
`ControlPlaneCoordinator` and `ControlPlaneConfig`. They are imported on first use: a web process loads no agent code.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aragora_cp._version import __version__

if TYPE_CHECKING:
    from aragora_cp.agent import Agent, Context
    from aragora_cp.config import ControlPlaneConfig
    from aragora_cp.coordinator import ControlPlaneCoordinator
    from aragora_cp.errors import RejectTask, TaskCancelled, TaskFailed, Throttled, UpstreamFailed

_HOMES = {
    "Agent": "agent",
    "Context": "agent",
    "ControlPlaneConfig": "config",
    "ControlPlaneCoordinator": "coordinator",
    "RejectTask": "errors",
    "TaskCancelled": "errors",
    "TaskFailed": "errors",
    "Throttled": "errors",
    "UpstreamFailed": "errors",
}

__all__ = [
    "Agent",
    "Context",
    "ControlPlaneConfig",
    "ControlPlaneCoordinator",
    "RejectTask",
    "TaskCancelled",
    "TaskFailed",
    "Throttled",
    "UpstreamFailed",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
