"""Crowds of buyers, and what must be true of a show when the crowd is done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from activities.booking import DatabaseBookingActivities
from domain.booking import BookingState, CloseReason
from domain.payment import ProviderPayment, ProviderPaymentStatus
from domain.steps import (
    BookingInput,
    CloseStep,
    ConfirmRequest,
    FinishStep,
    HoldOutcome,
    StepOutcome,
)
from services import checkout, payment
from services.ports import UnitOfWork
from services.preclaim import SeatPreclaims

CONNECTIONS = 20


async def create_users(engine: AsyncEngine, count: int) -> list[str]:
    async with engine.begin() as connection:
        found = await connection.scalars(
            text(
                "INSERT INTO users (id, email, email_key, name, password_hash)"
                " SELECT id, id || '@example.test', id || '@example.test', 'Ada', 'x'"
                " FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, :count)) AS new"
                " RETURNING id"
            ),
            {"count": count},
        )
        return [str(user_id) for user_id in found]


class Office:
    """The steps of bookings on one database, each a real transaction, without any workflow."""

    def __init__(self, begin: UnitOfWork, preclaims: SeatPreclaims) -> None:
        self.begin = begin
        self.steps = DatabaseBookingActivities(begin, preclaims)
        # One more than the pool serves would wait for a connection, not for a seat.
        self._turns = asyncio.Semaphore(CONNECTIONS)

    async def hold(self, input: BookingInput) -> HoldOutcome:
        async with self._turns:
            return await self.steps.hold_seats(input)

    async def race(self, inputs: Sequence[BookingInput]) -> list[HoldOutcome]:
        """Everybody's request is known; then all holds run at once. Outcomes as asked."""
        await self.request(inputs)
        return await asyncio.gather(*map(self.hold, inputs))

    async def request(self, inputs: Iterable[BookingInput]) -> None:
        async with self.begin() as tx:
            for input in inputs:
                await tx.bookings.add_request(input, key_hash=None, body_hash=b"body")

    async def held(self, input: BookingInput) -> BookingInput:
        (outcome,) = await self.race([input])
        assert outcome.state is BookingState.HELD, outcome
        return input

    async def open_page(self, input: BookingInput) -> UUID:
        """What checkout writes; the payment's id."""
        async with self._turns, self.begin() as tx:
            attempt = await checkout.plan_checkout(
                tx,
                UUID(input.booking_id),
                user_id=UUID(input.user_id),
                provider="sandbox",
                return_url="http://shop.test/back",
                request_id=None,
            )
            assert attempt is not None
            await tx.payments.set_session(attempt.id, f"cs-{uuid4()}", "http://pay.test")
            return attempt.id

    async def sell(self, input: BookingInput) -> StepOutcome:
        """Open a page, take the money, confirm."""
        await self.open_page(input)
        async with self._turns, self.begin() as tx:
            attempt = await tx.payments.latest_attempt(UUID(input.booking_id))
            assert attempt is not None
            assert attempt.session_id is not None
            paid = ProviderPayment(
                reference=f"pay-{uuid4()}",
                session_id=attempt.session_id,
                booking_reference=input.booking_id,
                status=ProviderPaymentStatus.CAPTURED,
                amount=attempt.amount,
                captured=attempt.amount.amount,
                refunded=0,
            )
            recorded = await payment.record_payment(tx, attempt, paid)
        async with self._turns:
            return await self.steps.confirm_booking(
                ConfirmRequest(input.booking_id, str(recorded.confirms))
            )

    async def cancel(self, input: BookingInput) -> StepOutcome:
        step = CloseStep(input.booking_id, CloseReason.CANCELLED, actor=input.user_id)
        async with self._turns:
            return await self.steps.close_hold(step)

    async def cancel_with_page(self, input: BookingInput) -> StepOutcome:
        """Cancel the long way: the page is open, is closed, and only then the seats go free."""
        payment_id = await self.open_page(input)
        await self.cancel(input)
        async with self._turns, self.begin() as tx:
            tx.payments.close_session(payment_id)
        async with self._turns:
            return await self.steps.finish_close(FinishStep(input.booking_id, 0, True))


class Ledger:
    """Reads what a show came to, past everything that the project itself would ask."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        async with self._engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(text(statement), values)]

    async def double_sales(self, show_id: UUID) -> int:
        """How many seats more than one open or confirmed booking believes to have."""
        return len(
            await self.rows(
                "SELECT label FROM booking_seats JOIN bookings ON bookings.id = booking_id"
                " WHERE show_id = :show AND state IN ('held', 'expiring', 'cancelling',"
                " 'confirmed') GROUP BY label HAVING count(*) > 1",
                show=show_id,
            )
        )

    async def bookings(self, show_id: UUID) -> dict[str, tuple[str, int, int]]:
        """Booking id → (state, seats asked, seats claimed)."""
        found = await self.rows(
            "SELECT id::text, bookings.state, seat_count, count(label) FROM bookings"
            " LEFT JOIN seat_claims ON booking_id = bookings.id"
            " WHERE bookings.show_id = :show GROUP BY id",
            show=show_id,
        )
        return {row[0]: (row[1], row[2], row[3]) for row in found}

    async def claims(self, show_id: UUID) -> dict[str, tuple[str, str | None]]:
        """Label → (state, booking id)."""
        found = await self.rows(
            "SELECT label, state, booking_id::text FROM seat_claims WHERE show_id = :show",
            show=show_id,
        )
        return {row[0]: (row[1], row[2]) for row in found}

    async def events(self, input: BookingInput) -> list[str]:
        found = await self.rows(
            "SELECT event_type FROM events WHERE aggregate_id = :id ORDER BY sequence",
            id=UUID(input.booking_id),
        )
        return [row[0] for row in found]

    async def requests(self, show_id: UUID) -> int:
        found = await self.rows(
            "SELECT count(*) FROM booking_requests WHERE show_id = :show", show=show_id
        )
        return int(found[0][0])

    async def require_whole_orders(self, show_id: UUID) -> None:
        """Every live booking has all of its seats and every other none; no seat is had twice."""
        for booking_id, (state, asked, claimed) in (await self.bookings(show_id)).items():
            whole = asked if state in ("held", "expiring", "cancelling", "confirmed") else 0
            assert claimed == whole, f"{booking_id} is {state}, has {claimed} of {asked} seats"
        assert await self.double_sales(show_id) == 0


async def bounded(
    call: Callable[[BookingInput], Awaitable[object]], inputs: Iterable[BookingInput], at_once: int
) -> list[object]:
    """Call for every input, ``at_once`` at a time; results or exceptions, as given."""
    turns = asyncio.Semaphore(at_once)

    async def one(input: BookingInput) -> object:
        async with turns:
            return await call(input)

    return await asyncio.gather(*map(one, inputs), return_exceptions=True)
