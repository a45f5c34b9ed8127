"""Accounts: register and log in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID, uuid4

from domain.errors import Conflict, Forbidden, Unauthenticated
from domain.user import User, email_key
from services.password import Passwords, require_hard_to_guess
from services.second_factor import SecondFactors
from services.session import NewSession, Sessions, SignedIn

# A log-in may meet one change of the account: its hash made stronger, its role, its second factor.
TRIES = 2


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
class Credentials:
    """What a log-in is judged by."""

    user: User
    password_hash: str
    blocked: bool


class AccountStore(Protocol):
    """Each method is one transaction."""

    async def add(self, new: NewUser, opened: NewSession, *, request_id: str | None) -> User | None:
        """Add the account and its first session; None when the address has an account already."""
        ...

    async def credentials(self, email_key: str) -> Credentials | None: ...

    async def replace_hash(self, user_id: UUID, *, old: str, new: str) -> None: ...


class Accounts:
    """The use cases of somebody who is not logged in yet."""

    def __init__(
        self,
        store: AccountStore,
        passwords: Passwords,
        sessions: Sessions,
        factors: SecondFactors,
    ) -> None:
        self._factors = factors
        self._store = store
        self._passwords = passwords
        self._sessions = sessions

    async def register(
        self,
        *,
        email: str,
        password: str,
        name: str,
        phone: str | None,
        client: str | None,
        request_id: str | None,
    ) -> SignedIn:
        """Raises Conflict ``email_taken``, Invalid: the password is too easy to guess."""
        require_hard_to_guess(self._passwords, password, (email, name), field="password")
        password_hash = await self._passwords.hash(password)
        new = NewUser(uuid4(), email, name, phone, password_hash)
        opened = self._sessions.prepare(client)
        user = await self._store.add(new, opened, request_id=request_id)
        if user is None:
            raise Conflict("This address has an account already; log in.", code="email_taken")
        return self._sessions.signed_in(user, opened)

    async def login(
        self,
        *,
        email: str,
        password: str,
        client: str | None,
        code: str | None = None,
        request_id: str | None = None,
    ) -> SignedIn:
        """Start a session.

        Raises:
            Unauthenticated: ``invalid_credentials``, whether or not there is an account.
                ``second_factor_required``, ``wrong_code``: only who knows the password learns
                that the account has a second factor.
            Forbidden: ``account_blocked``; as above.
        """
        is_code_taken = False
        for _ in range(TRIES):
            known = await self._checked(email, password)
            if known.user.second_factor and not is_code_taken:
                await self._require_code(known.user.id, code)
                is_code_taken = True  # a code works once, and this may be the second try
            password_hash = await self._strengthened(known, password)
            opened = self._sessions.prepare(client, second_factor=known.user.second_factor)
            signed_in = await self._sessions.open(
                known.user, opened, password_hash=password_hash, request_id=request_id
            )
            if signed_in is not None:
                return signed_in
        raise _wrong()

    async def _checked(self, email: str, password: str) -> Credentials:
        known = await self._store.credentials(email_key(email))
        matches = await self._passwords.matches(known.password_hash if known else None, password)
        if known is None or not matches:
            raise _wrong()
        if known.blocked:
            raise Forbidden("This account is blocked; ask the box office.", code="account_blocked")
        return known

    async def _require_code(self, user_id: UUID, code: str | None) -> None:
        if code is None:
            raise Unauthenticated(
                "Send the code of your authenticator app too, or a recovery code.",
                code="second_factor_required",
            )
        if not await self._factors.accepts(user_id, code):
            raise Unauthenticated("This code is not valid, or was used before.", code="wrong_code")

    async def _strengthened(self, known: Credentials, password: str) -> str:
        """The account's hash, made anew if it is weaker than those of today."""
        if not self._passwords.is_outdated(known.password_hash):
            return known.password_hash
        stronger = await self._passwords.hash(password)
        await self._store.replace_hash(known.user.id, old=known.password_hash, new=stronger)
        return stronger


def _wrong() -> Unauthenticated:
    return Unauthenticated("The address or the password is wrong.", code="invalid_credentials")
