"""What a token is narrowed to beside its role: task types, capabilities, source networks. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from functools import lru_cache

from aragora_cp.errors import Forbidden, InvalidRequest
from aragora_cp.lanes import CAPABILITY, TASK_TYPE
from aragora_cp.model import Caller, Scopes

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Entries of one scope.
MOST_ENTRIES = 64


def checked(scopes: Scopes) -> Scopes:
    """In canonical form. Raises InvalidRequest naming what cannot be."""
    errors: dict[str, list[str]] = {}
    for name, grammar in (("task_types", TASK_TYPE), ("capabilities", CAPABILITY)):
        for each in getattr(scopes, name) or ():
            if not grammar.fullmatch(each):
                errors.setdefault(name, []).append(f"{each[:128]!r} cannot be one")
    for each in scopes.networks or ():
        try:
            _network(each)
        except ValueError:
            errors.setdefault("networks", []).append(
                f"{each[:64]!r} is not a network such as 10.0.0.0/8 or 2001:db8::/32"
            )
    for name in ("task_types", "capabilities", "networks"):
        if len(getattr(scopes, name) or ()) > MOST_ENTRIES:
            errors[name] = [f"must have at most {MOST_ENTRIES} entries"]
    if errors:
        raise InvalidRequest(errors)
    return Scopes(
        task_types=_sorted(scopes.task_types),
        capabilities=_sorted(scopes.capabilities),
        networks=_sorted(None if scopes.networks is None else (str(_network(each)) for each in scopes.networks)),
    )


def narrowed(asked: Scopes, own: Scopes) -> Scopes:
    """What somebody whose own token has the scopes `own` may give a token: `asked`, and where that says nothing, their
    own. Raises Forbidden when `asked` is wider."""
    for name in ("task_types", "capabilities"):
        limit, given = getattr(own, name), getattr(asked, name)
        if limit is not None and given is not None and not set(given) <= set(limit):
            raise Forbidden(f"{name}: your own token is narrowed to {', '.join(limit) or 'none'}")
    if own.networks is not None and asked.networks is not None:
        for each in asked.networks:
            if not any(_inside(_network(each), _network(limit)) for limit in own.networks):
                raise Forbidden(f"networks: your own token is narrowed to {', '.join(own.networks) or 'none'}")
    return Scopes(
        task_types=own.task_types if asked.task_types is None else asked.task_types,
        capabilities=own.capabilities if asked.capabilities is None else asked.capabilities,
        networks=own.networks if asked.networks is None else asked.networks,
    )


def covers(own: Scopes, other: Scopes) -> bool:
    """Whether `other` is no wider than `own` in any respect."""
    try:
        return narrowed(other, own) == other
    except Forbidden:
        return False


def require_task(caller: Caller, task_type: str, capabilities: Iterable[str]) -> None:
    """Raises Forbidden when the caller's token is not for tasks of this type, or with these capabilities."""
    scopes = caller.scopes
    if scopes.task_types is not None and task_type not in scopes.task_types:
        raise Forbidden(f"the token is not good for tasks of type {task_type!r}")
    _require_capabilities(scopes, capabilities)


def require_agent(caller: Caller, capabilities: Iterable[str], task_types: Mapping[str, object]) -> None:
    """Raises Forbidden when the caller's token is not for an agent with these capabilities, or these task types."""
    scopes = caller.scopes
    if scopes.task_types is not None:
        if not task_types:
            raise Forbidden("the token is narrowed to some task types; the agent must name its own")
        if wider := sorted(set(task_types) - set(scopes.task_types)):
            raise Forbidden(f"the token is not good for tasks of type {wider[0]!r}")
    _require_capabilities(scopes, capabilities)


def require_source(scopes: Scopes, source: str) -> None:
    """Raises Forbidden when the token is not good from the address `source` ('' unknown)."""
    if scopes.networks is None:
        return
    address = parse_address(source)
    if address is None or not any(address in _network(each) for each in scopes.networks):
        raise Forbidden("the token is not good from this address")


def parse_address(text: str) -> Address | None:
    """An IPv4 address also when it is written as IPv6 has it; None for what is no address."""
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address.scope_id:
            return ipaddress.IPv6Address(int(address))
    return address


def _require_capabilities(scopes: Scopes, capabilities: Iterable[str]) -> None:
    if scopes.capabilities is not None and (wider := sorted(set(capabilities) - set(scopes.capabilities))):
        raise Forbidden(f"the token is not good for the capability {wider[0]!r}")


@lru_cache(maxsize=4096)
def _network(text: str) -> Network:
    return ipaddress.ip_network(text, strict=False)


def _inside(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def _sorted(entries: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if entries is None else tuple(sorted(set(entries)))
