"""What each role may do: one table."""

from __future__ import annotations

from collections.abc import Mapping

from aragora_cp.errors import Forbidden
from aragora_cp.model import Caller, Role, Scopes
from aragora_cp.tenancy.scopes import covers

#: Role of a token: the roles whose calls it may make. `admin` is the platform's and may do everything; `operator`
#: everything inside its workspace; an agent makes the calls of agents and reads nothing else.
GRANTS: Mapping[Role, frozenset[Role]] = {
    Role.ADMIN: frozenset(Role),
    Role.OPERATOR: frozenset({Role.OPERATOR, Role.SUBMITTER, Role.VIEWER, Role.AGENT}),
    Role.SUBMITTER: frozenset({Role.SUBMITTER, Role.VIEWER}),
    Role.VIEWER: frozenset({Role.VIEWER}),
    Role.AGENT: frozenset({Role.AGENT}),
}

#: A call of this role shows the payload of a task; a viewer sees everything but the payload.
READS_PAYLOADS = Role.SUBMITTER


def allows(role: Role, needed: Role) -> bool:
    return needed in GRANTS[role]


def require(caller: Caller, needed: Role) -> None:
    """Raises Forbidden when the caller's role does not include `needed`."""
    if not allows(caller.role, needed):
        raise Forbidden(f"this call needs the role {needed}; the token has {caller.role}")


def require_reach(caller: Caller, role: Role, scopes: Scopes) -> None:
    """Raises Forbidden when a token with this role and these scopes may do more than the caller: then the caller must
    not get hold of its secret."""
    if not GRANTS[role] <= GRANTS[caller.role]:
        raise Forbidden(f"a token with the role {caller.role} makes none with the role {role}")
    if not covers(caller.scopes, scopes):
        raise Forbidden("your own token is narrower than this one")
