"""Where a request comes from, told to every script that it runs; and an audit entry for what is refused before one."""

from __future__ import annotations

import logging
from contextlib import suppress

from flask import Flask, Response, current_app, g, request

from aragora_cp.api.access import caller_address, is_public
from aragora_cp.api.services import services
from aragora_cp.audit import PLATFORM
from aragora_cp.errors import RateLimited, Refused, StoreUnavailable, Unauthenticated, UnknownToken
from aragora_cp.telemetry import origin
from aragora_cp.telemetry.origin import Origin
from aragora_cp.tenancy.tokens import claimed_id

log = logging.getLogger("aragora_cp.api")

_READS = ("GET", "HEAD", "OPTIONS")
#: Refusals whose script, or whose counter of guesses, has written them down.
_NOTED = frozenset(
    {"quota-exceeded", "budget-exceeded", "already-final", "stale-attempt", "idempotency-conflict", "policy-denied"}
)
_CONFLICTS_NOTED = frozenset({"submit_task", "retry_task", "register_agent", "create_workspace", "change_workspace"})
#: What scripts call it; the others are called as their operation, `cancel_task` is `task.cancel`.
_ACTIONS = {
    "complete_task": "task.finish",
    "report_progress": "task.progress",
    "heartbeat": "agent.heartbeat",
    "force_breaker": "agent.breaker",
    "create_token": "token.issue",
    "roll_back_flag": "flag.roll-back",
}
_LONGEST_TARGET = 128


def arrive(app: Flask) -> None:
    """Install before the guard."""
    app.before_request(_begin)
    app.after_request(_note_refusal)
    app.teardown_request(_end)


def let_in(app: Flask) -> None:
    """Install after the guard: now it is known who calls."""
    app.before_request(_name_caller)


def action_of(endpoint: str) -> str:
    """What an operation is called in the trail."""
    name = endpoint.rpartition(".")[2]
    verb, _, noun = name.partition("_")
    return _ACTIONS.get(name) or f"{noun.removesuffix('s') or name}.{verb}"


def _begin() -> None:
    g.origin = origin.enter(Origin("", caller_address(), g.correlation_id))


def _name_caller() -> None:
    if "tenant" in g:
        origin.enter(Origin(g.tenant.caller.actor, caller_address(), g.correlation_id))


def _end(_error: BaseException | None) -> None:
    if token := g.pop("origin", None):
        origin.leave(token)


def _note_refusal(response: Response) -> Response:
    code = _refused_with(response)
    if code is not None:
        trail, actor = _trail_and_actor()
        came_from = Origin(actor, caller_address(), g.correlation_id)
        try:
            services().plane.audit.refuse(trail, came_from, action_of(request.endpoint or ""), _target(), code)
        except StoreUnavailable:
            log.warning("a refusal is not in the audit trail: the store is away", extra={"code": code})
    return response


def _refused_with(response: Response) -> str | None:
    """The code of a refusal that is to be noted here, else None."""
    if not 400 <= response.status_code < 500 or request.endpoint is None:
        return None
    if is_public(current_app.view_functions[request.endpoint]):
        return None
    if request.method in _READS and response.status_code not in (401, 403):
        return None
    error: Refused | None = g.get("refusal")
    if isinstance(error, UnknownToken | RateLimited):
        return None
    code = error.code if error else f"http-{response.status_code}"
    noted = code in _NOTED or (code == "conflict" and request.endpoint.rpartition(".")[2] in _CONFLICTS_NOTED)
    return None if noted else code


def _trail_and_actor() -> tuple[str, str]:
    """A caller who is known is noted in the trail where they act; any other in the platform's."""
    if "tenant" in g:
        return g.tenant.workspace, g.tenant.caller.actor
    claimed = claimed_id(request.headers.get("Authorization", ""))
    known = claimed and not isinstance(g.get("refusal"), Unauthenticated)
    return PLATFORM, f"token:{claimed}" if known else "anonymous"


def _target() -> str:
    with suppress(StopIteration):
        text = str(next(iter((request.view_args or {}).values())))[:_LONGEST_TARGET]
        return "".join(each if each.isprintable() else "?" for each in text)
    return ""
