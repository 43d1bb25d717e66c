"""TenancyMiddleware: from the headers of a request to who is calling and where they act. No Flask in here."""

from __future__ import annotations

from dataclasses import dataclass

from aragora_cp.errors import MalformedRequest, Unauthenticated, WorkspaceMismatch
from aragora_cp.lanes import RESERVED_WORKSPACES, WORKSPACE
from aragora_cp.model import Caller
from aragora_cp.tenancy.correlation import Headers, correlation_id
from aragora_cp.tenancy.tokens import Authenticator

#: Where a platform token acts when it names no workspace.
DEFAULT_WORKSPACE = "default"


@dataclass(frozen=True, slots=True)
class TenantContext:
    """One request: its caller, and the workspace that it acts in. `caller.workspace` is the token's own, None for the
    platform's; the two differ for platform tokens only."""

    caller: Caller
    workspace: str

    @property
    def of_platform(self) -> bool:
        return self.caller.workspace is None


class TenancyMiddleware:
    """Safe to share between threads."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    def enter(self, headers: Headers, correlation: str | None = None) -> TenantContext:
        """Who sends this. `correlation`: the id already given to the request; else it is taken from the headers.

        Raises Unauthenticated, WorkspaceMismatch, MalformedRequest for an `X-Workspace-ID` that names no possible
        workspace, StoreUnavailable. At most one round trip.
        """
        token = self._authenticator.authenticate(_bearer(headers.get("Authorization")))
        named = headers.get("X-Workspace-ID")
        if named is not None and (not WORKSPACE.fullmatch(named) or named in RESERVED_WORKSPACES):
            raise MalformedRequest("X-Workspace-ID must be 1 to 63 of a-z, 0-9 and -, and not a reserved word")
        if token.workspace is not None and named not in (None, token.workspace):
            raise WorkspaceMismatch
        caller = Caller(
            token_id=token.token_id,
            workspace=token.workspace,
            role=token.role,
            correlation_id=correlation or correlation_id(headers),
        )
        return TenantContext(caller, token.workspace or named or DEFAULT_WORKSPACE)


def _bearer(authorization: str | None) -> str:
    """The token of an `Authorization` header (RFC 6750). Raises Unauthenticated."""
    if authorization is None:
        raise Unauthenticated("the request has no Authorization header; send: Authorization: Bearer <token>")
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("the Authorization header must read: Bearer <token>")
    return token.strip()
