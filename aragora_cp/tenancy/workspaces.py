"""Workspaces: the tenants, their settings, and a local copy of both that is never old."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from aragora_cp.errors import Conflict, InvalidRequest, NotFound
from aragora_cp.lanes import RESERVED_WORKSPACES, WORKSPACE
from aragora_cp.model import Page, Workspace
from aragora_cp.ratelimits import read_limits
from aragora_cp.tenancy.cache import FRESH, KEPT, FreshCache

#: Where a platform token acts when it names no workspace. It is there from its first use on, and stays.
DEFAULT_WORKSPACE = "default"

STATUSES = ("active", "suspended")
PLACEMENTS = ("auto", "private", "shared")
LONGEST_NAME = 128
#: What `unknown_price` may be, beside a price: use of a model without one is not taken.
REFUSE = "refuse"
PRICE = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
LONGEST_RETENTION = 10 * 366 * 86400.0
#: Least and most of each setting that is a whole number. All but the weight can also be None: no limit of its own.
BOUNDS: Mapping[str, tuple[int, int]] = {
    "weight": (1, 100),
    "max_pending": (0, 1_000_000_000),
    "max_running": (0, 1_000_000),
    "max_payload_bytes": (2, 64 * 1024 * 1024),
    "max_result_bytes": (1, 64 * 1024 * 1024),
    "max_agents": (0, 1_000_000),
    "max_tokens": (0, 1_000_000),
}
SETTINGS = ("name", *BOUNDS, "retention", "placement", "encryption", "rate_limits", "unknown_price")


class WorkspaceRecords(Protocol):
    """Where workspaces are kept. Raises StoreUnavailable from every method."""

    def create(self, workspace: str, settings: Mapping[str, Any]) -> tuple[str, Workspace]:
        """Answers created, exists or deleting, and what there is."""
        ...

    def read(self, workspace: str) -> Workspace | None: ...

    def change(self, workspace: str, settings: Mapping[str, Any], action: str) -> tuple[str, Workspace | None]:
        """Answers changed, deleting (refused) or unknown, and what there is."""
        ...

    def page(self, after: str, most: int) -> tuple[list[Workspace], str | None]:
        """Those after the name `after`, by name; and where the next page begins."""
        ...


class Workspaces:
    """Safe to share between threads. What it answers is at most `FRESH` seconds old, and as new as the store when the
    change was pushed (`forget`). Raises StoreUnavailable from every method but `forget`."""

    def __init__(
        self,
        records: WorkspaceRecords,
        *,
        clock: Callable[[], float] = time.monotonic,
        fresh: float = FRESH,
        kept: int = KEPT,
    ) -> None:
        self._records = records
        self._cache: FreshCache[Workspace] = FreshCache(clock=clock, fresh=fresh, kept=kept)

    def find(self, workspace: str) -> Workspace | None:
        """The workspace, unless there is none or it is being deleted. No round trip while the copy is fresh, else
        one."""
        found = self._cache.get(workspace, lambda: self._read(workspace))
        return None if found is None or found.value.status == "deleting" else found.value

    def get(self, workspace: str) -> Workspace:
        """As it is now, also while it is being deleted. Raises NotFound. One round trip."""
        found = self._read(workspace) if WORKSPACE.fullmatch(workspace) else None
        if found is None:
            raise _unknown(workspace)
        return found

    def create(self, workspace: str, settings: Mapping[str, Any]) -> Workspace:
        """Raises InvalidRequest, and Conflict when there is one of that name. Two round trips."""
        errors = _complaints(settings)
        if not WORKSPACE.fullmatch(workspace) or workspace in RESERVED_WORKSPACES:
            errors["workspace"] = ["must be 1 to 63 of a-z, 0-9 and -, and not a reserved word"]
        if errors:
            raise InvalidRequest(errors)
        word, made = self._records.create(workspace, settings)
        if word == "deleting":
            raise Conflict(f"a workspace {workspace!r} is being deleted; try again when it is gone")
        if word != "created":
            raise Conflict(f"there is a workspace {workspace!r} already")
        return made

    def change(self, workspace: str, settings: Mapping[str, Any]) -> Workspace:
        """Change the given settings and no other, all at once; `status` is active or suspended. Raises InvalidRequest,
        NotFound, Conflict when it is being deleted. Two round trips."""
        if errors := _complaints(settings):
            raise InvalidRequest(errors)
        self.get(workspace)  # the default one may not be there yet
        return self._change(workspace, settings, "workspace.change")

    def delete(self, workspace: str) -> Workspace:
        """Begin to delete it: from now on its tokens are worthless and nothing is submitted or claimed; the monitor
        does the rest. Again is harmless. Raises NotFound, Conflict for the default one. Three round trips."""
        if workspace == DEFAULT_WORKSPACE:
            raise Conflict("the default workspace cannot be deleted; suspend it")
        found = self.get(workspace)
        if found.status == "deleting":
            return found
        return self._change(workspace, {"status": "deleting"}, "workspace.delete")

    def list(self, *, limit: int = 50, cursor: str | None = None) -> Page[Workspace]:
        """A page by name. Two round trips."""
        rows, following = self._records.page(cursor or "", limit)
        return Page(tuple(rows), following)

    def forget(self, workspace: str | None = None) -> None:
        """Read it anew next time; without a name, all."""
        self._cache.forget(workspace)

    def _read(self, workspace: str) -> Workspace | None:
        found = self._records.read(workspace)
        if found is None and workspace == DEFAULT_WORKSPACE:
            _, found = self._records.create(workspace, {})
        return found

    def _change(self, workspace: str, settings: Mapping[str, Any], action: str) -> Workspace:
        word, found = self._records.change(workspace, settings, action)
        self._cache.forget(workspace)
        if found is None:
            raise _unknown(workspace)
        if word == "deleting":
            raise Conflict(f"the workspace {workspace!r} is being deleted")
        return found


def _unknown(workspace: str) -> NotFound:
    return NotFound(f"there is no workspace {workspace[:64]!r}")


def _complaints(settings: Mapping[str, Any]) -> dict[str, list[str]]:
    """What cannot be, by name."""
    errors: dict[str, list[str]] = {}
    for name, value in settings.items():
        if name in BOUNDS:
            least, most = BOUNDS[name]
            whole = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
            if not whole and not (value is None and name != "weight"):
                errors[name] = [f"must be a whole number from {least} to {most}"]
        elif name == "retention":
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if value is not None and not (number and 1 <= value <= LONGEST_RETENTION):
                errors[name] = [f"must be seconds from 1 to {LONGEST_RETENTION:g}"]
        elif name == "name":
            if not isinstance(value, str) or len(value) > LONGEST_NAME:
                errors[name] = [f"must be a text of at most {LONGEST_NAME} characters"]
        elif name == "encryption":
            if not isinstance(value, bool):
                errors[name] = ["must be true or false"]
        elif name == "unknown_price":
            if value is not None and not (isinstance(value, str) and (value == REFUSE or PRICE.fullmatch(value))):
                errors[name] = [f'must be {REFUSE}, or a decimal text such as "5.00" for a million tokens']
        elif name == "rate_limits":
            try:
                read_limits(value or {})
            except ValueError as error:
                errors[name] = [str(error)]
        elif name in ("status", "placement"):
            allowed = STATUSES if name == "status" else PLACEMENTS
            if value not in allowed:
                errors[name] = [f"must be one of: {', '.join(allowed)}"]
        else:
            errors[name] = ["is not a setting of a workspace"]
    return errors
