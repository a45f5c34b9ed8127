"""The steps of a refund that was asked for: the provider, our rows, then Redis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import structlog
from temporalio import activity

from activities.edge import edge
from contracts.refund import RefundSteps
from domain.steps import RefundInput, RefundResult
from services import dispute, refund
from services.gateway import PaymentGateway
from services.ports import UnitOfWork
from services.preclaim import SeatPreclaims

log = structlog.get_logger(__name__)


class RefundActivities(RefundSteps):
    """``gateways`` by provider name."""

    def __init__(
        self,
        unit_of_work: UnitOfWork,
        gateways: Mapping[str, PaymentGateway],
        preclaims: SeatPreclaims,
    ) -> None:
        self._begin = unit_of_work
        self._gateways = gateways
        self._preclaims = preclaims

    @property
    def steps(self) -> list[Callable[..., Any]]:
        """What a worker registers."""
        return [self.ask_refund, self.withdraw_refund, self.settle_refund, self.release_refunded]

    @activity.defn
    async def ask_refund(self, input: RefundInput) -> None:
        async with edge(input.booking_id, input.request_id):
            await refund.ask(
                self._begin,
                self._gateways,
                UUID(input.booking_id),
                input.number,
                request_id=input.request_id,
            )
            log.info("refund_accepted", number=input.number)

    @activity.defn
    async def withdraw_refund(self, input: RefundInput) -> None:
        async with edge(input.booking_id, input.request_id):
            async with self._begin() as tx:
                await refund.withdraw(
                    tx, UUID(input.booking_id), input.number, request_id=input.request_id
                )
                freed = await dispute.after_refund(
                    tx, UUID(input.booking_id), request_id=input.request_id
                )
            if freed is not None:
                await self._preclaims.release(freed.show_id, freed.labels, freed.booking_id)
            log.warning("refund_refused", number=input.number)

    @activity.defn
    async def settle_refund(self, input: RefundInput) -> RefundResult:
        async with edge(input.booking_id, input.request_id):
            outcome = await refund.settle(
                self._begin,
                self._gateways,
                UUID(input.booking_id),
                input.number,
                request_id=input.request_id,
            )
            log.info("refund_settled", number=input.number, outcome=outcome)
            return RefundResult(outcome)

    @activity.defn
    async def release_refunded(self, input: RefundInput) -> None:
        booking_id = UUID(input.booking_id)
        async with edge(input.booking_id, input.request_id):
            async with self._begin.alone() as tx:
                parts = await tx.refunds.parts(booking_id, input.number)
                show_id, _ = await tx.bookings.seats(booking_id)
            accepted = [part for part in parts if part.reference is not None]
            if labels := [label for part in accepted for label in part.seats]:
                await self._preclaims.release(show_id, labels, booking_id)
