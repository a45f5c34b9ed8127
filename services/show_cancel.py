"""A show is cancelled: the sale stops, holds end, everybody who paid gets everything back.

Each function may be repeated: what was done before is found and not done again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol
from uuid import UUID

from domain import ids
from domain.booking import Booking, BookingState, CloseReason
from domain.case import CaseKind
from domain.errors import BalanceTooLow, Conflict, NotFound
from domain.events import Event, EventType
from domain.money import Money
from domain.show_cancel import BALANCE, REASON, PauseStep, Plan, Probe
from services import refund, refund_sending
from services.gateway import PaymentGateway
from services.notification import tell
from services.ports import Transaction, UnitOfWork
from services.process import ProcessAway, ProcessUnknown
from services.refund import SYSTEM, RefundWish
from services.show_ports import CancelShow, ShortRefund

NO_SHOW = "There is no such show."
NOTE = "The show is cancelled."
LEFT = "its money did not go back by itself."
WAITS = (
    "a payment of it that is to go back is in dispute. Nothing of that is sent until the bank has"
    " decided; if the dispute is won, it is sent then by itself."
)


class ShowProcess(Protocol):
    """The port to the durable runs; each method may raise ``ProcessAway``, ``ProcessUnknown``."""

    async def cancel_show(
        self, show_id: UUID, request_id: str | None, *, paused: str | None = None
    ) -> None:
        """Start the run of a cancellation that is on record, or join it."""
        ...

    async def refund_again(self, booking_id: UUID, number: int, request_id: str | None) -> None:
        """Tell a refund that waits for the balance to ask now; one not running is started."""
        ...


class ShowDesk:
    """What the staff does with shows: look at what cancelling one would do, and cancel it."""

    def __init__(
        self, begin: UnitOfWork, process: ShowProcess, *, refunds_per_second: float
    ) -> None:
        self._begin = begin
        self._process = process
        self._rate = refunds_per_second

    async def plan(self, show_id: UUID) -> Plan:
        """What cancelling would do; changes nothing. Raises NotFound."""
        async with self._begin() as tx:
            plan = await tx.shows.plan(show_id, refunds_per_second=self._rate)
        if plan is None:
            raise NotFound(NO_SHOW)
        return plan

    async def cancel(self, wish: CancelShow) -> None:
        """Stop the sale and start the run; a repeat joins the first. Raises NotFound."""
        async with self._begin() as tx:
            await cancel(tx, wish, refunds_per_second=self._rate)
        try:
            await self._process.cancel_show(wish.show_id, wish.request_id)
        except (ProcessAway, ProcessUnknown):
            # It is on record: a loop starts the run once Temporal is back.
            pass


async def cancel(tx: Transaction, wish: CancelShow, *, refunds_per_second: float) -> bool:
    """Nobody can hold seats of the show from now on; whether this call is the first to say so.

    Raises:
        NotFound: there is no such show.
    """
    stopped = await tx.shows.cancel(wish.show_id)
    if stopped is None:
        raise NotFound(NO_SHOW)
    plan = await tx.shows.plan(wish.show_id, refunds_per_second=refunds_per_second)
    assert plan is not None, "the show is there"
    if not await tx.shows.add(wish, plan):
        return False
    told = {"show_id": str(wish.show_id), "reason": wish.reason}
    tx.shows.happened(
        wish.show_id,
        Event(EventType.SHOW_CANCELLED, told),
        actor=wish.actor,
        request_id=wish.request_id,
    )
    tx.audit.note(
        "show.cancel",
        target=f"show:{wish.show_id}",
        actor=wish.actor,
        reason=wish.reason,
        details=plan.as_json(),
        request_id=wish.request_id,
    )
    return True


async def tell_holder(tx: Transaction, booking_id: UUID, *, request_id: str | None) -> bool:
    """Tell who holds seats that the show is cancelled; whether the hold is still open."""
    booking = await tx.bookings.lock(booking_id)
    assert booking is not None, "it was found under its id"
    if booking.state.is_open:
        await _tell(tx, booking, "hold", 0, request_id)
    return booking.state.is_open


async def refund_whole(
    tx: Transaction, booking_id: UUID, *, request_id: str | None
) -> tuple[int, int] | None:
    """Reserve everything that is left of a confirmed booking's money, and tell its buyer.

    Returns:
        The refund's number and how many payments it takes out of; None when there is nothing to
        send: the booking is over, or there is no money left and its seats are then free. While a
        refund is under way they wait: it may be withdrawn, and then there is money.
    """
    booking = await tx.bookings.lock(booking_id)
    standing = await tx.refunds.standing(booking_id)
    assert booking is not None, "it was found under its id"
    assert standing is not None, "it is locked"
    if booking.state is not BookingState.CONFIRMED:
        return None
    if standing.money_left == 0:
        if any(part.is_pending for part in standing.parts):
            return None
        await _tell(tx, booking, "free", 0, request_id)
        await _end_free(tx, booking_id, request_id)
        return None
    await _tell(tx, booking, "sold", standing.money_left, request_id)
    wish = RefundWish(
        seats=tuple(seat.label for seat in standing.seats_left),
        amount=Money(standing.money_left, standing.currency),
        expected=None,
        note=NOTE,
        request_key=ids.show_refund_key(booking_id, standing.next_number),
        actor=SYSTEM,
        request_id=request_id,
        because=REASON,
    )
    number = await refund.reserve(tx, booking_id, wish)
    return number, len(await tx.refunds.parts(booking_id, number))


async def probe(
    begin: UnitOfWork,
    gateways: Mapping[str, PaymentGateway],
    show_id: UUID,
    *,
    request_id: str | None,
) -> tuple[Probe, ShortRefund | None]:
    """Ask the provider once more for the refund that has waited longest for the balance.

    Raises:
        Unavailable: the outcome is not known; ask again.
    """
    async with begin.alone() as tx:
        waiting = await tx.shows.short(show_id)
    if waiting is None:
        return Probe.NOTHING, None
    try:
        await refund_sending.ask(
            begin, gateways, waiting.booking_id, waiting.number, request_id=request_id
        )
    except BalanceTooLow:
        return Probe.SHORT, None
    except Conflict:
        # A clear no for another reason: its own process hears the same and withdraws it.
        async with begin() as tx:
            for part in await tx.refunds.parts(waiting.booking_id, waiting.number):
                tx.refunds.short(part.id, is_short=False)
    return Probe.SENT, waiting


async def pause(tx: Transaction, step: PauseStep) -> None:
    """Write down why the run waits, or that it goes on; for the balance, one case is opened."""
    show_id = UUID(step.show_id)
    if step.wish is not None and await tx.shows.was_noted(show_id, step.wish):
        # Only its answer was lost: what was written since then stands.
        return
    is_news = await tx.shows.pause(show_id, step.why)
    if step.by is not None:
        # What an operator did is noted also where it changes nothing: the balance stays too low.
        tx.audit.note(
            "show.cancel.resume" if step.why in (None, BALANCE) else "show.cancel.pause",
            target=f"show:{show_id}",
            actor=step.by.actor,
            reason=step.by.reason,
            details={"wish": step.wish},
            request_id=step.request_id,
        )
    elif is_news and step.why == BALANCE:
        tx.cases.open(
            CaseKind.BALANCE_TOO_LOW,
            dedupe=f"{CaseKind.BALANCE_TOO_LOW}:{show_id}",
            summary=f"The refunds of cancelled show {show_id} wait: the provider says that our"
            " balance is too low. Top it up; they go on by themselves, or at once by `resume`.",
        )


async def open_cases(begin: UnitOfWork, show_id: UUID) -> int:
    """A case for each booking whose money could not be sent back; how many were opened."""
    opened = 0
    while True:
        async with begin.alone() as tx:
            left = await tx.shows.leftovers(show_id)
        for one in left:
            async with begin() as tx:
                booking = await tx.bookings.lock(one.booking_id)
                assert booking is not None, "it was found under its id"
                tx.cases.open(
                    CaseKind.SHOW_CANCEL_LEFT,
                    dedupe=f"{CaseKind.SHOW_CANCEL_LEFT}:{booking.id}",
                    summary=f"Show {show_id} is cancelled and this booking is {booking.state}:"
                    f" {WAITS if one.waits_for_bank else LEFT}",
                    booking_id=booking.id,
                )
        opened += len(left)
        if not left:
            return opened


async def _tell(
    tx: Transaction, booking: Booking, what: str, amount: int, request_id: str | None
) -> None:
    """Once for each booking, whatever becomes of it afterwards."""
    if await tx.shows.was_told(booking.id):
        return
    told = {"what": what, "amount": amount, "currency": booking.total.currency}
    tx.bookings.record(
        booking,
        [Event(EventType.BOOKING_CALLED_OFF, told), tell(tx, booking, REASON)],
        actor=SYSTEM,
        request_id=request_id,
    )


async def _end_free(tx: Transaction, booking_id: UUID, request_id: str | None) -> None:
    """No money is left to send back, so nothing else ends this booking."""
    booking = await tx.bookings.lock(booking_id)
    assert booking is not None, "the caller has locked it"
    labels = await tx.shows.free_sold(booking_id)
    why = CloseReason.CANCELLED
    tx.bookings.record(
        booking,
        [
            Event(
                EventType.BOOKING_CANCELLED,
                {"why": why, "note": NOTE, "payment_uncertain": False},
            ),
            Event(EventType.SEAT_RELEASED, {"labels": labels}),
        ],
        actor=SYSTEM,
        request_id=request_id,
        state=BookingState.CANCELLED,
        close_reason=why,
    )
