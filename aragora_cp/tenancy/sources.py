"""Where a request comes from, as far as that can be believed. Pure."""

from __future__ import annotations

import ipaddress

from aragora_cp.tenancy.scopes import parse_address


def source_address(peer: str | None, forwarded_for: str | None, trusted: int) -> str:
    """The caller's address. `peer` is who connected to us; `forwarded_for` the request's X-Forwarded-For.

    Each proxy appends the address that it heard from, so of `trusted` proxies of ours before us the outermost wrote the
    entry `trusted` from the right; what stands before it came from the caller and is not believed. With fewer entries,
    or with one that is no address, it is the peer's. Answers '' when nothing is known (a Unix socket).
    """
    entries = (forwarded_for or "").split(",") if trusted > 0 else []
    told = parse_address(entries[-trusted]) if len(entries) >= trusted > 0 else None
    found = told or parse_address(peer or "")
    return str(found) if found else ""


def neighbourhood(source: str) -> str:
    """The address as failures are counted: of IPv6 its /64, which is what one caller usually has for itself."""
    address = parse_address(source)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address) if address else "unknown"
