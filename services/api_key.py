"""API keys of partners: made for an account, shown once, rotated with an overlap, revoked."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID, uuid4

from domain.access import Scope
from domain.api_key import MAX_KEYS_PER_ACCOUNT, PREFIX_BYTES, SECRET_BYTES, Parts, written
from domain.errors import Conflict, Invalid, NotFound
from services.staff import Act


@dataclass(frozen=True, slots=True)
class NewKey:
    """``account_id``: for whom it speaks. ``days``: how long it lasts; None: until revoked."""

    id: UUID
    account_id: UUID
    name: str
    scopes: frozenset[Scope]
    per_minute: int
    days: int | None
    parts: Parts


class ApiKeyStore(Protocol):
    """Each method is one transaction with its line in the audit log; secrets are kept as hashes."""

    async def add(self, new: NewKey, act: Act, *, most: int) -> bool | None:
        """None: no account that a key may speak for; False: it has as many keys as it may."""
        ...

    async def rotate(
        self, key_id: UUID, secret: str, act: Act, *, grace_seconds: int
    ) -> str | None:
        """The key's prefix; None: no such key, or it is over. The old secret lasts the grace."""
        ...

    async def revoke(self, key_id: UUID, act: Act) -> bool:
        """False: no such key."""
        ...


class ApiKeyDesk:
    """``forget``: what this process remembers of verified keys is dropped."""

    def __init__(self, store: ApiKeyStore, forget: Callable[[], None]) -> None:
        self._store = store
        self._forget = forget

    async def create(
        self,
        account_id: UUID,
        *,
        name: str,
        scopes: frozenset[Scope],
        per_minute: int,
        days: int | None,
        act: Act,
    ) -> tuple[UUID, str]:
        """The key's id, and the key: it is never shown again.

        Raises:
            Invalid: ``unknown_account``: none, blocked, or of the staff, whose powers no key has.
            Conflict: ``limit_reached``.
        """
        parts = Parts(secrets.token_hex(PREFIX_BYTES), _new_secret())
        new = NewKey(uuid4(), account_id, name, scopes, per_minute, days, parts)
        added = await self._store.add(new, act, most=MAX_KEYS_PER_ACCOUNT)
        if added is None:
            raise Invalid(
                "A key speaks for an account of a partner, not blocked and not of the staff.",
                code="unknown_account",
            )
        if not added:
            raise Conflict(
                f"An account has at most {MAX_KEYS_PER_ACCOUNT} keys; revoke one first.",
                code="limit_reached",
                limit=MAX_KEYS_PER_ACCOUNT,
            )
        return new.id, written(parts)

    async def rotate(self, key_id: UUID, act: Act, *, grace_seconds: int) -> str:
        """The key with a new secret; the old one works for ``grace_seconds``. Raises NotFound."""
        secret = _new_secret()
        prefix = await self._store.rotate(key_id, secret, act, grace_seconds=grace_seconds)
        if prefix is None:
            raise _unknown()
        self._forget()
        return written(Parts(prefix, secret))

    async def revoke(self, key_id: UUID, act: Act) -> None:
        """Over within a second, in this process at once; a repeat is fine. Raises NotFound."""
        if not await self._store.revoke(key_id, act):
            raise _unknown()
        self._forget()


def _new_secret() -> str:
    return secrets.token_urlsafe(SECRET_BYTES)


def _unknown() -> NotFound:
    return NotFound("There is no such key, or it is over.")
