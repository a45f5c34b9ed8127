"""Who may take the fast way: the edge's own rules, at the price of a few dictionary look-ups."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from starlette.datastructures import State
from starlette.types import Scope

from api.limit_answers import fields
from api.limits import LimitTable
from api.middleware.client import Network, address_of, who
from api.middleware.cors import TOLD_HEADERS
from api.middleware.gate import host_of

Header = tuple[bytes, bytes]
EXPOSED = (b"access-control-expose-headers", ", ".join(TOLD_HEADERS).encode())


class Door:
    """``state.parts.limits``: the counts, there once the application has started."""

    def __init__(
        self,
        state: State,
        *,
        hosts: Collection[str],
        trusted_proxies: Sequence[Network],
        table: LimitTable | None,
        safe: Sequence[Header],
        origins: Collection[str],
    ) -> None:
        self._state = state
        self._hosts = hosts
        self._trusted = trusted_proxies
        self._table = table
        self._safe = list(safe)
        self._origins = frozenset(origin.encode() for origin in origins)

    def whose(self, scope: Scope) -> str:
        """What limits count the request to."""
        return who(address_of(scope, self._trusted))

    def admit(self, scope: Scope) -> list[Header] | None:
        """What the answer's headers must say; None: go the long way, which says why not."""
        if self._hosts and host_of(scope) not in self._hosts:
            return None
        own = [*self._safe, *self._cross_origin(scope)] if self._origins else self._safe
        if self._table is None:
            return own
        plan = self._table.plan(scope, address_of(scope, self._trusted))
        if plan is None:
            return own
        if plan.shared:
            return None
        standing = self._state.parts.limits.here(*plan.hits)
        if standing.is_over:
            return None
        told = ((name.lower().encode(), value.encode()) for name, value in fields(standing).items())
        return [*own, *told]

    def _cross_origin(self, scope: Scope) -> list[Header]:
        """As ``Cors`` answers a simple request."""
        vary = (b"vary", b"Origin")
        for name, value in scope["headers"]:
            if name == b"origin" and value in self._origins:
                return [(b"access-control-allow-origin", value), EXPOSED, vary]
        return [vary]
