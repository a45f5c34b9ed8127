"""Whose request it is: the peer's address, or what proxies of ours say of it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from starlette.types import Scope

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# What one household or office is given of IPv6: whoever has one address of it has them all.
IPV6_PREFIX = 64
NOBODY = "unknown"
# Proxies in a row; a longer list was written by a stranger.
MAX_HOPS = 20


def address_of(scope: Scope, trusted: Sequence[Network]) -> Address | None:
    """The rightmost address that no proxy of ours has; None when there is none to be had.

    Each proxy appends whom it talked to, so what stands left of the first stranger is only what
    that stranger says. ``X-Real-IP`` and ``Forwarded`` are not looked at: any client may send them.
    """
    client = scope.get("client")
    peer = parse(client[0]) if client else None
    if not within(peer, trusted):
        return peer
    hops = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    nearest = peer
    for hop in reversed(hops.rsplit(b",", MAX_HOPS)[-MAX_HOPS:] if hops else []):
        address = parse(hop.decode("latin-1").strip())
        if address is None:
            break
        nearest = address
        if not within(address, trusted):
            break
    return nearest


def within(address: Address | None, networks: Sequence[Network]) -> bool:
    return address is not None and any(address in network for network in networks)


def who(address: Address | None) -> str:
    """What limits count by: the address, of IPv6 its first 64 bits."""
    if address is None:
        return NOBODY
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))


@lru_cache(maxsize=4096)
def parse(text: str) -> Address | None:
    """An address as proxies write it, with or without a port; None when it is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
