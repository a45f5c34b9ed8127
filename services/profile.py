"""What people do with their own account: change it, and have it erased."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from domain.errors import Conflict, Unauthenticated
from domain.user import User
from services.session import Announce

Value = str | bool | None


@dataclass(frozen=True, slots=True)
class Unerased:
    """Why an account stays: bookings under way, or it is the last that could appoint another."""

    open_bookings: Sequence[UUID] = ()
    last_owner: bool = False


class ProfileStore(Protocol):
    """Each method is one transaction."""

    async def change(
        self, user_id: UUID, changes: Mapping[str, Value], *, request_id: str | None
    ) -> User | None:
        """Set the columns that are named; None when there is no such account any more."""
        ...

    async def erase(self, user_id: UUID, *, request_id: str | None) -> Unerased | Sequence[UUID]:
        """Take everything out that is a person, and end all sessions: those that ended."""
        ...


class ProfileDesk:
    def __init__(self, store: ProfileStore, announce: Announce) -> None:
        self._store = store
        self._announce = announce

    async def change(
        self, user_id: UUID, changes: Mapping[str, Value], *, request_id: str | None
    ) -> User:
        user = await self._store.change(user_id, changes, request_id=request_id)
        if user is None:
            raise Unauthenticated("This account is gone.")
        return user

    async def erase(self, user_id: UUID, *, request_id: str | None) -> None:
        """Erase the person; bookings, money and events keep an id that is nobody.

        Raises:
            Conflict: ``open_bookings`` (``bookings``): seats are held or a pay page is open.
                ``last_owner``: nobody could give anybody a role any more.
        """
        answer = await self._store.erase(user_id, request_id=request_id)
        if not isinstance(answer, Unerased):
            await self._announce(answer)
        elif answer.last_owner:
            raise Conflict(
                "You are the last owner: make somebody else one first.", code="last_owner"
            )
        else:
            raise Conflict(
                "Bookings of yours are under way: cancel them, or wait until they have ended.",
                code="open_bookings",
                bookings=[str(one) for one in answer.open_bookings],
            )
