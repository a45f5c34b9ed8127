"""The second factor: a code of an authenticator app, or one of ten recovery codes."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from domain.errors import Conflict, Forbidden
from services.password import PasswordDesk
from services.session import Announce

RECOVERY_CODES = 10
# 120 bits: so many that a plain hash of it cannot be searched (ASVS 5, 6.5.2).
RECOVERY_BYTES = 15
GROUP = 6


@dataclass(frozen=True, slots=True)
class Factor:
    """``sealed``: the secret as it is kept."""

    sealed: bytes
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Shown once: what the app is given, typed or as a QR code."""

    secret: str
    uri: str


class Codes(Protocol):
    def new_secret(self) -> str: ...

    def uri(self, secret: str, account: str) -> str: ...

    def step_of(self, secret: str, code: str) -> int | None: ...

    def seal(self, secret: str, user_id: UUID) -> bytes: ...

    def unseal(self, sealed: bytes, user_id: UUID) -> str: ...


class FactorStore(Protocol):
    """Each method is one transaction."""

    async def read(self, user_id: UUID) -> Factor | None: ...

    async def begin(self, user_id: UUID, sealed: bytes) -> bool:
        """Keep a secret that is not confirmed yet; False when one is already."""
        ...

    async def confirm(
        self,
        user_id: UUID,
        factor: Factor,
        step: int,
        recovery_hashes: Sequence[bytes],
        *,
        session_id: UUID,
        request_id: str | None,
    ) -> Sequence[UUID] | None:
        """Switch it on and end every other session; None when another one did meanwhile."""
        ...

    async def use_step(self, user_id: UUID, step: int) -> bool:
        """Whether no code of this step, or of a later one, was used before."""
        ...

    async def use_recovery(self, user_id: UUID, code_hash: bytes) -> bool: ...

    async def remove(
        self, user_id: UUID, *, session_id: UUID, request_id: str | None
    ) -> Sequence[UUID]: ...


class SecondFactors:
    def __init__(
        self, store: FactorStore, codes: Codes, passwords: PasswordDesk, announce: Announce
    ) -> None:
        self._store = store
        self._codes = codes
        self._passwords = passwords
        self._announce = announce

    async def begin(self, user_id: UUID, password: str) -> Enrolment:
        """A secret for the app; it counts once a code of it was shown.

        Raises:
            Forbidden: ``wrong_password``.
            Conflict: ``second_factor_on``: remove the one there is first.
        """
        owner = await self._passwords.require(user_id, password)
        secret = self._codes.new_secret()
        if not await self._store.begin(user_id, self._codes.seal(secret, user_id)):
            raise Conflict("There is a second factor already; remove it first.", code=ON)
        return Enrolment(secret, self._codes.uri(secret, owner.email))

    async def confirm(
        self, user_id: UUID, code: str, *, session_id: UUID, request_id: str | None
    ) -> list[str]:
        """Switch it on; the recovery codes, shown this once. Every other session ends.

        Raises:
            Conflict: ``second_factor_on``, or ``invalid_state``: nothing was begun.
            Forbidden: ``wrong_code``.
        """
        factor = await self._store.read(user_id)
        if factor is None:
            raise Conflict("Ask for a secret first.")
        if factor.confirmed:
            raise Conflict("There is a second factor already; remove it first.", code=ON)
        step = self._codes.step_of(self._codes.unseal(factor.sealed, user_id), code)
        if step is None:
            raise _wrong_code()
        made = [_new_code() for _ in range(RECOVERY_CODES)]
        ended = await self._store.confirm(
            user_id,
            factor,
            step,
            [_hashed(one) for one in made],
            session_id=session_id,
            request_id=request_id,
        )
        if ended is None:
            raise _wrong_code()
        await self._announce(ended)
        return made

    async def accepts(self, user_id: UUID, code: str) -> bool:
        """Whether it is a code of the user's, used up by this; each works once."""
        factor = await self._store.read(user_id)
        if factor is None or not factor.confirmed:
            return False
        if len(_plain(code)) > GROUP:
            return await self._store.use_recovery(user_id, _hashed(code))
        step = self._codes.step_of(self._codes.unseal(factor.sealed, user_id), _plain(code))
        return step is not None and await self._store.use_step(user_id, step)

    async def remove(
        self, user_id: UUID, *, password: str, code: str, session_id: UUID, request_id: str | None
    ) -> None:
        """Raises Forbidden ``wrong_password``, ``wrong_code``. Every other session ends."""
        await self._passwords.require(user_id, password)
        if not await self.accepts(user_id, code):
            raise _wrong_code()
        ended = await self._store.remove(user_id, session_id=session_id, request_id=request_id)
        await self._announce(ended)


ON = "second_factor_on"


def _new_code() -> str:
    text = base64.b32encode(secrets.token_bytes(RECOVERY_BYTES)).decode().lower()
    return "-".join(text[at : at + GROUP] for at in range(0, len(text), GROUP))


def _plain(code: str) -> str:
    """As people may type it: in any case, with or without dashes and spaces."""
    return code.replace("-", "").replace(" ", "").lower()


def _hashed(code: str) -> bytes:
    return hashlib.sha256(_plain(code).encode()).digest()


def _wrong_code() -> Forbidden:
    return Forbidden("This code is not valid, or was used before.", code="wrong_code")
