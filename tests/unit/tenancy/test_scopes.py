"""What a token is narrowed to, and where a request comes from."""

from __future__ import annotations

import pytest

from aragora_cp.errors import Forbidden
from aragora_cp.model import Caller, Role, Scopes
from aragora_cp.tenancy.roles import require_reach
from aragora_cp.tenancy.scopes import covers, narrowed, require_agent, require_source, require_task
from aragora_cp.tenancy.sources import neighbourhood, source_address

NARROW = Scopes(("code.review",), ("code", "search"), ("10.0.0.0/8", "2001:db8::/32"))


def caller(scopes: Scopes = NARROW, role: Role = Role.OPERATOR) -> Caller:
    return Caller("t", "acme", role, scopes=scopes)


@pytest.mark.parametrize("capabilities", [(), ("code",), ("code", "search")])
def test_a_task_within(capabilities: tuple[str, ...]) -> None:
    require_task(caller(), "code.review", capabilities)
    require_agent(caller(), capabilities, {"code.review": {}})


@pytest.mark.parametrize(("kind", "needs"), [("other", ("code",)), ("code.review", ("code", "gpu"))])
def test_a_task_beyond(kind: str, needs: tuple[str, ...]) -> None:
    with pytest.raises(Forbidden):
        require_task(caller(), kind, needs)
    with pytest.raises(Forbidden):
        require_agent(caller(), needs, {kind: {}})
    require_task(caller(Scopes()), kind, needs)
    require_agent(caller(Scopes()), needs, {})


def test_an_agent_that_names_no_task_types_could_run_any() -> None:
    with pytest.raises(Forbidden, match="must name"):
        require_agent(caller(), ("code",), {})


@pytest.mark.parametrize("source", ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"])
def test_an_address_within(source: str) -> None:
    require_source(NARROW, source)


@pytest.mark.parametrize("source", ["11.0.0.1", "2001:db9::1", "", "unix", "10.1.2.3, 11.0.0.1"])
def test_an_address_beyond(source: str) -> None:
    with pytest.raises(Forbidden, match="address"):
        require_source(NARROW, source)
    require_source(Scopes(), source)


def test_nobody_gives_more_than_they_have() -> None:
    assert narrowed(Scopes(), NARROW) == NARROW
    assert narrowed(Scopes(capabilities=("code",), networks=("10.9.0.0/16",)), NARROW) == Scopes(
        ("code.review",), ("code",), ("10.9.0.0/16",)
    )
    for wider in (
        Scopes(task_types=("code.review", "other")),
        Scopes(capabilities=("gpu",)),
        Scopes(networks=("0.0.0.0/0",)),
        Scopes(networks=("2001::/16",)),
    ):
        with pytest.raises(Forbidden):
            narrowed(wider, NARROW)


def test_what_is_as_narrow_or_narrower_is_covered() -> None:
    assert covers(NARROW, NARROW)
    assert covers(NARROW, Scopes((), ("code",), ("10.0.0.1/32",)))
    assert covers(Scopes(), NARROW)
    assert not covers(NARROW, Scopes())
    assert not covers(NARROW, Scopes(("code.review",), ("code",), None))


@pytest.mark.parametrize("role", Role)
def test_nobody_makes_a_role_above_their_own(role: Role) -> None:
    if role is Role.ADMIN:
        with pytest.raises(Forbidden, match="admin"):
            require_reach(caller(Scopes()), role, Scopes())
    else:
        require_reach(caller(Scopes()), role, Scopes())
    require_reach(caller(Scopes(), Role.ADMIN), role, Scopes())
    with pytest.raises(Forbidden):
        require_reach(caller(NARROW, Role.ADMIN), role, Scopes())


@pytest.mark.parametrize(
    ("forwarded", "trusted", "found"),
    [
        (None, 0, "192.0.2.1"),
        ("203.0.113.5", 0, "192.0.2.1"),
        ("203.0.113.5", 1, "203.0.113.5"),
        ("198.51.100.7, 203.0.113.5", 1, "203.0.113.5"),
        ("198.51.100.7, 203.0.113.5", 2, "198.51.100.7"),
        ("203.0.113.5", 2, "192.0.2.1"),
        ("", 1, "192.0.2.1"),
        ("not an address", 1, "192.0.2.1"),
        ("10.0.0.1, ::ffff:203.0.113.5 ", 1, "203.0.113.5"),
    ],
)
def test_where_a_request_comes_from(forwarded: str | None, trusted: int, found: str) -> None:
    assert source_address("192.0.2.1", forwarded, trusted) == found


def test_a_unix_socket_has_no_address() -> None:
    assert source_address("", None, 0) == source_address(None, None, 1) == ""


@pytest.mark.parametrize(
    ("source", "counted_as"),
    [("192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("", "unknown")],
)
def test_how_failures_are_counted(source: str, counted_as: str) -> None:
    assert neighbourhood(source) == counted_as
