"""From headers to a caller and a workspace; roles; correlation ids."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from aragora_cp.errors import (
    Forbidden,
    MalformedRequest,
    NotFound,
    RateLimited,
    Unauthenticated,
    UnknownToken,
    WorkspaceMismatch,
)
from aragora_cp.model import Caller, Role, Workspace
from aragora_cp.store.tokens import TokenRecord
from aragora_cp.tenancy.correlation import correlation_id
from aragora_cp.tenancy.guesses import GuessGuard
from aragora_cp.tenancy.middleware import TenancyMiddleware
from aragora_cp.tenancy.roles import allows, require
from aragora_cp.tenancy.tokens import Authenticator, digest
from aragora_cp.tenancy.workspaces import Workspaces

SECRET = "s" * 43
TOKENS = {"0" * 16: None, "1" * 16: "acme"}


class Records:
    def get(self, token_id: str) -> tuple[TokenRecord | None, int]:
        if token_id not in TOKENS:
            return None, 0
        return TokenRecord(token_id, TOKENS[token_id], Role.OPERATOR, "", digest(SECRET), 0, None, None), 0


class Kept:
    """`WorkspaceRecords` in memory."""

    def __init__(self, *names: str) -> None:
        self.rows = {name: Workspace(name) for name in names}
        self.reads = 0

    def create(self, workspace: str, settings: Mapping[str, Any]) -> tuple[str, Workspace]:
        known = workspace in self.rows
        self.rows.setdefault(workspace, Workspace(workspace, **settings))
        return "exists" if known else "created", self.rows[workspace]

    def read(self, workspace: str) -> Workspace | None:
        self.reads += 1
        return self.rows.get(workspace)

    def change(self, workspace: str, settings: Mapping[str, Any], action: str) -> tuple[str, Workspace | None]:
        if workspace not in self.rows:
            return "unknown", None
        self.rows[workspace] = replace(self.rows[workspace], **settings)
        return "changed", self.rows[workspace]

    def page(self, after: str, most: int) -> tuple[list[Workspace], str | None]:
        return sorted(self.rows.values(), key=lambda each: each.workspace), None


@dataclass
class Failures:
    """`FailureCounter` in memory, with a window that never ends."""

    counts: Counter[str] = field(default_factory=Counter)

    def count_failure(self, source: str, most: int, window_ms: int) -> tuple[int, int]:
        self.counts[source] += 1
        return self.counts[source], 30_000


PLATFORM = f"Bearer acp_{'0' * 16}_{SECRET}"
ACME = f"Bearer acp_{'1' * 16}_{SECRET}"


@pytest.fixture
def tenancy(kept: Kept, failures: Failures, clock: Clock) -> TenancyMiddleware:
    return TenancyMiddleware(Authenticator(Records()), Workspaces(kept), GuessGuard(failures, 3, clock=clock))


@pytest.fixture
def kept() -> Kept:
    return Kept("acme", "beta")


@pytest.fixture
def failures() -> Failures:
    return Failures()


@dataclass
class Clock:
    now: float = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


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
        ({"Authorization": PLATFORM, "X-Workspace-ID": "nowhere"}, NotFound),
        ({"X-Workspace-ID": "A"}, Unauthenticated),
    ],
)
def test_who_is_not_let_in(tenancy: TenancyMiddleware, headers: dict[str, str], refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        tenancy.enter(headers)


def test_the_correlation_id_is_taken_from_the_headers_when_none_is_given(tenancy: TenancyMiddleware) -> None:
    context = tenancy.enter({"Authorization": ACME, "X-Correlation-ID": "mine"})
    assert context.caller.correlation_id == "mine"


def test_the_context_has_the_workspaces_settings(tenancy: TenancyMiddleware, kept: Kept) -> None:
    kept.rows["acme"] = Workspace("acme", weight=3, max_payload_bytes=10)
    assert tenancy.enter({"Authorization": ACME}).settings == kept.rows["acme"]


def test_the_default_workspace_is_there_from_its_first_use_on(tenancy: TenancyMiddleware, kept: Kept) -> None:
    assert "default" not in kept.rows
    tenancy.enter({"Authorization": PLATFORM})
    assert "default" in kept.rows


@pytest.mark.parametrize("gone", ["deleting", None])
def test_a_deleted_workspaces_tokens_are_worthless(tenancy: TenancyMiddleware, kept: Kept, gone: str | None) -> None:
    tenancy.enter({"Authorization": ACME})
    if gone is None:
        del kept.rows["acme"]
    else:
        kept.rows["acme"] = Workspace("acme", status=gone)
    tenancy.enter({"Authorization": ACME})  # for at most a second and a half, where nobody says so
    tenancy.forget("workspace", "acme")
    with pytest.raises(Unauthenticated, match="deleted"):
        tenancy.enter({"Authorization": ACME})
    with pytest.raises(NotFound):
        tenancy.enter({"Authorization": PLATFORM, "X-Workspace-ID": "acme"})


def test_a_suspended_workspaces_tokens_still_read(tenancy: TenancyMiddleware, kept: Kept) -> None:
    kept.rows["acme"] = Workspace("acme", status="suspended")
    assert tenancy.enter({"Authorization": ACME}).settings.status == "suspended"


def test_a_caller_who_was_here_just_now_costs_no_round_trip(tenancy: TenancyMiddleware, kept: Kept) -> None:
    for _ in range(3):
        tenancy.enter({"Authorization": ACME})
    assert kept.reads == 1


class TestGuessing:
    WRONG = ACME.replace("1" * 16, "2" * 16)

    def guess(self, tenancy: TenancyMiddleware, source: str = "192.0.2.1") -> type[Exception]:
        with pytest.raises((Unauthenticated, RateLimited)) as refused:
            tenancy.enter({"Authorization": self.WRONG}, source=source)
        return refused.type

    def test_one_too_many_is_refused_before_it_is_looked_at(
        self, tenancy: TenancyMiddleware, failures: Failures, clock: Clock
    ) -> None:
        assert [self.guess(tenancy) for _ in range(5)] == [UnknownToken] * 3 + [RateLimited] * 2
        assert failures.counts == {"192.0.2.1": 4}
        assert self.guess(tenancy, "192.0.2.2") is UnknownToken
        with pytest.raises(RateLimited) as refused:
            tenancy.enter({"Authorization": ACME}, source="192.0.2.1")  # right, and not known in this process
        assert (refused.value.limit, refused.value.window, refused.value.retry_after) == (3, 60, 30)
        clock.now += 30
        tenancy.enter({"Authorization": ACME}, source="192.0.2.1")

    def test_who_is_known_goes_on_beside_a_guesser(self, tenancy: TenancyMiddleware) -> None:
        tenancy.enter({"Authorization": ACME}, source="192.0.2.1")
        for _ in range(5):
            self.guess(tenancy)
        tenancy.forget()
        tenancy.enter({"Authorization": ACME}, source="192.0.2.1")

    def test_no_token_at_all_is_no_guess(self, tenancy: TenancyMiddleware, failures: Failures) -> None:
        for _ in range(5):
            with pytest.raises(Unauthenticated):
                tenancy.enter({}, source="192.0.2.1")
        assert failures.counts == {}


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
