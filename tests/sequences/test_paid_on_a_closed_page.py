"""A page that was closed unpaid, and on which its provider lets somebody pay even so."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from domain.booking import CloseReason
from tests.factories import create_hall
from tests.sequences.cells import Cell
from tests.sequences.street import Street, act

OPEN, CLOSED = ("processing", True, True), ("cancelled", False, False)


async def pages(cell: Cell) -> list[Any]:
    """Status, whether it may take money, and whether it is polled, of each page in turn."""
    return await cell.street.saga.rows(
        "SELECT status, session_open, next_poll_at IS NOT NULL FROM payments"
        " WHERE booking_id = :id ORDER BY attempt",
        id=cell.id,
    )


async def closed(street: Street, engine: AsyncEngine) -> Cell:
    hall = await create_hall(engine, starts_in_hours=48)
    cell = Cell(street, hall, hall.input("A1"))
    await cell.become("HELD")
    assert await pages(cell) == [CLOSED]
    return cell


def is_paid_on(cell: Cell) -> None:
    with cell.street.store.write() as conn:
        act(conn, cell.session_id, "payment.processing")


async def test_it_is_open_again_and_the_hold_does_not_end_over_it_unseen(
    street: Street, engine: AsyncEngine
) -> None:
    cell = await closed(street, engine)
    is_paid_on(cell)
    for _ in range(2):
        await cell.tell()
        assert await pages(cell) == [OPEN]
    await cell.run_out()
    await street.process.close(cell.input.booking_id, CloseReason.LAPSED)
    assert await street.saga.state(cell.input) == "expired"
    assert await cell.cases() == ["payment_uncertain"]
    cell.pay()
    await cell.tell()
    assert await pages(cell) == [("captured", False, False)]


async def test_it_stays_closed_beside_another_that_is_open(
    street: Street, engine: AsyncEngine
) -> None:
    """One open page a booking: the other one may be paid, and what comes of this goes back."""
    cell = await closed(street, engine)
    await street.saga.checkout(cell.input)
    is_paid_on(cell)
    await cell.tell()
    assert await pages(cell) == [CLOSED, ("open", True, True)]
