"""Passwords: judged when chosen, changed by their owner, reset by who has the address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from domain.errors import Forbidden, Invalid, Unauthenticated
from domain.password import is_a_known_word
from domain.user import email_key
from services.session import Announce


class Passwords(Protocol):
    """Slow on purpose, so bounded: hashing may raise Unavailable ``rate_limited``."""

    async def hash(self, password: str) -> str: ...

    async def matches(self, password_hash: str | None, password: str) -> bool:
        """Takes as long for ``None``, an account that does not exist, and is False for it."""
        ...

    def is_outdated(self, password_hash: str) -> bool: ...

    def is_common(self, password: str) -> bool:
        """Whether it is one of those that are tried first."""
        ...


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose password it is, and what must not be a password of theirs."""

    user_id: UUID
    email: str
    name: str
    password_hash: str


class PasswordStore(Protocol):
    """Each method is one transaction. Mailed tokens come as they are and are kept as hashes."""

    async def owner(self, user_id: UUID) -> Owner | None: ...

    async def owner_of_token(self, token: str) -> Owner | None:
        """Whom a token to reset the password was sent to, while it is good."""
        ...

    async def change(
        self, owner: Owner, new_hash: str, *, but: UUID, request_id: str | None
    ) -> Sequence[UUID] | None:
        """Replace the hash, end all sessions but one and tell the owner.

        The sessions that ended; None when the password is another by now.
        """
        ...

    async def reset(
        self, token: str, new_hash: str, *, request_id: str | None
    ) -> Sequence[UUID] | None:
        """Use the token up, replace the hash, end all sessions; None when it is used or over."""
        ...

    async def mail_reset(self, email_key: str) -> None:
        """Queue a mail with a token; the same work if there is no such account."""
        ...

    async def mail_verification(self, user_id: UUID) -> None:
        """Queue a mail with a token, unless the address is verified or a mail went out just now."""
        ...

    async def verify(self, token: str, *, request_id: str | None) -> bool:
        """Use the token up and note that the address is its owner's; False: used, over or none."""
        ...


class PasswordDesk:
    def __init__(self, store: PasswordStore, passwords: Passwords, announce: Announce) -> None:
        self._store = store
        self._passwords = passwords
        self._announce = announce

    async def change(
        self, user_id: UUID, *, current: str, new: str, session_id: UUID, request_id: str | None
    ) -> Owner:
        """Every other session of the user ends.

        Raises:
            Forbidden: ``wrong_password``: the current one is another.
            Invalid: the new one is too easy to guess.
        """
        owner = await self._store.owner(user_id)
        matches = await self._passwords.matches(owner.password_hash if owner else None, current)
        if owner is None or not matches:
            raise _wrong_password()
        require_hard_to_guess(self._passwords, new, (owner.email, owner.name), field="new_password")
        new_hash = await self._passwords.hash(new)
        ended = await self._store.change(owner, new_hash, but=session_id, request_id=request_id)
        if ended is None:
            raise _wrong_password()
        await self._announce(ended)
        return owner

    async def require(self, user_id: UUID, password: str) -> Owner:
        """Raises Forbidden ``wrong_password``: asked again before something that matters."""
        owner = await self._store.owner(user_id)
        matches = await self._passwords.matches(owner.password_hash if owner else None, password)
        if owner is None or not matches:
            raise _wrong_password()
        return owner

    async def forgot(self, email: str) -> None:
        """Mail a token to the address, if it has an account; nobody can tell from here.

        Raises:
            Unavailable: ``rate_limited``: too many passwords are being checked already.
        """
        await self._store.mail_reset(email_key(email))
        # The message's row takes half a millisecond, a tenth of the rest. Beside the time of a
        # hash it does not show.
        await self._passwords.matches(None, email)

    async def reset(self, token: str, *, new: str, request_id: str | None) -> Owner:
        """Every session of the user ends.

        Raises:
            Unauthenticated: ``invalid_token``: not one of ours, used, or over.
            Invalid: the new password is too easy to guess; the token stays good.
        """
        owner = await self._store.owner_of_token(token)
        if owner is None:
            raise _no_token()
        require_hard_to_guess(self._passwords, new, (owner.email, owner.name), field="password")
        new_hash = await self._passwords.hash(new)
        ended = await self._store.reset(token, new_hash, request_id=request_id)
        if ended is None:
            raise _no_token()
        await self._announce(ended)
        return owner

    async def mail_verification(self, user_id: UUID) -> None:
        await self._store.mail_verification(user_id)

    async def verify(self, token: str, *, request_id: str | None) -> None:
        """Raises Unauthenticated ``invalid_token``: not one of ours, used, or over."""
        if not await self._store.verify(token, request_id=request_id):
            raise _no_token()


def require_hard_to_guess(
    passwords: Passwords, password: str, known: Sequence[str], *, field: str
) -> None:
    """Raises Invalid: everybody tries it first, or it is a word that is known of its owner."""
    if passwords.is_common(password):
        told = "this is one of the passwords that are tried first; choose another"
    elif is_a_known_word(password, known):
        told = "a password must not be your name, your address or our name; choose another"
    else:
        return
    errors = [{"in": "body", "field": field, "message": told}]
    raise Invalid("The request is not as this address wants it.", errors=errors)


def _wrong_password() -> Forbidden:
    return Forbidden("This is not your password.", code="wrong_password")


def _no_token() -> Unauthenticated:
    return Unauthenticated(
        "This code is not valid, or no longer so; ask for a new one.", code="invalid_token"
    )
