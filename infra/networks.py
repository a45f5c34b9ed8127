"""Settings that are lists: networks, origins, hosts; written with commas."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _networks(value: object) -> object:
    parts = _split(value)
    if isinstance(parts, tuple | list):
        return tuple(
            ipaddress.ip_network(part) if isinstance(part, str) else part for part in parts
        )
    return parts


Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
