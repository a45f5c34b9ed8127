"""A workflow ends with balanced books or a case; the buyer waits for neither."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain import ledger
from domain.booking import CloseReason
from domain.ledger import Subject
from domain.money import Money
from domain.payment import ProviderPayment
from domain.payment import ProviderPaymentStatus as Told
from domain.steps import BookingInput
from infra.postgres.database import Database
from services import authorise, payment
from services.payment import Recorded
from tests.factories import PRICE, create_hall
from tests.helpers.books import is_settled
from tests.helpers.till import Till

ONE, TWO = Money(PRICE, "EUR"), Money(2 * PRICE, "EUR")
CASES = text("SELECT kind FROM cases WHERE booking_id = :id ORDER BY opened_at")
NAMED = text(
    "SELECT count(*) FROM bookings JOIN cases ON cases.id = case_id WHERE bookings.id = :id"
)


@pytest.fixture
async def till(engine: AsyncEngine, database: Database) -> Till:
    return Till(database, await create_hall(engine))


async def cases(engine: AsyncEngine, input: BookingInput) -> list[str]:
    async with engine.connect() as connection:
        return list(await connection.scalars(CASES, {"id": UUID(input.booking_id)}))


async def spoil(till: Till, input: BookingInput, recorded_id: UUID) -> None:
    """A unit too much stands with the buyer, of money that was decided long ago."""
    async with till.begin() as tx:
        receipt = await tx.payments.receipt(recorded_id)
        assert receipt is not None
        subject = Subject(UUID(input.booking_id), UUID(input.show_id), receipt.provider, receipt.id)
        tx.ledger.post(ledger.captured(subject, Money(1, "EUR"), total=9999))


async def lapse(till: Till, input: BookingInput, why: CloseReason = CloseReason.RELEASED) -> None:
    """Its page was closed first, as it should be."""
    async with till.begin.alone() as tx:
        for attempt in await tx.payments.attempts(UUID(input.booking_id)):
            tx.payments.close_session(attempt.id)
    await till.lapse(input, why)


async def confirmed(till: Till) -> tuple[BookingInput, str]:
    input = await till.hold("A1", "A2")
    paid = await till.learn(input, f"pay_{uuid4()}", TWO)
    assert paid.confirms is not None
    await spoil(till, input, paid.confirms)
    return input, await till.confirm(input, paid)


async def lapsed_and_sent_back(till: Till) -> tuple[BookingInput, str]:
    input = await till.hold("A1")
    await lapse(till, input)
    late = await till.learn(input, f"pay_{uuid4()}", ONE)
    assert late.refunds is not None
    await spoil(till, input, late.refunds)
    await till.settle(late)
    return input, "expired"


@pytest.mark.parametrize("path", [confirmed, lapsed_and_sent_back], ids=lambda path: path.__name__)
async def test_an_imbalance_opens_a_case_and_blocks_nobody(
    till: Till, engine: AsyncEngine, path: Callable[[Till], Awaitable[tuple[BookingInput, str]]]
) -> None:
    input, state = await path(till)
    assert state in ("confirmed", "expired")
    assert await cases(engine, input) == ["books_open"]
    async with engine.connect() as connection:
        assert await connection.scalar(NAMED, {"id": UUID(input.booking_id)}) == 1


async def test_a_hold_that_ends_with_money_nobody_accounts_for_is_a_case(
    till: Till, engine: AsyncEngine
) -> None:
    input = await till.hold("A1")
    wrong = await till.learn(input, f"pay_{uuid4()}", Money(1, "EUR"))
    assert wrong.refunds is not None
    await till.settle(wrong)
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE bookings SET case_id = NULL WHERE id = :id"),
            {"id": UUID(input.booking_id)},
        )
    await spoil(till, input, wrong.refunds)
    await lapse(till, input)
    assert await cases(engine, input) == ["wrong_amount", "books_open"]


async def test_books_that_balance_open_none(till: Till, engine: AsyncEngine) -> None:
    sold, late = await till.hold("A1", "A2"), await till.hold("A3")
    paid = await till.learn(sold, f"pay_{uuid4()}", TWO)
    assert await till.confirm(sold, paid) == "confirmed"
    await till.settle(await till.learn(sold, f"pay_{uuid4()}", TWO))
    await lapse(till, late)
    await till.settle(await till.learn(late, f"pay_{uuid4()}", ONE))
    for input in (sold, late):
        assert await cases(engine, input) == []
        async with till.begin.alone() as tx:
            assert await is_settled(tx, UUID(input.booking_id))


async def test_a_second_capture_without_a_verdict_is_the_next_step_and_no_case(
    till: Till, engine: AsyncEngine
) -> None:
    input = await till.hold("A1", "A2")
    first = await till.learn(input, f"pay_{uuid4()}", TWO)
    second = await till.learn(input, f"pay_{uuid4()}", TWO)
    assert await till.confirm(input, first) == "confirmed"
    assert await cases(engine, input) == []
    await till.confirm(input, second)
    again = await till.learn(input, f"pay_{uuid4()}", TWO)
    await till.settle(again)
    assert await cases(engine, input) == []


async def test_a_refund_still_due_for_another_payment_is_no_case(
    till: Till, engine: AsyncEngine
) -> None:
    input = await till.hold("A1")
    await lapse(till, input)
    first = await till.learn(input, f"pay_{uuid4()}", ONE)
    second = await till.learn(input, f"pay_{uuid4()}", ONE)
    await till.settle(first)
    assert await cases(engine, input) == []
    await till.settle(second)
    assert await cases(engine, input) == []


async def test_a_case_that_is_open_is_enough(till: Till, engine: AsyncEngine) -> None:
    input = await till.hold("A1")
    await lapse(till, input)
    first = await till.learn(input, f"pay_{uuid4()}", ONE)
    second = await till.learn(input, f"pay_{uuid4()}", ONE)
    await till.settle(first, "failed")
    await till.settle(second)
    assert await cases(engine, input) == ["refund_failed"]


async def promise(
    till: Till, input: BookingInput, reference: str, status: Told = Told.AUTHORISED
) -> Recorded:
    """The provider says how a promise of 24.00 EUR stands, of which nothing was taken."""
    told = ProviderPayment(reference, "s", input.booking_id, status, TWO, 0, 0)
    async with till.begin() as tx:
        attempt = await tx.payments.latest_attempt(UUID(input.booking_id))
        assert attempt is not None
        return await payment.record_payment(tx, attempt, told)


async def one_too_many(till: Till, input: BookingInput, reference: str) -> UUID:
    """It came while another was being taken, which then confirms."""
    first = f"pay_{uuid4()}"
    await till.confirm(input, await promise(till, input, first))
    extra = await promise(till, input, reference)
    assert extra.refunds is not None
    assert await till.confirm(input, await till.learn(input, first, TWO)) == "confirmed"
    return extra.refunds


async def unwanted(till: Till, input: BookingInput, reference: str) -> UUID:
    """Nobody was told of it when its buyer cancelled."""
    recorded = await promise(till, input, reference)
    assert recorded.confirms is not None
    await lapse(till, input, CloseReason.CANCELLED)
    return recorded.confirms


async def refused(till: Till, input: BookingInput, reference: str) -> UUID:
    """The seats were final for it, and then it could not be taken."""
    recorded = await promise(till, input, reference)
    assert recorded.confirms is not None
    await till.confirm(input, recorded)
    async with till.begin() as tx:
        await authorise.abandon(tx, UUID(input.booking_id), recorded.confirms, request_id=None)
    await lapse(till, input)
    return recorded.confirms


ways = pytest.mark.parametrize(
    "way", [one_too_many, unwanted, refused], ids=lambda way: way.__name__
)
Way = Callable[[Till, BookingInput, str], Awaitable[UUID]]


@ways
async def test_a_promise_that_is_let_go_is_no_case_before_it_is_voided(
    till: Till, engine: AsyncEngine, way: Way
) -> None:
    input, reference = await till.hold("A1", "A2"), f"pay_{uuid4()}"
    await way(till, input, reference)
    await promise(till, input, reference, Told.VOIDED)
    assert await cases(engine, input) == []
    async with till.begin.alone() as tx:
        assert await is_settled(tx, UUID(input.booking_id))


@ways
async def test_money_beside_a_promise_that_is_let_go_is_a_case(
    till: Till, engine: AsyncEngine, way: Way
) -> None:
    """The control: of that payment nothing else is overlooked."""
    input, reference = await till.hold("A1", "A2"), f"pay_{uuid4()}"
    await spoil(till, input, await way(till, input, reference))
    async with till.begin() as tx:
        tx.ledger.close(UUID(input.booking_id))
    assert await cases(engine, input) == ["books_open"]
