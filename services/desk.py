"""What a buyer may do with a booking of theirs: extend, cancel, check out, confirm."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from domain.booking import Booking, BookingState
from domain.errors import (
    Conflict,
    Gone,
    Invalid,
    NotFound,
    PaymentRequired,
    StillPending,
    Unavailable,
)
from domain.payment import SessionStatus
from domain.payment_policy import PaymentMode
from domain.payment_status import shown
from domain.steps import CancelRequest, ExtendRequest, ExtendStep, StepOutcome
from services import booking as bookings
from services import checkout, closing, provider
from services.gateway import PaymentGateway
from services.owner import require_seen
from services.payment_news import PaymentNews
from services.payment_rows import Attempt
from services.ports import Transaction, UnitOfWork
from services.process import BookingProcess, ProcessAway, ProcessOver, ProcessUnknown
from services.work import HoldLimits, WorkQueue

CONFIRM_POLL_SECONDS = 0.05
LOOK_AGAIN_SECONDS = 1.05
# After a failure too: an open page takes another card.
MAY_BE_PAID = frozenset({"open", "processing", "failed"})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks; everybody else's bookings do not exist for them."""

    user_id: UUID
    request_id: str | None


class BookingDesk:
    def __init__(
        self,
        begin: UnitOfWork,
        process: BookingProcess,
        work: WorkQueue,
        news: PaymentNews,
        gateways: Mapping[str, PaymentGateway],
        limits: HoldLimits,
        mode: PaymentMode = PaymentMode.CAPTURE,
    ) -> None:
        self._begin = begin
        self._process = process
        self._work = work
        self._news = news
        self._gateways = gateways
        self._limits = limits
        self._mode = mode

    async def extend(self, caller: Caller, booking_id: UUID, *, extension_id: UUID) -> None:
        """Lengthen the hold, once for each ``extension_id`` however often it is asked.

        Raises Gone ``hold_expired``, Conflict ``extension_limit``, ``payment_open``, …; NotFound
        and StillPending, here as below, as ``services.owner.require_seen``.
        """
        wish = str(extension_id)
        async with self._begin.alone() as tx:
            booking = await _own(tx, caller, booking_id)
            outcome = await bookings.extension_known(tx, booking, wish)
        if outcome is None:
            # Only what may succeed is worth a workflow task.
            outcome = await self._extend(caller, booking_id, wish)
        if outcome.code == "hold_expired":
            raise Gone(outcome.detail or "The hold has run out.")
        if outcome.code is not None:
            raise Conflict(outcome.detail or "Not now.", code=outcome.code)

    async def _extend(self, caller: Caller, booking_id: UUID, wish: str) -> StepOutcome:
        request = ExtendRequest(str(caller.user_id), request_id=caller.request_id)
        try:
            return await self._process.extend(str(booking_id), request, wish)
        except ProcessOver:
            # No process is running, so nobody else takes this step: PostgreSQL decides.
            step = ExtendStep(str(booking_id), self._limits.hold_seconds, request, wish)
            async with self._begin() as tx:
                return await bookings.extend(tx, step)
        except (ProcessAway, ProcessUnknown) as error:
            raise Unavailable("The hold could not be extended just now.") from error

    async def cancel(self, caller: Caller, booking_id: UUID) -> None:
        """Cancel; a booking that is cancelled or being cancelled already is left as it is."""
        booking = await self._own(caller, booking_id)
        if booking.state in (BookingState.CANCELLED, BookingState.CANCELLING):
            return
        if not booking.state.is_open:
            raise _not_cancellable(booking.state)
        request = CancelRequest(str(caller.user_id), request_id=caller.request_id)
        try:
            outcome = await closing.cancel(
                self._begin, self._process, self._work, booking_id, request
            )
        except (ProcessAway, ProcessUnknown) as error:
            raise Unavailable("The booking could not be cancelled just now.") from error
        if outcome.capture is not None:
            raise Conflict("The payment is being taken; ask for a refund in a moment.")
        if outcome.state not in (BookingState.CANCELLED, BookingState.CANCELLING):
            raise _not_cancellable(outcome.state)

    async def checkout(
        self, caller: Caller, booking_id: UUID, *, provider_name: str, return_url: str
    ) -> tuple[Attempt, bool]:
        """The pay page to send the buyer to, and whether it was opened by this call.

        An older page that may still take money is closed at its provider first; when it turns
        out to have been paid, the money counts and there is nothing left to pay.
        """
        if provider_name not in self._gateways:
            told = f"There is no such provider; checkout takes {', '.join(sorted(self._gateways))}."
            raise Invalid(told, errors=[{"in": "body", "field": "provider", "message": told}])
        for _ in range(2):
            async with self._begin() as tx:
                attempt = await checkout.plan_checkout(
                    tx,
                    booking_id,
                    user_id=caller.user_id,
                    provider=provider_name,
                    return_url=return_url,
                    request_id=caller.request_id,
                    mode=self._mode,
                )
            if attempt is not None:
                return await provider.open_session(self._begin, self._gateways, attempt)
            found = await provider.close_sessions(
                self._begin, self._gateways, booking_id, request_id=caller.request_id
            )
            if found.captured:
                raise Conflict("This booking is paid; confirm it.", code="nothing_to_pay")
            if not found.closed:
                break
        raise Unavailable("The earlier pay page could not be closed; try again.")

    async def confirm(self, caller: Caller, booking_id: UUID, *, wait_seconds: float) -> bool:
        """Look for the payment and wait for the booking; whether it is confirmed.

        Never confirms by itself. False: the reserve has no outcome yet, or money is on its way;
        ask again.

        Raises:
            PaymentRequired: ``payment_required`` (with ``checkout_url``) or ``payment_failed``.
            Gone: the hold has run out. Conflict: ``invalid_state``.
        """
        clock = asyncio.get_running_loop().time
        deadline, look_at, told = clock() + wait_seconds, 0.0, False
        unpaid: PaymentRequired | None = None
        is_final = False
        while True:
            booking = await self._with_outcome(caller, booking_id, deadline)
            if booking is None:
                return False
            if booking.state is BookingState.CONFIRMED:
                return True
            _require_confirmable(booking)
            if booking.total.amount == 0:
                if not told:
                    await self._tell_free(booking_id, caller.request_id)
                    told = True
            elif clock() >= look_at:
                unpaid, is_final = await self._look(booking, caller.request_id)
                look_at = clock() + LOOK_AGAIN_SECONDS
            if is_final or clock() >= deadline:
                return _answered(await self._own(caller, booking_id), unpaid)
            await asyncio.sleep(CONFIRM_POLL_SECONDS)

    async def _look(
        self, booking: Booking, request_id: str | None
    ) -> tuple[PaymentRequired | None, bool]:
        """Read the provider again, at most once a second for each booking.

        What is unpaid, and whether waiting could not change it. Read sooner, what is known must
        do: the answer for whoever waits no longer, of a page that may take money still. None:
        money is here or on its way.
        """
        if booking.confirming is not None:
            # Not always the latest attempt's: an earlier page may have been paid all the same.
            return None, False
        async with self._begin.alone() as tx:
            attempt = await tx.payments.latest_attempt(booking.id)
            if attempt is None:
                return PaymentRequired("Check out first; nothing has been paid."), True
            may_change = attempt.session_open and attempt.status in MAY_BE_PAID
            reads = may_change and await tx.payments.may_read(attempt.id)
        if reads:
            try:
                session = await self._news.read_again(attempt, request_id=request_id)
            except (Unavailable, Conflict, NotFound, ProcessAway, ProcessUnknown):
                # A no of the provider's is about its page: the booking is there, and the buyer's.
                return None, False
            if session is not None and session.status is SessionStatus.PROCESSING:
                # Its attempt may stay failed, for a status never falls.
                return None, False
            async with self._begin.alone() as tx:
                attempt = await tx.payments.latest_attempt(booking.id) or attempt
        unpaid = _unpaid(attempt)
        return unpaid, unpaid is not None and (reads or not may_change)

    async def _tell_free(self, booking_id: UUID, request_id: str | None) -> None:
        try:
            await self._process.payment_settled(
                booking_id, None, request_id, read_brief=self._work.booking_input
            )
        except (ProcessAway, ProcessUnknown) as error:
            raise Unavailable("The booking could not be confirmed just now.") from error

    async def _with_outcome(
        self, caller: Caller, booking_id: UUID, deadline: float
    ) -> Booking | None:
        """The booking once its reserve has an outcome; None: it has none at the ``deadline``."""
        clock = asyncio.get_running_loop().time
        while True:
            try:
                return await self._own(caller, booking_id)
            except StillPending:
                if clock() >= deadline:
                    return None
            await asyncio.sleep(CONFIRM_POLL_SECONDS)

    async def _own(self, caller: Caller, booking_id: UUID) -> Booking:
        async with self._begin.alone() as tx:
            return await _own(tx, caller, booking_id)


async def _own(tx: Transaction, caller: Caller, booking_id: UUID) -> Booking:
    found = await tx.bookings.peek(booking_id)
    return await require_seen(tx, booking_id, found, caller.user_id)


def _run_out() -> Gone:
    return Gone("The hold has run out; reserve again.")


def _require_confirmable(booking: Booking) -> None:
    if booking.state is BookingState.EXPIRED:
        raise _run_out()
    if booking.state not in (BookingState.HELD, BookingState.EXPIRING):
        raise Conflict(f"The booking is {booking.state}.")


def _answered(booking: Booking, unpaid: PaymentRequired | None) -> bool:
    """Whether it is confirmed, as it stands after the look: that may have been before its end."""
    if booking.state is BookingState.CONFIRMED:
        return True
    _require_confirmable(booking)
    if unpaid is None:
        return False
    if booking.state is BookingState.EXPIRING:
        # No page can be opened any more.
        raise _run_out()
    raise unpaid


def _unpaid(attempt: Attempt) -> PaymentRequired | None:
    status = shown(attempt.status)
    if status == "open":
        return PaymentRequired("Nothing has been paid yet.", checkout_url=attempt.checkout_url)
    if status in ("failed", "cancelled"):
        return PaymentRequired("The payment failed; check out again.", code="payment_failed")
    if status in ("refund_pending", "refunded"):
        return PaymentRequired(
            "What was paid is not what this costs and goes back; check out again.",
            code="payment_failed",
        )
    return None


def _not_cancellable(state: BookingState) -> Conflict:
    if state is BookingState.CONFIRMED:
        return Conflict("The booking is confirmed; ask for a refund instead.")
    return Conflict(f"The booking is {state}; there is nothing to cancel.")
