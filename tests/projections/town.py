"""A show whose bookings are written as events, and projectors that catch up with them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy import text

from infra.postgres.database import Database
from readmodel.projections.lag import status
from readmodel.projections.projector import PROJECTIONS, Projector
from tests.helpers.eventually import eventually

PRICE = 1200
NOON = datetime(2026, 12, 4, 11, 30, tzinfo=UTC)
APPEND = """
INSERT INTO events (aggregate_id, sequence, event_type, payload, actor, version, previous_hash,
                    hash, created_at)
VALUES (%s, %s, %s, %s, 'test', 1, '', '', %s)
"""
Happened = tuple[str, dict[str, Any]]
CONFIRMED: Happened = ("BookingConfirmed", {"provider_payment_id": None})
LAPSED: Happened = ("BookingExpired", {"why": "lapsed"})


def released(*labels: str) -> Happened:
    return "SeatReleased", {"labels": list(labels)}


def refunded(amount: int) -> Happened:
    return "RefundSettled", {"number": 1, "refund_id": "r1", "amount": amount}


def append(
    url: str, id_: UUID, events: Sequence[Happened], at: datetime, *, after: int = 0
) -> None:
    """A minute lies between two events."""
    with psycopg.connect(url) as connection:
        for number, (event_type, payload) in enumerate(events, after + 1):
            when = at + timedelta(minutes=number - after - 1)
            connection.execute(APPEND, (id_, number, event_type, Jsonb(payload), when))


def book(
    url: str,
    show_id: UUID,
    *labels: str,
    then: Sequence[Happened] = (),
    fence: int = 1,
    at: datetime = NOON,
) -> UUID:
    """A booking of ``labels`` made at ``at``, held for ten minutes, and what came of it."""
    booking_id = uuid4()
    made = {
        "show_id": str(show_id),
        "currency": "EUR",
        "hold_expires_at": (at + timedelta(minutes=10)).isoformat(),
    }
    seats = [{"label": label, "fence": fence, "amount": PRICE} for label in labels]
    held: list[Happened] = [("ReservationCreated", made), ("SeatLocked", {"seats": seats})]
    append(url, booking_id, [*held, *then], at)
    return booking_id


async def catch_up(database: Database) -> None:
    """Until nothing waits; a transaction elsewhere in the server may hold the horizon back."""
    projector = Projector(database, PROJECTIONS)

    async def is_through() -> bool:
        while await projector.turn():
            pass
        async with database.statements() as session:
            return not any(one.events and one.state == "live" for one in await status(session))

    await eventually(is_through, seconds=30)


async def rows(database: Database, query: str, **values: Any) -> list[Any]:
    async with database.statements() as session:
        return await session.all(text(query), **values)
