"""A version of the availability names one state of the seats, in whatever process it is read."""

from __future__ import annotations

import asyncio

from sqlalchemy.ext.asyncio import AsyncEngine

from infra.postgres.database import Database
from infra.settings import Settings
from readmodel import catalogue
from tests.factories import create_hall
from tests.helpers.catalogue import run

SEATS = 4000
# In the order of the labels and of the rows the holds end as mixed as buyers make them.
HOLDS = """
WITH made AS (
    INSERT INTO bookings (id, user_id, show_id, state, currency, total_amount, seat_count,
                          hold_expires_at, hold_max_expires_at)
    SELECT gen_random_uuid(), :user_id, :show_id, 'held', 'EUR', 0, 1, at, at
    FROM (SELECT clock_timestamp() + make_interval(secs => 1 + random() * 1.5) AS at
          FROM generate_series(1, :seats)) AS hold
    RETURNING id
)
INSERT INTO seat_claims (show_id, label, state, booking_id)
SELECT :show_id, 'A' || row_number() OVER (), 'held', id FROM made
"""


async def test_holds_that_end_while_they_are_read_make_no_two_states_of_one_version(
    settings: Settings, engine: AsyncEngine
) -> None:
    hall = await create_hall(engine, seats=SEATS)
    await run(engine, HOLDS, user_id=hall.user_id, show_id=hall.show_id, seats=SEATS)
    database = Database(settings)
    states: dict[int, set[frozenset[str]]] = {}

    async def reader() -> None:
        async with database.statements() as session:
            while True:
                reading = await catalogue.availability(session, hall.show_id)
                assert reading is not None
                held = frozenset(reading.content["seats"])
                states.setdefault(reading.content["version"], set()).add(held)
                if not held:
                    return

    try:
        await asyncio.gather(*(reader() for _ in range(4)))
    finally:
        await database.close()
    assert len(states) > 3, "they were read while they ended"
    assert max(map(len, states.values())) == 1
