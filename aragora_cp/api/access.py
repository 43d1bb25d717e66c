"""Which role an operation needs, stated where it stands; and the guard that sees to it. What says nothing is closed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from flask import Flask, current_app, g, request

from aragora_cp.api.bodies import ENVELOPE_BYTES, payload_limit
from aragora_cp.api.services import services
from aragora_cp.api.tracing import say
from aragora_cp.errors import Refused
from aragora_cp.model import Role
from aragora_cp.policy.requests import Principal, read_request
from aragora_cp.tenancy.middleware import TenantContext
from aragora_cp.tenancy.roles import require
from aragora_cp.tenancy.sources import source_address

View = TypeVar("View", bound=Callable[..., Any])

_MARK = "needs_role"
#: Where an operation leaves what the OpenAPI document says of it; `openapi.document` takes it out again.
REFUSALS_NOTE = "x-refusals"
ROLE_NOTE = "x-role"
#: The mark of what anyone may call.
_ANYONE = "anyone"
#: What rules are about when it is read. Policies are not among them: nobody locks themselves out of their own rules.
JUDGED_READS = frozenset({"tasks", "agents", "approvals", "audit", "tokens", "workspaces"})


def requires(role: Role, *refusals: type[Refused]) -> Callable[[View], View]:
    """This operation needs `role`. `refusals`: those of its own, beside the ones that follow from its shape."""
    return _marked(role, {ROLE_NOTE: role.value, "security": [{"bearer": []}], REFUSALS_NOTE: list(refusals)})


def public(view: View) -> View:
    """Anyone may call this."""
    return _marked(_ANYONE, {"security": []})(view)


def is_public(view: Callable[..., Any]) -> bool:
    return getattr(view, _MARK, None) == _ANYONE


def caller_address() -> str:
    """Where the present request comes from, '' when that is not known."""
    trusted = services().plane.config.trusted_proxies
    return source_address(request.remote_addr, request.headers.get("X-Forwarded-For"), trusted)


def guard(app: Flask) -> None:
    """Let no request of `app` reach an operation that its caller may not use. Comes before a body is read."""
    app.before_request(_let_in)


def _marked(mark: str, notes: Mapping[str, Any]) -> Callable[[View], View]:
    def decorate(view: View) -> View:
        docs: dict[str, Any] = {**view.__dict__.get("_apidoc", {})}
        docs["manual_doc"] = {"operationId": view.__name__, **docs.get("manual_doc", {}), **notes}
        view.__dict__.update({_MARK: mark, "_apidoc": docs})
        return view

    return decorate


def _let_in() -> None:
    if request.endpoint is None:
        return  # there is no such path, or not with this method: the router answers
    needed = getattr(current_app.view_functions[request.endpoint], _MARK, None)
    if needed == _ANYONE:
        return
    if not isinstance(needed, Role):
        raise TypeError(f"the operation {request.endpoint} does not say who may call it")
    parts = services()
    parts.keeper.start()
    tenant = parts.tenancy.enter(request.headers, g.correlation_id, source=caller_address())
    g.tenant = tenant
    request.max_content_length = payload_limit() + ENVELOPE_BYTES
    say(workspace=tenant.workspace, token_id=tenant.caller.token_id)
    require(tenant.caller, needed)
    _let_read(tenant)


def _let_read(tenant: TenantContext) -> None:
    """Raises PolicyDenied when rules forbid to read such things."""
    kind = request.blueprint or ""
    if request.method in ("GET", "HEAD") and kind in JUDGED_READS:
        asked = read_request(Principal.of(tenant.caller), tenant.workspace, kind)
        caller = tenant.caller
        services().plane.policy.require(asked, actor=caller.actor, correlation_id=caller.correlation_id)
