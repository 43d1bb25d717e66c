"""TenancyMiddleware: from the headers of a request to who is calling and where they act. No Flask in here."""

from __future__ import annotations

from dataclasses import dataclass

from aragora_cp.errors import MalformedRequest, NotFound, Unauthenticated, UnknownToken, WorkspaceMismatch
from aragora_cp.lanes import RESERVED_WORKSPACES, WORKSPACE
from aragora_cp.model import Caller, Workspace
from aragora_cp.tenancy.correlation import Headers, correlation_id
from aragora_cp.tenancy.guesses import GuessGuard
from aragora_cp.tenancy.scopes import require_source
from aragora_cp.tenancy.tokens import Authenticator, StoredToken
from aragora_cp.tenancy.workspaces import DEFAULT_WORKSPACE, Workspaces


@dataclass(frozen=True, slots=True)
class TenantContext:
    """One request: its caller, and the workspace that it acts in. `caller.workspace` is the token's own, None for the
    platform's; the two differ for platform tokens only."""

    caller: Caller
    settings: Workspace

    @property
    def workspace(self) -> str:
        return self.settings.workspace

    @property
    def of_platform(self) -> bool:
        return self.caller.workspace is None


class TenancyMiddleware:
    """Safe to share between threads."""

    def __init__(self, authenticator: Authenticator, workspaces: Workspaces, guard: GuessGuard) -> None:
        self._authenticator = authenticator
        self._workspaces = workspaces
        self._guard = guard

    def enter(self, headers: Headers, correlation: str | None = None, *, source: str = "") -> TenantContext:
        """Who sends this. `correlation`: the id already given to the request; else it is taken from the headers.
        `source`: the address that it comes from, '' unknown.

        Raises Unauthenticated, Forbidden for a token that is not good from that address, WorkspaceMismatch, NotFound
        for an `X-Workspace-ID` that names no workspace, MalformedRequest for one that names no possible one,
        RateLimited for a source that tries one token after another, StoreUnavailable. No round trip for a caller who
        was here in the last second, else at most two.
        """
        token = self._authenticate(_bearer(headers.get("Authorization")), source)
        require_source(token.scopes, source)
        named = headers.get("X-Workspace-ID")
        if named is not None and (not WORKSPACE.fullmatch(named) or named in RESERVED_WORKSPACES):
            raise MalformedRequest("X-Workspace-ID must be 1 to 63 of a-z, 0-9 and -, and not a reserved word")
        if token.workspace is not None and named not in (None, token.workspace):
            raise WorkspaceMismatch
        settings = self._workspaces.find(token.workspace or named or DEFAULT_WORKSPACE)
        if settings is None and token.workspace is not None:
            raise Unauthenticated("the token's workspace is deleted")
        if settings is None:
            raise NotFound(f"there is no workspace {named!r}")
        caller = Caller(
            token_id=token.token_id,
            workspace=token.workspace,
            role=token.role,
            correlation_id=correlation or correlation_id(headers),
            scopes=token.scopes,
        )
        return TenantContext(caller, settings)

    def forget(self, kind: str | None = None, name: str | None = None) -> None:
        """What the store says has changed: a `token` or a `workspace`; without a kind, anything may have."""
        if kind in (None, "token"):
            self._authenticator.forget(name)
        if kind in (None, "workspace"):
            self._workspaces.forget(name)

    def _authenticate(self, text: str, source: str) -> StoredToken:
        self._guard.check(source, text)
        try:
            token = self._authenticator.authenticate(text)
        except UnknownToken:
            self._guard.failed(source)
            raise
        self._guard.passed(text)
        return token


def _bearer(authorization: str | None) -> str:
    """The token of an `Authorization` header (RFC 6750). Raises Unauthenticated."""
    if authorization is None:
        raise Unauthenticated("the request has no Authorization header; send: Authorization: Bearer <token>")
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("the Authorization header must read: Bearer <token>")
    return token.strip()
