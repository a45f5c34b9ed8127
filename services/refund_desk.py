"""Who may ask for a refund, and how it gets under way."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from domain.errors import Forbidden
from domain.refund import BRACKETS, Bracket
from services import refund
from services.owner import require_seen
from services.ports import UnitOfWork
from services.process import BookingProcess, ProcessAway, ProcessUnknown
from services.refund import RefundWish


class RefundDesk:
    def __init__(
        self,
        begin: UnitOfWork,
        process: BookingProcess,
        brackets: tuple[Bracket, ...] = BRACKETS,
    ) -> None:
        self._begin = begin
        self._process = process
        self._brackets = brackets

    async def refund(
        self,
        booking_id: UUID,
        wish: RefundWish,
        *,
        user_id: UUID,
        is_staff: bool,
        most: int | None = None,
    ) -> int:
        """Reserve the refund and start its process; the refund's number.

        ``most``: the largest sum that the caller may name, in minor units; None: any.

        Raises:
            NotFound, StillPending: as ``services.owner.require_seen``.
            Forbidden: a sum named by the owner, or one above ``most``.
            Conflict, Invalid: as ``services.refund.reserve``.
        """
        async with self._begin.alone() as tx:
            found = await tx.bookings.peek(booking_id)
            booking = await require_seen(tx, booking_id, found, user_id, is_staff=is_staff)
        if wish.amount is not None and not is_staff:
            raise Forbidden("Only staff may name a sum; name seats instead.")
        if wish.amount is not None and most is not None and wish.amount.amount > most:
            raise Forbidden(f"Your role may name at most {most}; ask a manager.", most=most)
        async with self._begin() as tx:
            number = await refund.reserve(tx, booking_id, wish, self._brackets)
            # A sum is named by a power of the staff, for whomever it is.
            if booking.user_id != user_id or wish.amount is not None:
                tx.audit.note(
                    "booking.refund",
                    target=f"booking:{booking_id}",
                    actor=str(user_id),
                    reason=wish.note,
                    details=_asked(number, wish),
                    request_id=wish.request_id,
                )
        try:
            await self._process.refund(booking_id, number, wish.request_id)
        except (ProcessAway, ProcessUnknown):
            # It is on record: the reaper starts the process once Temporal is back.
            pass
        return number


def _asked(number: int, wish: RefundWish) -> dict[str, Any]:
    amount = wish.amount and {"amount": wish.amount.amount, "currency": wish.amount.currency}
    return {"number": number, "seats": wish.seats, "amount": amount}
