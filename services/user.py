"""Accounts: register, log in, renew a session, end it."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID, uuid4

from domain.errors import Conflict, Unauthenticated
from domain.user import User, email_key


@dataclass(frozen=True, slots=True)
class NewUser:
    """What a person tells us; ``email`` is valid, ``password_hash`` never the password."""

    id: UUID
    email: str
    name: str
    phone: str | None
    password_hash: str

    @property
    def email_key(self) -> str:
        return email_key(self.email)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session: tokens are secrets, and only the refresh token's hash is kept."""

    user: User
    access_token: str
    refresh_token: str


class AccountStore(Protocol):
    """Accounts and the chains of refresh tokens, each method one transaction."""

    async def add(
        self, new: NewUser, token_hash: bytes, *, seconds: int, request_id: str | None
    ) -> User | None:
        """Add the account and its first session; None when the address has an account already."""
        ...

    async def credentials(self, email_key: str) -> tuple[User, str] | None:
        """The user and their password hash."""
        ...

    async def replace_hash(self, user_id: UUID, *, old: str, new: str) -> None: ...

    async def open_session(self, user_id: UUID, token_hash: bytes, *, seconds: int) -> None:
        """Start a family of refresh tokens."""
        ...

    async def rotate(
        self, token_hash: bytes, successor_hash: bytes, *, seconds: int
    ) -> User | None:
        """Use a token up and add its successor, at most once; a token used before kills its family.

        None when the token is unknown, used, revoked or over.
        """
        ...

    async def close_session(self, token_hash: bytes) -> bool:
        """Revoke the token's whole family; False when there is no such token."""
        ...


class Passwords(Protocol):
    """Slow on purpose, so bounded: each method may raise Unavailable ``rate_limited``."""

    async def hash(self, password: str) -> str: ...

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Takes as long for ``None``, an account that does not exist, and is False for it."""
        ...

    def is_outdated(self, password_hash: str) -> bool: ...


class AccessTokens(Protocol):
    def issue(self, user_id: UUID, role: str) -> str: ...


class Accounts:
    """The use cases. ``refresh_seconds`` is how long a session lives unused."""

    def __init__(
        self,
        store: AccountStore,
        passwords: Passwords,
        tokens: AccessTokens,
        *,
        refresh_seconds: int,
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._tokens = tokens
        self._refresh_seconds = refresh_seconds

    async def register(
        self, *, email: str, password: str, name: str, phone: str | None, request_id: str | None
    ) -> SignedIn:
        """Raises Conflict ``email_taken``."""
        password_hash = await self._passwords.hash(password)
        new = NewUser(uuid4(), email, name, phone, password_hash)
        token = _new_token()
        user = await self._store.add(
            new, _hashed(token), seconds=self._refresh_seconds, request_id=request_id
        )
        if user is None:
            raise Conflict("This address has an account already; log in.", code="email_taken")
        return self._signed_in(user, token)

    async def login(self, *, email: str, password: str) -> SignedIn:
        """Raises Unauthenticated ``invalid_credentials``, whether or not there is an account."""
        known = await self._store.credentials(email_key(email))
        matches = await self._passwords.matches(known[1] if known else None, password)
        if known is None or not matches:
            raise Unauthenticated(
                "The address or the password is wrong.", code="invalid_credentials"
            )
        user, password_hash = known
        if self._passwords.is_outdated(password_hash):
            stronger = await self._passwords.hash(password)
            await self._store.replace_hash(user.id, old=password_hash, new=stronger)
        token = _new_token()
        await self._store.open_session(user.id, _hashed(token), seconds=self._refresh_seconds)
        return self._signed_in(user, token)

    async def refresh(self, refresh_token: str) -> SignedIn:
        """Raises Unauthenticated ``invalid_token``; one that was used before ends its session."""
        successor = _new_token()
        user = await self._store.rotate(
            _hashed(refresh_token), _hashed(successor), seconds=self._refresh_seconds
        )
        if user is None:
            raise _invalid_token()
        return self._signed_in(user, successor)

    async def logout(self, refresh_token: str) -> None:
        """Raises Unauthenticated ``invalid_token`` for a token that never was one of ours."""
        if not await self._store.close_session(_hashed(refresh_token)):
            raise _invalid_token()

    def _signed_in(self, user: User, refresh_token: str) -> SignedIn:
        return SignedIn(user, self._tokens.issue(user.id, user.role), refresh_token)


def _new_token() -> str:
    return secrets.token_urlsafe(32)


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _invalid_token() -> Unauthenticated:
    return Unauthenticated("This session is over; log in again.", code="invalid_token")
