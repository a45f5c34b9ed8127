"""Sessions: opened by a log-in, renewed by rotation, ended one by one or all at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID, uuid4

from domain.errors import NotFound, Unauthenticated
from domain.user import User

# Tells the other processes at once which sessions are over; they would hear of it within a second.
Announce = Callable[[Sequence[UUID]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session: tokens are secrets, and only the refresh token's hash is kept."""

    user: User
    access_token: str
    refresh_token: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class NewSession:
    """``client`` is a browser's or an app's name, in our words and never in its own."""

    id: UUID
    refresh_token: str
    client: str | None
    second_factor: bool = False


@dataclass(frozen=True, slots=True)
class Renewed:
    """A session that goes on; ``seconds_left`` until it ends for good."""

    user: User
    second_factor: bool
    seconds_left: int


class SessionStore(Protocol):
    """Each method is one transaction. Tokens come as they are and are kept as hashes."""

    async def open(
        self, user: User, new: NewSession, *, password_hash: str, request_id: str | None
    ) -> bool:
        """False when the account is blocked or erased, or is not as it was read any more.

        What counts is its password, its role, and whether it has a second factor.

        One session too many ends the oldest; one of the staff leaves an entry in the audit log.
        """
        ...

    async def rotate(self, session_id: UUID, token: str, successor: str) -> Renewed | None:
        """Replace the session's token; at most one caller can for each token.

        None when the session is over, and when the token was replaced before: then the session is
        ended, for one of the two who hold it is not its owner.
        """
        ...

    async def end(
        self, session_id: UUID, *, reason: str, user_id: UUID | None = None
    ) -> UUID | None:
        """The session if it was live, and of ``user_id`` where that is given."""
        ...

    async def end_all(
        self, user_id: UUID, *, reason: str, but: UUID | None = None
    ) -> Sequence[UUID]: ...


class SessionTokens(Protocol):
    def new_refresh(self, session_id: UUID) -> str: ...

    def session_of(self, refresh_token: str) -> UUID | None:
        """None for what is no refresh token of ours."""
        ...


class AccessTokens(Protocol):
    def issue(
        self,
        user_id: UUID,
        role: str,
        session_id: UUID,
        *,
        second_factor: bool = False,
        at_most_seconds: int | None = None,
    ) -> str: ...


class Sessions:
    """``access_seconds``: how long an access token lasts, at most."""

    def __init__(
        self,
        store: SessionStore,
        refresh_tokens: SessionTokens,
        access_tokens: AccessTokens,
        announce: Announce,
        *,
        access_seconds: int,
    ) -> None:
        self._store = store
        self._refresh_tokens = refresh_tokens
        self._access_tokens = access_tokens
        self._announce = announce
        self._access_seconds = access_seconds

    def prepare(self, client: str | None, *, second_factor: bool = False) -> NewSession:
        """A session that is not stored yet."""
        session_id = uuid4()
        token = self._refresh_tokens.new_refresh(session_id)
        return NewSession(session_id, token, client, second_factor)

    async def open(
        self, user: User, new: NewSession, *, password_hash: str, request_id: str | None = None
    ) -> SignedIn | None:
        """None when the account has changed since its password was checked."""
        opened = await self._store.open(
            user, new, password_hash=password_hash, request_id=request_id
        )
        if not opened:
            return None
        return self.signed_in(user, new)

    def signed_in(self, user: User, new: NewSession) -> SignedIn:
        """The answer for a session that is stored."""
        access = self._access_tokens.issue(
            user.id, user.role, new.id, second_factor=new.second_factor
        )
        return SignedIn(user, access, new.refresh_token, self._access_seconds)

    async def refresh(self, refresh_token: str) -> SignedIn:
        """Raises Unauthenticated ``invalid_token``; one that was used before ends its session."""
        session_id = self._session_of(refresh_token)
        successor = self._refresh_tokens.new_refresh(session_id)
        renewed = await self._store.rotate(session_id, refresh_token, successor)
        if renewed is None:
            await self._announce([session_id])
            raise invalid_token()
        lasts = min(self._access_seconds, renewed.seconds_left)
        access = self._access_tokens.issue(
            renewed.user.id,
            renewed.user.role,
            session_id,
            second_factor=renewed.second_factor,
            at_most_seconds=lasts,
        )
        return SignedIn(renewed.user, access, successor, lasts)

    async def logout(self, refresh_token: str) -> None:
        """Raises Unauthenticated ``invalid_token`` for a token that never was one of ours."""
        session_id = self._session_of(refresh_token)
        if await self._store.end(session_id, reason="logout"):
            await self._announce([session_id])

    async def end(self, user_id: UUID, session_id: UUID) -> None:
        """Raises NotFound: no live session of this user."""
        if await self._store.end(session_id, reason="ended", user_id=user_id) is None:
            raise NotFound("There is no such session, or it is over.")
        await self._announce([session_id])

    async def end_all(self, user_id: UUID, *, reason: str, but: UUID | None = None) -> None:
        ended = await self._store.end_all(user_id, reason=reason, but=but)
        if ended:
            await self._announce(ended)

    def _session_of(self, refresh_token: str) -> UUID:
        session_id = self._refresh_tokens.session_of(refresh_token)
        if session_id is None:
            raise invalid_token()
        return session_id


def invalid_token() -> Unauthenticated:
    return Unauthenticated("This session is over; log in again.", code="invalid_token")
