"""A price that no card can pay is refused where it is set."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.money import MINOR_DIGITS, payable
from tests.factories import Hall, create_hall

SET_CURRENCY = text("UPDATE shows SET currency = :currency WHERE id = :id")
SET_PRICE = text("UPDATE prices SET amount = :amount WHERE show_id = :id")
ADD_PRICE = text("INSERT INTO prices (show_id, price_class, amount) VALUES (:id, 'box', :amount)")


@pytest.fixture(scope="module")
async def hall(engine: AsyncEngine) -> Hall:
    return await create_hall(engine)


@pytest.mark.parametrize("currency", ["EUR", *MINOR_DIGITS])
@pytest.mark.parametrize("amount", [5010, 5005])
async def test_a_price_is_one_that_can_be_paid(
    engine: AsyncEngine, hall: Hall, currency: str, amount: int
) -> None:
    priced = {"id": hall.show_id, "amount": amount}
    named = {"id": hall.show_id, "currency": currency}
    for statements in (
        [(SET_CURRENCY, named), (SET_PRICE, priced)],
        [(SET_CURRENCY, named), (ADD_PRICE, priced)],
        [(SET_PRICE, priced), (SET_CURRENCY, named)],
    ):
        async with engine.connect() as connection:
            *first, (last, values) = statements
            for statement, given in first:
                await connection.execute(statement, given)
            if payable(amount, currency) == amount:
                await connection.execute(last, values)
            else:
                with pytest.raises(IntegrityError, match="a price must end in 0"):
                    await connection.execute(last, values)
            await connection.rollback()
