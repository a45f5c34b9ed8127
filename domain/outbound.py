"""Which addresses of a stranger's choice we connect to: rules against SSRF, without any I/O.

The form of a URL is judged when it is given to us, the addresses behind its name each time we
connect: a name may answer otherwise by then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from ipaddress import IPv4Network as V4
from urllib.parse import urlsplit

from domain.errors import Invalid

Address = IPv4Address | IPv6Address
Network = V4 | IPv6Network

MAX_URL_CHARACTERS = 2048
VISIBLE = re.compile(r"[!-~]+")
LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# What a URL parser may read as one number of an IPv4 address: 127, 0x7f, 0177.
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
QUAD = re.compile(r"(0|[1-9][0-9]{0,2})(\.(0|[1-9][0-9]{0,2})){3}")
# Names that mean this machine or this network wherever they are asked.
OWN_NAMES = ("localhost", "local", "localdomain", "internal", "intranet", "lan", "home", "corp")
# Beside what is not global: relays and translators, by which a global address reaches another.
NEVER = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "100.64.0.0/10",
        "168.63.129.16/32",  # Azure's own services, at a public address
        "169.254.0.0/16",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "224.0.0.0/3",
        "::/96",
        "::ffff:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/9",
        "ff00::/8",
    )
)


@dataclass(frozen=True, slots=True)
class OutboundPolicy:
    """``ports`` None: any. ``exempt``: networks that may be reached though nobody else's may."""

    https_only: bool = True
    ports: frozenset[int] | None = frozenset({443, 8443})
    exempt: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. ``host`` is a lower-case name or an address, without brackets."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """For the ``Host`` header: the port only where the scheme does not imply it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


DEFAULT_PORTS = {"https": 443, "http": 80}


def target_of(url: str, policy: OutboundPolicy) -> Target:
    """The parts of ``url``, if its form is one that we send to.

    Raises:
        Invalid: ``invalid_url``, with what to change.
    """
    if len(url) > MAX_URL_CHARACTERS or not VISIBLE.fullmatch(url) or "\\" in url:
        raise _refused("a URL is at most 2,048 visible ASCII characters without backslashes")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _refused("it cannot be read as a URL") from error
    if parts.scheme not in DEFAULT_PORTS or (policy.https_only and parts.scheme != "https"):
        raise _refused("it must begin with https://")
    if "@" in parts.netloc:
        raise _refused("it may not carry a user name or a password")
    if "#" in url:
        raise _refused("it may not have a fragment")
    if "%" in parts.netloc or not parts.hostname:
        raise _refused("its host is not a name or an address")
    port = DEFAULT_PORTS[parts.scheme] if port is None else port
    if policy.ports is not None and port not in policy.ports:
        raise _refused(f"its port must be one of {', '.join(map(str, sorted(policy.ports)))}")
    host = _host(parts.hostname.lower(), policy)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port, path)


def _host(host: str, policy: OutboundPolicy) -> str:
    if ":" in host or QUAD.fullmatch(host):
        try:
            address = ip_address(host)
        except ValueError as error:
            raise _refused("its address is malformed") from error
        if not may_reach(address, policy):
            raise _refused("its address is not one of the public internet")
        return str(address)
    labels = host.removesuffix(".").split(".")
    if not all(LABEL.fullmatch(label) for label in labels) or len(host) > 253:
        raise _refused("its host is not a name or an address")
    if NUMBER.fullmatch(labels[-1]):
        raise _refused("an IPv4 address is written as four decimal numbers")
    if not policy.exempt and (len(labels) < 2 or labels[-1] in OWN_NAMES):
        raise _refused("its host is not a name of the public internet")
    return host


def may_reach(address: Address, policy: OutboundPolicy) -> bool:
    """Whether a connection to ``address`` is allowed."""
    if any(address in network for network in policy.exempt):
        return True
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return False
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    return not any(address in network for network in NEVER)


def checked_addresses(found: Iterable[str], policy: OutboundPolicy) -> list[Address]:
    """What a name answers, when all of it may be reached; a mixed answer is a trick.

    Raises:
        Invalid: ``forbidden_address``.
    """
    addresses = [ip_address(one) for one in found]
    if not addresses or not all(may_reach(address, policy) for address in addresses):
        raise Invalid(
            "The host answers with an address that is not of the public internet.",
            code="forbidden_address",
        )
    return addresses


def _refused(why: str) -> Invalid:
    return Invalid(f"This URL is refused: {why}.", code="invalid_url")
