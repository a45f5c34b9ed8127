"""What happens to a page that is closed and to a dispute is read from the table, not written twice.

Each test changes a cell of the table, and another thing happens.
"""

from __future__ import annotations

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.booking import BookingState
from domain.payment_policy import CANCEL, EXPIRE, NOTHING, TABLE, Decision, PaymentFact
from tests.factories import PRICE, create_hall
from tests.sequences.cells import Cell
from tests.sequences.street import Street


async def booking_in(street: Street, engine: AsyncEngine, state: str) -> Cell:
    hall = await create_hall(engine, starts_in_hours=48)
    cell = Cell(street, hall, hall.input("A1"))
    await cell.become(state)
    return cell


@pytest.mark.parametrize(
    ("state", "cell", "end"),
    [
        ("EXPIRING", EXPIRE, "expired"),
        ("EXPIRING", CANCEL, "cancelled"),
        ("CANCELLING", CANCEL, "cancelled"),
        ("CANCELLING", EXPIRE, "expired"),
    ],
)
async def test_where_a_hold_ends_whose_page_is_closed(
    street: Street,
    engine: AsyncEngine,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    cell: Decision,
    end: str,
) -> None:
    monkeypatch.setitem(TABLE[BookingState[state]], PaymentFact.CANCEL_CONFIRMED, cell)
    one = await booking_in(street, engine, state)
    await one.go_on(state)
    assert await street.saga.state(one.input) == end


@pytest.mark.parametrize("state", ["PAYING", "EXPIRING", "EXPIRED", "CANCELLED"])
@pytest.mark.parametrize("is_asked", [True, False])
async def test_whether_a_person_hears_of_a_dispute(
    street: Street,
    engine: AsyncEngine,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    is_asked: bool,
) -> None:
    row = TABLE[BookingState.HELD if state == "PAYING" else BookingState[state]]
    if not is_asked:
        monkeypatch.setitem(row, PaymentFact.DISPUTE, NOTHING)
    one = await booking_in(street, engine, state)
    one.pay(PRICE - 1)
    one.dispute()
    await one.tell()
    assert ("dispute" in await one.cases()) is is_asked
