"""A reconciliation marks what it has compared, and waits for no payment that is being recorded."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.money import Money
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

    async def marked() -> set[str]:
        async with engine.connect() as connection:
            return set(await connection.scalars(MARKED, {"those": [first, second]}))

    async with engine.begin() as recording:
        await recording.execute(LOCK, {"it": second})
        # Waiting here, it would hold the first: whoever records both, the second before the first,
        # could go on no more.
        async with asyncio.timeout(20):
            await books.looked_at("sandbox", [first, second])
        assert await marked() == {first}
    await books.looked_at("sandbox", [first, second])
    assert await marked() == {first, second}
