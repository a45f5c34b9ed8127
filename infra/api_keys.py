"""Whether an API key is one: asked of PostgreSQL, and remembered for a second at most."""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from domain.access import Scope
from domain.api_key import parts_of
from domain.errors import Unauthenticated
from domain.user import Role
from infra.postgres.api_key import FIND, TOUCH, hashed
from infra.postgres.database import Database
from infra.tokens import KeyGrant, Principal

MAX_AGE_SECONDS = 1.0
MAX_REMEMBERED = 10_000
# When a key was last used is told to this grain: no write for each request.
COARSE_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Known:
    principal: Principal
    hashes: tuple[bytes, ...]
    stale: bool
    as_of: float


class ApiKeys:
    """Verified keys are looked up again after ``MAX_AGE_SECONDS``, so none outlives its end."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._known: OrderedDict[str, Known] = OrderedDict()

    async def verify(self, key: str) -> Principal:
        """Raises Unauthenticated: not one of ours, revoked, over, or of a blocked account."""
        parts = parts_of(key)
        if parts is None:
            raise _refused()
        known = self._known.get(parts.prefix)
        if known is None or known.as_of < self._clock() - MAX_AGE_SECONDS:
            known = await self._look(parts.prefix)
        proof = hashed(parts.secret)
        if known is None or not any(hmac.compare_digest(proof, one) for one in known.hashes):
            raise _refused()
        if known.stale:
            # Only what was proven counts as used; two processes may both see it as stale.
            self._known[parts.prefix] = replace(known, stale=False)
            async with self._database.statements() as session:
                await session.change(TOUCH, id=known.principal.session_id, coarse=COARSE_SECONDS)
        return known.principal

    def forget(self) -> None:
        self._known.clear()

    async def _look(self, prefix: str) -> Known | None:
        began = self._clock()
        async with self._database.statements() as session:
            row = await session.one(FIND, prefix=prefix, coarse=COARSE_SECONDS)
        if row is None:
            self._known.pop(prefix, None)
            return None
        grant = KeyGrant(row.id, frozenset(Scope(one) for one in row.scopes), row.per_minute)
        principal = Principal(row.account_id, Role.USER.value, row.id, key=grant)
        hashes = tuple(one for one in (row.secret_hash, row.previous_hash) if one is not None)
        self._known[prefix] = known = Known(principal, hashes, row.stale, began)
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return known


def _refused() -> Unauthenticated:
    return Unauthenticated("The API key is not valid or no longer so.")
