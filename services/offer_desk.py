"""What a buyer may do with an offer of other seats: take them, or take the money back."""

from __future__ import annotations

from uuid import UUID

from domain.errors import Conflict, Gone, Unavailable
from domain.offer import LateState, Offer, OfferState
from domain.steps import LateOutcome, OfferAnswer
from services.desk import Caller
from services.owner import require_seen
from services.ports import UnitOfWork
from services.process import BookingProcess, ProcessAway, ProcessOver, ProcessUnknown


class OfferDesk:
    def __init__(self, begin: UnitOfWork, process: BookingProcess) -> None:
        self._begin = begin
        self._process = process

    async def answer(self, caller: Caller, booking_id: UUID, end: OfferState) -> None:
        """End the offer as ``accepted`` or ``declined``; a repeat of the same answer is fine.

        Raises:
            NotFound, StillPending: as ``services.owner.require_seen``.
            Gone: ``offer_expired``. Conflict: ``invalid_state``, ``limit_reached``,
            ``sales_closed``.
            Unavailable: it could not be done just now.
        """
        offer = await self._of(caller, booking_id)
        if offer.state is OfferState.OPEN:
            wish = OfferAnswer(
                str(offer.provider_payment_id),
                end,
                str(caller.user_id),
                request_id=caller.request_id,
            )
            outcome = await self._tell(wish)
            if outcome is not None and outcome.state is LateState.OFFERED:
                raise Conflict(outcome.detail or "Not now.", code=outcome.code or "invalid_state")
            offer = await self._of(caller, booking_id)
        if offer.state is OfferState.OPEN:
            raise Unavailable("The offer could not be answered just now.")
        if offer.state is end:
            return
        if offer.state is OfferState.LAPSED:
            raise Gone("The offer has run out; your money goes back.", code="offer_expired")
        raise Conflict(f"The offer was {offer.state} before.")

    async def _tell(self, wish: OfferAnswer) -> LateOutcome | None:
        """None: the saga takes no answer any more, and the offer's row says why.

        A saga that is lost is started again: it finds the offer and waits for this answer.
        """
        try:
            for _ in range(2):
                try:
                    return await self._process.answer_offer(wish)
                except ProcessOver:
                    await self._process.send_money_back(wish.provider_payment_id, wish.request_id)
        except Conflict:
            return None
        except (ProcessAway, ProcessUnknown) as error:
            raise Unavailable("The offer could not be answered just now.") from error
        return None

    async def _of(self, caller: Caller, booking_id: UUID) -> Offer:
        async with self._begin.alone() as tx:
            found = await tx.bookings.peek(booking_id)
            await require_seen(tx, booking_id, found, caller.user_id)
            offer = await tx.offers.of_booking(booking_id)
        if offer is None:
            raise Conflict("There is no offer for this booking.")
        return offer
