"""Bookings that are held, paid and refunded by the services, one transaction a step, as told."""

from __future__ import annotations

from uuid import UUID

from domain.booking import CloseReason
from domain.money import Money
from domain.payment import ProviderPayment, ProviderPaymentStatus
from domain.steps import (
    BookingInput,
    CloseStep,
    ConfirmRequest,
    FinishStep,
    LatePaymentInput,
)
from infra.postgres.database import Database
from infra.postgres.uow import PostgresUnitOfWork
from services import booking, checkout, late_payment, payment
from services.payment import Recorded
from services.work import LateLimits
from tests.factories import Hall

NO_WINDOW = LateLimits(window_seconds=0, offer_seconds=0, max_seats_per_user_show=20)


class Till:
    def __init__(self, database: Database, hall: Hall) -> None:
        self.begin, self.hall = PostgresUnitOfWork(database), hall

    async def hold(self, *labels: str) -> BookingInput:
        """A hold with an open pay page."""
        input = self.hall.input(*labels)
        async with self.begin() as tx:
            await tx.bookings.add_request(input, key_hash=None, body_hash=b"body")
            await booking.hold(tx, input)
        await self.open_page(input)
        return input

    async def open_page(self, input: BookingInput) -> None:
        async with self.begin() as tx:
            await checkout.plan_checkout(
                tx,
                UUID(input.booking_id),
                user_id=UUID(input.user_id),
                provider="sandbox",
                return_url="http://shop.test/back",
                request_id=None,
            )

    async def lapse(self, input: BookingInput, why: CloseReason = CloseReason.RELEASED) -> None:
        async with self.begin() as tx:
            await booking.begin_close(tx, CloseStep(input.booking_id, why, actor="test"))
        async with self.begin() as tx:
            await booking.finish_close(tx, FinishStep(input.booking_id, 0, False))

    async def learn(
        self,
        input: BookingInput,
        reference: str,
        paid: Money,
        *,
        status: ProviderPaymentStatus = ProviderPaymentStatus.CAPTURED,
        refunded: int = 0,
        fee: int = 0,
    ) -> Recorded:
        """The provider says that ``paid`` was captured; late money always goes back here."""
        async with self.begin() as tx:
            attempt = await tx.payments.latest_attempt(UUID(input.booking_id))
            assert attempt is not None
            told = ProviderPayment(
                reference, "s", input.booking_id, status, paid, paid.amount, refunded, fee=fee
            )
            recorded = await payment.record_payment(tx, attempt, told)
        if recorded.refunds is not None:
            late = LatePaymentInput(str(recorded.refunds))
            await late_payment.settle(self.begin, late, NO_WINDOW)
        return recorded

    async def confirm(self, input: BookingInput, recorded: Recorded) -> str:
        async with self.begin() as tx:
            request = ConfirmRequest(input.booking_id, str(recorded.confirms))
            return (await payment.confirm(tx, request)).state

    async def settle(self, recorded: Recorded, status: str = "succeeded") -> None:
        assert recorded.refunds is not None
        async with self.begin() as tx:
            await payment.settle_refund(
                tx, recorded.refunds, status=status, reference="ref", request_id=None
            )
