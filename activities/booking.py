"""The booking's steps: one transaction in PostgreSQL, then Redis is told."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import structlog
from temporalio import activity

from activities.edge import edge
from contracts.booking import BookingActivities
from domain.booking import BookingState
from domain.steps import (
    BookingInput,
    CloseStep,
    ConfirmRequest,
    ExtendStep,
    FinishStep,
    HoldOutcome,
    SessionStep,
    StepOutcome,
)
from services import booking, payment
from services.ports import UnitOfWork
from services.preclaim import PreclaimsAway, SeatPreclaims
from services.reserve import seats_unavailable

log = structlog.get_logger(__name__)
SEATLESS = (BookingState.EXPIRED, BookingState.CANCELLED, BookingState.CHARGED_BACK)


class DatabaseBookingActivities(BookingActivities):
    """Runs each step in one transaction; Redis is speed only, so its absence fails no step."""

    def __init__(self, unit_of_work: UnitOfWork, preclaims: SeatPreclaims) -> None:
        self._begin = unit_of_work
        self._preclaims = preclaims

    @activity.defn
    async def hold_seats(self, input: BookingInput) -> HoldOutcome:
        async with edge(input.booking_id, input.request_id):
            try:
                async with self._begin() as tx:
                    outcome = await booking.hold(tx, input)
                    if outcome.state is BookingState.REJECTED:
                        booking.reject(tx, input, outcome)
            except booking.SeatsTaken as taken:
                outcome = await self._refuse_taken(input, taken.labels)
            if outcome.state is BookingState.HELD:
                await self._promote(input)
            log.info("hold", state=outcome.state, code=outcome.code)
            return outcome

    @activity.defn
    async def extend_hold(self, step: ExtendStep) -> StepOutcome:
        async with edge(step.booking_id, step.request.request_id):
            async with self._begin() as tx:
                outcome = await booking.extend(tx, step)
            log.info("extend", state=outcome.state, code=outcome.code)
            return outcome

    @activity.defn
    async def confirm_booking(self, request: ConfirmRequest) -> StepOutcome:
        async with edge(request.booking_id, request.request_id):
            async with self._begin() as tx:
                outcome = await payment.confirm(tx, request)
                seats = tx.bookings.seats_soon(UUID(request.booking_id))
            log.info("confirm", state=outcome.state)
            if outcome.state in (BookingState.CONFIRMED, BookingState.DISPUTED):
                return await self._sold(UUID(request.booking_id), outcome, *seats.value)
            if outcome.state is BookingState.CHARGED_BACK:
                return await self._ended(request.booking_id, outcome)
            return outcome

    @activity.defn
    async def close_hold(self, step: CloseStep) -> StepOutcome:
        async with edge(step.booking_id, step.request_id):
            async with self._begin() as tx:
                outcome = await booking.begin_close(tx, step)
            return await self._ended(step.booking_id, outcome)

    @activity.defn
    async def finish_close(self, step: FinishStep) -> StepOutcome:
        async with edge(step.booking_id, step.request_id):
            async with self._begin() as tx:
                outcome = await booking.finish_close(tx, step)
            return await self._ended(step.booking_id, outcome)

    @activity.defn
    async def release_marks(self, step: SessionStep) -> None:
        async with edge(step.booking_id, step.request_id):
            booking_id = UUID(step.booking_id)
            async with self._begin.alone() as tx:
                show_id, labels = await tx.bookings.seats(booking_id)
            await self._preclaims.forget(show_id, labels, booking_id)

    async def _ended(self, booking_id: str, outcome: StepOutcome) -> StepOutcome:
        log.info("close", state=outcome.state)
        if outcome.state in SEATLESS:
            async with self._begin.alone() as tx:
                show_id, labels = await tx.bookings.seats(UUID(booking_id))
            try:
                await self._preclaims.release(show_id, labels, UUID(booking_id))
            except PreclaimsAway:
                log.warning("redis_away", step="release")
                return replace(outcome, marks_left=True)
        return outcome

    async def _refuse_taken(self, input: BookingInput, labels: tuple[str, ...]) -> HoldOutcome:
        refused = seats_unavailable(labels)
        outcome = booking.rejected(refused.code, refused.detail, **refused.data)
        async with self._begin.alone() as tx:
            booking.reject(tx, input, outcome)
            held = await tx.bookings.peek(UUID(input.booking_id))
        # Another run of this step, that was thought dead, may have had the seats since: then the
        # refusal was not written, and the booking is what came of it.
        return outcome if held is None else HoldOutcome(held.state, seconds_left=held.seconds_left)

    async def _promote(self, input: BookingInput) -> None:
        labels = [seat.label for seat in input.seats]
        ttl = max(input.hold_seconds, input.hold_max_seconds) + input.longest_grace_seconds
        try:
            await self._preclaims.promote(
                UUID(input.show_id), labels, UUID(input.booking_id), ttl_seconds=ttl
            )
        except PreclaimsAway:
            log.warning("redis_away", step="promote")

    async def _sold(
        self, booking_id: UUID, outcome: StepOutcome, show_id: UUID, labels: list[str]
    ) -> StepOutcome:
        try:
            await self._preclaims.sell(show_id, labels, booking_id)
        except PreclaimsAway:
            log.warning("redis_away", step="sell")
            return replace(outcome, marks_left=True)
        return outcome
