"""The steps of late money on our own rows: one transaction in PostgreSQL, then Redis is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import structlog
from temporalio import activity

from activities.edge import edge
from contracts.late_payment import LateSteps
from domain.offer import LateState
from domain.steps import LateOutcome, LatePaymentInput, OfferAnswer
from services import late_payment
from services.ports import UnitOfWork
from services.preclaim import PreclaimsAway, SeatPreclaims
from services.work import LateLimits

log = structlog.get_logger(__name__)


class LateActivities(LateSteps):
    """Redis is speed only, so its absence fails no step but the one that is about it."""

    def __init__(
        self, unit_of_work: UnitOfWork, preclaims: SeatPreclaims, limits: LateLimits
    ) -> None:
        self._begin = unit_of_work
        self._preclaims = preclaims
        self._limits = limits

    @property
    def local_steps(self) -> list[Callable[..., Any]]:
        """What a worker registers for both of its queues."""
        return [self.settle_late, self.end_offer]

    @property
    def steps(self) -> list[Callable[..., Any]]:
        """What a worker registers for the calls that must not be given up."""
        return [self.abandon_late, self.release_offered]

    @activity.defn
    async def settle_late(self, input: LatePaymentInput) -> LateOutcome:
        async with edge("", input.request_id):
            outcome = await late_payment.settle(self._begin, input, self._limits)
            return await self._told(input.provider_payment_id, outcome, "settle")

    @activity.defn
    async def end_offer(self, wish: OfferAnswer) -> LateOutcome:
        async with edge("", wish.request_id):
            outcome = await late_payment.answer(self._begin, wish, self._limits)
            return await self._told(wish.provider_payment_id, outcome, wish.end)

    @activity.defn
    async def abandon_late(self, input: LatePaymentInput) -> LateOutcome:
        async with edge("", input.request_id):
            outcome = await late_payment.abandon(self._begin, input)
            return await self._told(input.provider_payment_id, outcome, "abandon")

    @activity.defn
    async def release_offered(self, input: LatePaymentInput) -> None:
        async with edge("", input.request_id), self._begin.alone() as tx:
            offer = await tx.offers.find(UUID(input.provider_payment_id))
            if offer is None:
                return
            show_id, _ = await tx.bookings.seats(offer.booking_id)
            await self._preclaims.release(show_id, offer.labels, offer.booking_id)

    async def _told(self, receipt: str, outcome: LateOutcome, step: str) -> LateOutcome:
        log.info("late_payment", step=step, state=outcome.state, provider_payment_id=receipt)
        if outcome.state is LateState.CONFIRMED:
            return await self._sold(UUID(receipt), outcome)
        if outcome.state is LateState.OFFERED:
            await self._tell_held(UUID(receipt))
        return outcome

    async def _sold(self, receipt_id: UUID, outcome: LateOutcome) -> LateOutcome:
        async with self._begin.alone() as tx:
            receipt = await tx.payments.receipt(receipt_id)
            assert receipt is not None, "it has just been settled"
            show_id, labels = await tx.bookings.seats(receipt.booking_id)
        try:
            await self._preclaims.sell(show_id, labels, receipt.booking_id)
        except PreclaimsAway:
            log.warning("redis_away", step="sell")
            return replace(outcome, marks_left=str(receipt.booking_id))
        return outcome

    async def _tell_held(self, receipt_id: UUID) -> None:
        async with self._begin.alone() as tx:
            offer = await tx.offers.find(receipt_id)
            assert offer is not None, "it has just been made"
            show_id, _ = await tx.bookings.seats(offer.booking_id)
        ttl = max(1, int(offer.seconds_left) + 1)
        try:
            await self._preclaims.promote(show_id, offer.labels, offer.booking_id, ttl_seconds=ttl)
        except PreclaimsAway:
            log.warning("redis_away", step="promote")
