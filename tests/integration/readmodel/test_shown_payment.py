"""Which of its pay pages a booking shows: the one that paid for it, else the newest."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from domain.money import Money
from domain.payment import ProviderPayment
from domain.payment import ProviderPaymentStatus as Told
from domain.steps import BookingInput
from infra.postgres.database import Database
from readmodel import bookings
from services import payment
from services.payment import Recorded
from services.payment_rows import Attempt
from tests.factories import PRICE, create_hall
from tests.helpers.till import Till


async def learn(till: Till, attempt: Attempt, status: Told) -> Recorded:
    captured = PRICE if status is Told.CAPTURED else 0
    fact = ProviderPayment(f"pay_{uuid4()}", "s", "b", status, Money(PRICE, "EUR"), captured, 0)
    async with till.begin() as tx:
        return await payment.record_payment(tx, attempt, fact)


async def open_another(till: Till, input: BookingInput, before: Attempt) -> Attempt:
    async with till.begin() as tx:
        tx.payments.close_session(before.id)
    await till.open_page(input)
    async with till.begin.alone() as tx:
        attempt = await tx.payments.latest_attempt(UUID(input.booking_id))
    assert attempt is not None
    return attempt


async def shown(database: Database, input: BookingInput) -> tuple[Any, Any]:
    async with database.statements() as session:
        found = await bookings.read(session, UUID(input.booking_id))
    assert found is not None
    return found["payment"]["id"], found["payment"]["status"]


async def test_the_page_that_paid_stays_in_sight(engine: AsyncEngine, database: Database) -> None:
    till = Till(database, await create_hall(engine))
    input = await till.hold("A1")
    async with till.begin.alone() as tx:
        first = await tx.payments.latest_attempt(UUID(input.booking_id))
    assert first is not None
    await learn(till, first, Told.FAILED)
    assert await shown(database, input) == (str(first.id), "failed")
    second = await open_another(till, input, first)
    assert await shown(database, input) == (str(second.id), "open")
    paid = await learn(till, first, Told.CAPTURED)
    assert await till.confirm(input, paid) == "confirmed"
    assert await shown(database, input) == (str(first.id), "captured")
    twice = await learn(till, second, Told.CAPTURED)
    assert twice.refunds is not None
    assert await shown(database, input) == (str(first.id), "captured")
