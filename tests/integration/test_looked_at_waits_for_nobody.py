"""A reconciliation marks what it has compared as it stands, and waits for no payment."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.money import Money
from domain.reconcile import Booked
from infra.postgres.database import Database
from infra.postgres.reconcile import PostgresProviderBooks
from tests.factories import PRICE, create_hall
from tests.helpers.till import Till

MARKED = text(
    "SELECT reference FROM provider_payments"
    " WHERE reference = ANY(:those) AND reconciled_at IS NOT NULL"
)
LOCK = text("SELECT FROM provider_payments WHERE reference = :it FOR UPDATE")


@pytest.fixture
async def till(engine: AsyncEngine, database: Database) -> Till:
    return Till(database, await create_hall(engine))


async def test_what_is_being_recorded_is_left_for_the_next_run(
    till: Till, engine: AsyncEngine, database: Database
) -> None:
    input = await till.hold("A1")
    first, second = f"pay_{uuid4()}", f"pay_{uuid4()}"
    for reference in (first, second):
        await till.learn(input, reference, Money(PRICE, "EUR"))
    books = PostgresProviderBooks(database)
    read = list((await books.booked("sandbox", [first, second])).values())
    async with engine.begin() as recording:
        await recording.execute(LOCK, {"it": second})
        # Waiting here, it would hold the first: whoever records both, the second before the first,
        # could go on no more.
        async with asyncio.timeout(20):
            await books.looked_at(read)
        assert await marked(engine, first, second) == {first}
    await books.looked_at(read)
    assert await marked(engine, first, second) == {first, second}


async def test_news_that_came_after_the_comparison_has_it_looked_at_again(
    till: Till, engine: AsyncEngine, database: Database
) -> None:
    """The provider took back a refund by hand: only a look at its list can say so."""
    input, reference = await till.hold("A1"), f"pay_{uuid4()}"
    paid = Money(PRICE, "EUR")
    await till.learn(input, reference, paid, refunded=PRICE)
    books = PostgresProviderBooks(database)

    async def read() -> list[Booked]:
        return list((await books.booked("sandbox", [reference])).values())

    await books.looked_at(await read())
    assert await marked(engine, reference) == {reference}
    compared = await read()
    await till.learn(input, reference, paid, refunded=0)
    await books.looked_at(compared)
    assert await marked(engine, reference) == set()
    await books.looked_at(await read())
    assert await marked(engine, reference) == {reference}


async def marked(engine: AsyncEngine, *references: str) -> set[str]:
    async with engine.connect() as connection:
        return set(await connection.scalars(MARKED, {"those": list(references)}))
