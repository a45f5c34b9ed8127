"""Open payments are taken to be read again at the times that the domain's schedule says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.polling import SCHEDULE
from infra.postgres.database import Database
from infra.postgres.work import PostgresWorkQueue
from services.provider import open_session
from tests.factories import create_hall
from tests.helpers.polls import next_poll
from tests.helpers.saga import LIMITS
from tests.helpers.till import Till

AGES = [0, 179, 181, 14 * 60, 16 * 60, 6 * 86400, 8 * 86400]
READ_AGAIN = text(
    "SELECT next_poll_at - coalesce(last_read_at, updated_at) FROM payments WHERE id = :id"
)


class Page:
    """A gateway that opens any page."""

    name = "sandbox"

    async def open_session(self, *, key: str, **_: Any) -> Any:
        class Session:
            session_id, checkout_url = f"ses_{key}", "http://pay.test/page"

        return Session


async def opened(engine: AsyncEngine, database: Database) -> UUID:
    till = Till(database, await create_hall(engine))
    input = await till.hold("A1")
    async with till.begin.alone() as tx:
        attempt = await tx.payments.latest_attempt(UUID(input.booking_id))
    assert attempt is not None
    gateways: Any = {"sandbox": Page()}
    opened, _ = await open_session(till.begin, gateways, attempt)
    return opened.id


async def wait_of(engine: AsyncEngine, payment_id: UUID) -> timedelta | None:
    async with engine.connect() as connection:
        wait = await connection.scalar(READ_AGAIN, {"id": payment_id})
    return wait if wait is None else timedelta(seconds=round(wait.total_seconds(), 1))


async def test_the_first_poll_is_thirty_seconds_after_checkout(
    engine: AsyncEngine, database: Database
) -> None:
    payment_id = await opened(engine, database)
    assert await wait_of(engine, payment_id) == SCHEDULE.first == timedelta(seconds=30)
    taken = await PostgresWorkQueue(database, LIMITS).take_polls(1000)
    assert payment_id not in [attempt.id for attempt in taken]


@pytest.mark.parametrize("uncertain", [False, True])
@pytest.mark.parametrize("seconds", AGES)
async def test_the_next_poll_is_when_the_domain_says(
    engine: AsyncEngine, database: Database, seconds: int, uncertain: bool
) -> None:
    payment_id = await opened(engine, database)
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "UPDATE payments SET created_at = now() - make_interval(secs => :age),"
                " next_poll_at = now() - interval '1 year' WHERE id = :id"
            ),
            {"id": payment_id, "age": seconds},
        )
        await connection.execute(
            text(
                "UPDATE bookings SET payment_uncertain = :uncertain"
                " WHERE id = (SELECT booking_id FROM payments WHERE id = :id)"
            ),
            {"id": payment_id, "uncertain": uncertain},
        )
    [attempt] = await PostgresWorkQueue(database, LIMITS).take_polls(1)
    assert attempt.id == payment_id
    told = next_poll(timedelta(seconds=seconds), uncertain=uncertain)
    assert await wait_of(engine, payment_id) == told
