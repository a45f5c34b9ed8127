"""Money written down by a worker that died before it told: its booking does not lapse."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.booking import BookingState, CloseReason
from domain.money import Money
from domain.payment import ProviderPayment
from domain.payment import ProviderPaymentStatus as Told
from domain.steps import BookingInput, CloseStep, ConfirmRequest, FinishStep, StepOutcome
from infra.postgres.database import Database
from infra.postgres.payment import PostgresPayments
from services import booking, payment
from tests.factories import PRICE, create_hall
from tests.helpers.books import is_settled
from tests.helpers.till import Till

REFUNDS = text("SELECT reason, status, amount FROM refunds WHERE booking_id = :id")
MAILS = text(
    "SELECT template FROM notification_outbox WHERE booking_id = :id AND channel = 'email'"
)
CLAIMS = text("SELECT state FROM seat_claims WHERE booking_id = :id")


@pytest.fixture
async def till(engine: AsyncEngine, database: Database) -> Till:
    return Till(database, await create_hall(engine))


async def write_down(
    till: Till, input: BookingInput, status: Told, amount: int = PRICE, *, closed: bool = True
) -> None:
    """As the poll does: the payment and its closed page are on record. Nobody was told."""
    captured = amount if status is Told.CAPTURED else 0
    fact = ProviderPayment(f"pay_{uuid4()}", "s", "b", status, Money(amount, "EUR"), captured, 0)
    async with till.begin() as tx:
        attempt = await tx.payments.latest_attempt(UUID(input.booking_id))
        assert attempt is not None
        await payment.record_payment(tx, attempt, fact)
        if closed:
            tx.payments.close_session(attempt.id)


async def close(till: Till, input: BookingInput, why: CloseReason) -> StepOutcome:
    """The two steps of a hold's end; its pages are closed, so no provider is asked in between."""
    async with till.begin() as tx:
        await booking.begin_close(tx, CloseStep(input.booking_id, why, actor="test"))
    async with till.begin() as tx:
        return await booking.finish_close(tx, FinishStep(input.booking_id, 0, True))


async def go_on(till: Till, input: BookingInput, outcome: StepOutcome) -> StepOutcome:
    """What the workflow does with an answer that names a payment."""
    async with till.begin() as tx:
        return await payment.confirm(tx, ConfirmRequest(input.booking_id, outcome.paid))


async def seats(engine: AsyncEngine, input: BookingInput) -> list[str]:
    async with engine.connect() as connection:
        return list(await connection.scalars(CLAIMS, {"id": UUID(input.booking_id)}))


async def test_a_paid_booking_is_confirmed_by_its_closing(engine: AsyncEngine, till: Till) -> None:
    input = await till.hold("A1")
    await write_down(till, input, Told.CAPTURED)
    outcome = await close(till, input, CloseReason.RELEASED)
    assert outcome.state is BookingState.EXPIRING
    assert await seats(engine, input) == ["held"]
    assert (await go_on(till, input, outcome)).state is BookingState.CONFIRMED
    assert await seats(engine, input) == ["sold"]


async def test_promised_money_makes_the_seats_final(engine: AsyncEngine, till: Till) -> None:
    input = await till.hold("A2")
    await write_down(till, input, Told.AUTHORISED)
    outcome = await go_on(till, input, await close(till, input, CloseReason.RELEASED))
    assert (outcome.state, outcome.capture is None) == (BookingState.HELD, False)
    assert await seats(engine, input) == ["held"]


@pytest.mark.parametrize(
    ("status", "amount", "why", "end"),
    [
        # Judged at once when it was written down: it goes back.
        (Told.CAPTURED, PRICE - 1, CloseReason.RELEASED, BookingState.EXPIRED),
        (Told.PROCESSING, PRICE, CloseReason.RELEASED, BookingState.EXPIRED),
        # The buyer's wish wins: it goes back.
        (Told.CAPTURED, PRICE, CloseReason.CANCELLED, BookingState.CANCELLED),
    ],
    ids=["a wrong sum", "not yet money", "cancelled"],
)
async def test_what_confirms_nothing_keeps_no_seat(
    engine: AsyncEngine,
    till: Till,
    status: Told,
    amount: int,
    why: CloseReason,
    end: BookingState,
) -> None:
    input = await till.hold("A3")
    await write_down(till, input, status, amount)
    outcome = await close(till, input, why)
    assert (outcome.state, outcome.paid) == (end, None)
    assert await seats(engine, input) == []


@pytest.mark.parametrize("why", [CloseReason.RELEASED, CloseReason.CANCELLED])
@pytest.mark.parametrize(
    ("is_on_its_way", "grace", "is_kept"),
    [(True, 600, True), (True, 0, False), (False, 600, False)],
    ids=["on its way", "on its way too long", "nothing paid"],
)
async def test_money_that_is_on_its_way_has_a_longer_grace(
    engine: AsyncEngine,
    till: Till,
    why: CloseReason,
    grace: int,
    *,
    is_on_its_way: bool,
    is_kept: bool,
) -> None:
    """The buyer has done all that a buyer can; the bank takes its time."""
    input = await till.hold("A5")
    if is_on_its_way:
        await write_down(till, input, Told.PROCESSING, closed=False)
    async with till.begin() as tx:
        await booking.begin_close(tx, CloseStep(input.booking_id, why, actor="test"))
    async with till.begin() as tx:
        step = FinishStep(input.booking_id, 0, False, settling_grace_seconds=grace)
        outcome = await booking.finish_close(tx, step)
    assert await seats(engine, input) == (["held"] if is_kept else [])
    assert outcome.state.is_closing == is_kept
    if is_kept:
        assert 590 < outcome.seconds_left <= 600


async def test_money_of_a_booking_that_its_buyer_cancels_is_decided_by_the_closing(
    engine: AsyncEngine, till: Till
) -> None:
    """Twice paid, and nobody told: all of it is on its way back when the booking ends."""
    input = await till.hold("A5")
    for _ in range(2):
        await write_down(till, input, Told.CAPTURED)
    assert (await close(till, input, CloseReason.CANCELLED)).state is BookingState.CANCELLED
    async with engine.connect() as connection:
        found = await connection.execute(REFUNDS, {"id": UUID(input.booking_id)})
        assert found.all() == [("cancelled", "pending", PRICE)] * 2
    async with till.begin() as tx:
        assert await is_settled(tx, UUID(input.booking_id))


@pytest.mark.parametrize(
    ("why", "mails"), [(CloseReason.RELEASED, ["lapse"]), (CloseReason.CANCELLED, [])]
)
async def test_a_buyer_hears_of_an_end_that_was_not_theirs(
    engine: AsyncEngine, till: Till, why: CloseReason, mails: list[str]
) -> None:
    input = await till.hold("A6")
    await till.lapse(input, why)
    async with engine.connect() as connection:
        told = await connection.scalars(MAILS, {"id": UUID(input.booking_id)})
        assert list(told) == mails


async def test_a_timer_that_comes_too_soon_ends_nothing_and_is_told_how_long(till: Till) -> None:
    """It only asks; and once a hold is closing, its time is nobody's question any more."""
    input = await till.hold("A7")
    lapse = CloseStep(input.booking_id, CloseReason.LAPSED, actor="system")
    async with till.begin() as tx:
        outcome = await booking.begin_close(tx, lapse)
    assert outcome.state is BookingState.HELD
    assert outcome.seconds_left > 60
    async with till.begin() as tx:
        await booking.begin_close(tx, replace(lapse, why=CloseReason.RELEASED))
        assert (await booking.begin_close(tx, lapse)).state is BookingState.EXPIRING
        ended = await tx.bookings.lock(UUID(input.booking_id))
    assert ended is not None
    assert ended.close_reason is CloseReason.RELEASED


async def test_without_the_look_a_paid_booking_lapses(
    engine: AsyncEngine, till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control."""

    async def sees_nothing(self: PostgresPayments, booking_id: UUID) -> None:
        return None

    monkeypatch.setattr(PostgresPayments, "unjudged", sees_nothing)
    input = await till.hold("A4")
    await write_down(till, input, Told.CAPTURED)
    assert (await close(till, input, CloseReason.RELEASED)).state is BookingState.EXPIRED
    assert await seats(engine, input) == []
