"""The seats of a show as they were at an instant."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.postgres.database import Database
from readmodel import past
from tests.factories import create_hall
from tests.projections.town import CONFIRMED, LAPSED, NOON, book, released, rows

# The past is asked for by way of the bookings' rows.
ROW = """
INSERT INTO bookings (id, user_id, show_id, state, currency, total_amount, seat_count,
                      hold_expires_at, hold_max_expires_at, created_at)
VALUES (:id, :user_id, :show_id, 'expired', 'EUR', 0, 1, now(), now(), :at) RETURNING 1
"""


async def seats(database: Database, show_id: UUID, at: datetime | None) -> dict[str, str]:
    async with database.statements() as session:
        found = await past.availability(session, show_id, at)
    assert found is not None
    assert found["bookings"].keys() == found["seats"].keys()
    told: dict[str, str] = found["seats"]
    return told


def minutes(count: float) -> datetime:
    return NOON - timedelta(days=30) + timedelta(minutes=count)


async def test_seats_are_as_they_were(
    url: str, own_database: Database, own_engine: AsyncEngine
) -> None:
    hall = await create_hall(own_engine)
    show = hall.show_id
    lapsed = book(url, show, "A1", "A2", then=[LAPSED, released("A1", "A2")], at=minutes(0))
    taken_after = book(url, show, "A1", then=[CONFIRMED], fence=3, at=minutes(20))
    left_alone = book(url, show, "A3", at=minutes(21))
    for id_ in (lapsed, taken_after, left_alone):
        values = {"id": id_, "user_id": hall.user_id, "show_id": show}
        await rows(own_database, ROW, at=minutes(0), **values)
    assert await seats(own_database, show, minutes(-1)) == {}
    assert await seats(own_database, show, minutes(1)) == {"A1": "held", "A2": "held"}
    assert await seats(own_database, show, minutes(3.5)) == {}
    assert await seats(own_database, show, minutes(21)) == {"A1": "held"}
    assert await seats(own_database, show, minutes(25)) == {"A1": "sold", "A3": "held"}
    # Nobody wrote down the end of the last hold: the clock ended it.
    assert await seats(own_database, show, minutes(31)) == {"A1": "sold"}
    assert await seats(own_database, show, None) == {"A1": "sold"}


async def test_the_future_is_taken_for_now_and_no_show_has_no_past(
    own_database: Database, own_engine: AsyncEngine
) -> None:
    hall = await create_hall(own_engine)
    assert await seats(own_database, hall.show_id, NOON + timedelta(days=9999)) == {}
    async with own_database.statements() as session:
        assert await past.availability(session, uuid4(), None) is None


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("2026-01-04T10:15:00+01:00", "2026-01-04T09:15:00.000Z"),
        ("2026-01-04T10:15:00Z", "2026-01-04T10:15:00.000Z"),
        ("0001-01-01T00:00:00+14:00", "1970-01-01T00:00:00.000Z"),
    ],
)
async def test_the_instant_is_told_in_utc_whatever_zone_it_was_asked_in(
    own_database: Database, own_engine: AsyncEngine, asked: str, told: str
) -> None:
    hall = await create_hall(own_engine)
    async with own_database.statements() as session:
        found = await past.availability(session, hall.show_id, datetime.fromisoformat(asked))
    assert found is not None
    assert found["at"] == told
