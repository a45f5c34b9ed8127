"""The staff's accounts: who is invited, what each may do, and who is kept out."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID, uuid4

from domain.errors import Conflict, NotFound
from domain.user import Role, email_key
from services.password import Passwords
from services.session import Announce


@dataclass(frozen=True, slots=True)
class Act:
    """Who does it, and why: both stand in the audit log."""

    actor: UUID
    reason: str
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Invitation:
    id: UUID
    email: str
    name: str
    role: Role
    password_hash: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What an account may do; ``blocked`` ones may not even log in."""

    role: Role
    blocked: bool


class StaffStore(Protocol):
    """Each method is one transaction, with its line in the audit log."""

    async def invite(self, new: Invitation, act: Act) -> bool:
        """False: the address has an account."""
        ...

    async def change(
        self, user_id: UUID, act: Act, *, role: Role | None = None, blocked: bool | None = None
    ) -> Sequence[UUID] | None:
        """The sessions that ended with it; None: no such account. What is so already is left.

        Raises:
            Conflict: ``last_owner``: nobody would be left who may do this.
        """
        ...


class ResetMail(Protocol):
    async def forgot(self, email: str) -> None: ...


class StaffDesk:
    def __init__(
        self, store: StaffStore, passwords: Passwords, mail: ResetMail, announce: Announce
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._mail = mail
        self._announce = announce

    async def invite(self, email: str, name: str, role: Role, act: Act) -> UUID:
        """Open an account whose password nobody knows, and mail the way to choose one.

        Raises:
            Conflict: ``email_taken``. An account that exists gets its role by its id: who
                registered an address need not be who reads its mail.
        """
        nobodys = await self._passwords.hash(secrets.token_urlsafe(32))
        new = Invitation(uuid4(), email, name, role, nobodys)
        if not await self._store.invite(new, act):
            raise Conflict(
                "This address has an account already; give that one the role.", code="email_taken"
            )
        await self._mail.forgot(email_key(email))
        return new.id

    async def give_role(self, user_id: UUID, role: Role, act: Act) -> None:
        """Raises NotFound, Conflict ``last_owner``. The account's sessions end."""
        await self._change(await self._store.change(user_id, act, role=role))

    async def block(self, user_id: UUID, act: Act, *, blocked: bool) -> None:
        """Keep the account out, or let it in again; raises as ``give_role``."""
        await self._change(await self._store.change(user_id, act, blocked=blocked))

    async def _change(self, ended: Sequence[UUID] | None) -> None:
        if ended is None:
            raise NotFound("There is no such account.")
        if ended:
            await self._announce(ended)
