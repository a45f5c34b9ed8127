"""Late money that its bank calls back: it is decided whole, and it buys no other seats."""

from __future__ import annotations

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.offer import LateState, OfferState
from domain.steps import LateOutcome, OfferAnswer
from services import late_payment
from tests.factories import PRICE, create_hall
from tests.helpers.books import is_settled
from tests.helpers.saga import LATE
from tests.sequences.cells import Cell
from tests.sequences.street import Street


async def expired(street: Street, engine: AsyncEngine, way: str = "EXPIRED") -> Cell:
    hall = await create_hall(engine, starts_in_hours=48, offers_seats=True)
    cell = Cell(street, hall, hall.input("A1"))
    await cell.become(way)
    return cell


async def receipt_id(cell: Cell) -> str:
    [[found]] = await cell.street.saga.rows(
        "SELECT id FROM provider_payments WHERE reference = :ref", ref=cell.paid
    )
    return str(found)


async def accept(cell: Cell) -> LateOutcome:
    wish = OfferAnswer(await receipt_id(cell), OfferState.ACCEPTED, cell.input.user_id)
    return await late_payment.answer(cell.street.saga.begin, wish, LATE)


async def require_gone(cell: Cell) -> None:
    """The buyer has the money by way of the bank, no seat, and nothing is due any more."""
    saga = cell.street.saga
    assert await saga.state(cell.input) == "expired"
    assert cell.at_provider()["refunded"] == 0
    assert await cell.disputed() == 0
    async with saga.begin.alone() as tx:
        assert await is_settled(tx, cell.id)
    assert not await saga.rows(
        "SELECT label FROM seat_claims WHERE booking_id = :id AND state <> 'free'", id=cell.id
    )


async def test_a_dispute_that_is_lost_before_the_money_is_judged_leaves_nothing_due(
    street: Street, engine: AsyncEngine
) -> None:
    cell = await expired(street, engine)
    await cell.long_ago()
    cell.pay()
    cell.dispute("lost")
    await cell.tell()
    await require_gone(cell)


async def test_disputed_money_is_offered_no_other_seats(
    street: Street, engine: AsyncEngine
) -> None:
    cell = await expired(street, engine)
    await cell.sell_its_seats()
    cell.pay()
    cell.dispute()
    await cell.tell()
    assert await cell.offers() == []
    assert await cell.verdict() == "late"


@pytest.mark.parametrize("outcome", ["opened", "lost"])
async def test_an_offer_for_money_in_dispute_cannot_be_accepted(
    street: Street, engine: AsyncEngine, outcome: str
) -> None:
    cell = await expired(street, engine, "OFFERED")
    assert await cell.offers() == ["open"]
    cell.dispute(outcome)
    await cell.tell()
    assert (await accept(cell)).state is LateState.GOES_BACK
    assert await cell.offers() == ["lapsed"]
    if outcome == "opened":
        assert await cell.disputed() == PRICE
        cell.dispute("lost")
        await cell.tell()
    await require_gone(cell)
