"""From headers to a caller and a workspace; roles; correlation ids."""

from __future__ import annotations

import re

import pytest

from aragora_cp.errors import Forbidden, MalformedRequest, Unauthenticated, WorkspaceMismatch
from aragora_cp.model import Caller, Role
from aragora_cp.store.tokens import TokenRecord
from aragora_cp.tenancy.correlation import correlation_id
from aragora_cp.tenancy.middleware import TenancyMiddleware
from aragora_cp.tenancy.roles import allows, require
from aragora_cp.tenancy.tokens import Authenticator, digest

SECRET = "s" * 43
TOKENS = {"0" * 16: None, "1" * 16: "acme"}


class Records:
    def get(self, token_id: str) -> tuple[TokenRecord | None, int]:
        if token_id not in TOKENS:
            return None, 0
        return TokenRecord(token_id, TOKENS[token_id], Role.OPERATOR, "", digest(SECRET), 0, None, None), 0

    def add(self, *_args: object, **_kwargs: object) -> TokenRecord:
        raise NotImplementedError

    def now(self) -> int:
        return 0


PLATFORM = f"Bearer acp_{'0' * 16}_{SECRET}"
ACME = f"Bearer acp_{'1' * 16}_{SECRET}"


@pytest.fixture
def tenancy() -> TenancyMiddleware:
    return TenancyMiddleware(Authenticator(Records()))


@pytest.mark.parametrize(
    ("headers", "own", "acts_in"),
    [
        ({"Authorization": ACME}, "acme", "acme"),
        ({"Authorization": ACME, "X-Workspace-ID": "acme"}, "acme", "acme"),
        ({"Authorization": PLATFORM}, None, "default"),
        ({"Authorization": PLATFORM, "X-Workspace-ID": "beta"}, None, "beta"),
        ({"Authorization": ACME.replace("Bearer ", "bEARER   ")}, "acme", "acme"),
    ],
)
def test_who_calls_and_where(
    tenancy: TenancyMiddleware, headers: dict[str, str], own: str | None, acts_in: str
) -> None:
    context = tenancy.enter(headers, "c-1")
    assert (context.caller.workspace, context.workspace, context.of_platform) == (own, acts_in, own is None)
    assert context.caller.correlation_id == "c-1"


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        ({}, Unauthenticated),
        ({"Authorization": "Bearer"}, Unauthenticated),
        ({"Authorization": f"Token {ACME[7:]}"}, Unauthenticated),
        ({"Authorization": ACME + "x"}, Unauthenticated),
        ({"Authorization": ACME, "X-Workspace-ID": "beta"}, WorkspaceMismatch),
        ({"Authorization": ACME, "X-Workspace-ID": ""}, MalformedRequest),
        ({"Authorization": PLATFORM, "X-Workspace-ID": "A"}, MalformedRequest),
        ({"Authorization": PLATFORM, "X-Workspace-ID": "shared"}, MalformedRequest),
        ({"X-Workspace-ID": "A"}, Unauthenticated),
    ],
)
def test_who_is_not_let_in(tenancy: TenancyMiddleware, headers: dict[str, str], refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        tenancy.enter(headers)


def test_the_correlation_id_is_taken_from_the_headers_when_none_is_given(tenancy: TenancyMiddleware) -> None:
    context = tenancy.enter({"Authorization": ACME, "X-Correlation-ID": "mine"})
    assert context.caller.correlation_id == "mine"


ORDER = (Role.ADMIN, Role.OPERATOR, Role.SUBMITTER, Role.VIEWER)


@pytest.mark.parametrize("role", ORDER)
def test_each_role_may_do_what_the_next_may(role: Role) -> None:
    assert [allows(role, needed) for needed in ORDER] == [ORDER.index(needed) >= ORDER.index(role) for needed in ORDER]


@pytest.mark.parametrize("needed", Role)
def test_an_agent_makes_the_calls_of_agents_only(needed: Role) -> None:
    assert allows(Role.AGENT, needed) is (needed is Role.AGENT)


def test_a_refusal_names_both_roles() -> None:
    with pytest.raises(Forbidden, match=r"operator.*viewer"):
        require(Caller("t", "acme", Role.VIEWER), Role.OPERATOR)
    require(Caller("t", "acme", Role.OPERATOR), Role.VIEWER)


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"X-Correlation-ID": "a"}, "a"),
        ({"X-Correlation-ID": "x" * 128}, "x" * 128),
        ({"X-Correlation-ID": "A-z_0.9:/=+@"}, "A-z_0.9:/=+@"),
        ({"X-Correlation-ID": "mine", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}, "mine"),
        ({"X-Correlation-ID": "not safe", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}, TRACE),
        ({"traceparent": f"01-{TRACE}-00f067aa0ba902b7-01-later"}, TRACE),
        ({"traceparent": f"ff-{TRACE}-00f067aa0ba902b7-01"}, None),
        ({"traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01"}, None),
        ({"traceparent": f"00-{TRACE}-{'0' * 16}-01"}, None),
        ({"traceparent": f"00-{TRACE.upper()}-00f067aa0ba902b7-01"}, None),
        ({"X-Correlation-ID": ""}, None),
        ({"X-Correlation-ID": "x" * 129}, None),
        ({"X-Correlation-ID": "a\r\nSet-Cookie: b"}, None),
        ({"X-Correlation-ID": "a\n"}, None),
        ({}, None),
    ],
)
def test_correlation_ids(headers: dict[str, str], found: str | None) -> None:
    assert re.fullmatch("[0-9a-f]{32}" if found is None else re.escape(found), correlation_id(headers))
