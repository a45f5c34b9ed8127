"""A lapsed hold is taken over whole by whoever asks next, unless money may be on its way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.booking import Booking
from domain.events import Event, EventType
from domain.steps import BookingInput
from infra.postgres.booking import PostgresBookings
from infra.postgres.database import Database, UnexpectedCount
from infra.postgres.uow import PostgresTransaction, PostgresUnitOfWork
from infra.redis.seat_claims import RedisSeatPreclaims
from services.ports import HoldContext
from tests.factories import Hall
from tests.race.buyers import Ledger, Office, create_users

HELD = ["ReservationCreated", "SeatLocked"]


@dataclass
class Two:
    """The first buyer holds A1 and A2; the second wants A2 and A3."""

    first: BookingInput
    second: BookingInput


@pytest.fixture
async def two(engine: AsyncEngine, office: Office, hall: Hall) -> Two:
    users = await create_users(engine, 2)
    first = await office.held(hall.input("A1", "A2", user_id=users[0]))
    return Two(first, hall.input("A2", "A3", user_id=users[1]))


async def let_lapse(engine: AsyncEngine, input: BookingInput) -> None:
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE bookings SET hold_expires_at = clock_timestamp() WHERE id = :id"),
            {"id": UUID(input.booking_id)},
        )


async def test_a_lapsed_hold_without_a_pay_page_is_taken_over_whole(
    engine: AsyncEngine, office: Office, ledger: Ledger, hall: Hall, two: Two
) -> None:
    await let_lapse(engine, two.first)
    await office.held(two.second)
    claims = await ledger.claims(hall.show_id)
    assert claims == {
        "A1": ("free", None),
        "A2": ("held", two.second.booking_id),
        "A3": ("held", two.second.booking_id),
    }
    assert (await ledger.bookings(hall.show_id))[two.first.booking_id] == ("expired", 2, 0)
    ended = ["BookingExpired", "SeatReleased", "NotificationQueued"]
    assert await ledger.events(two.first) == [*HELD, *ended]
    assert await ledger.events(two.second) == HELD


async def test_the_takeover_is_one_transaction_with_the_new_hold(
    engine: AsyncEngine, office: Office, ledger: Ledger, hall: Hall, two: Two
) -> None:
    """A hold that fails on its last seat leaves the lapsed hold as it was."""
    (third,) = await create_users(engine, 1)
    await office.held(hall.input("A4", user_id=third))
    await let_lapse(engine, two.first)
    wants_too_much = replace(two.second, seats=hall.input("A2", "A4").seats)
    (outcome,) = await office.race([wants_too_much])
    assert (outcome.code, outcome.data) == ("seats_unavailable", {"seats": ["A4"]})
    assert (await ledger.bookings(hall.show_id))[two.first.booking_id] == ("held", 2, 2)
    assert await ledger.events(two.first) == HELD


async def test_a_hold_that_has_time_left_is_not_taken_over(office: Office, two: Two) -> None:
    (outcome,) = await office.race([two.second])
    assert (outcome.code, outcome.data) == ("seats_unavailable", {"seats": ["A2"]})


async def test_a_lapsed_hold_with_a_pay_page_is_not_taken_over(
    engine: AsyncEngine, office: Office, ledger: Ledger, hall: Hall, two: Two
) -> None:
    await office.open_page(two.first)
    await let_lapse(engine, two.first)
    (outcome,) = await office.race([two.second])
    assert (outcome.code, outcome.data) == ("seats_unavailable", {"seats": ["A2"]})
    assert (await ledger.bookings(hall.show_id))[two.first.booking_id] == ("held", 2, 2)


async def test_two_takeovers_of_one_hold_have_one_winner(
    engine: AsyncEngine, office: Office, ledger: Ledger, hall: Hall, two: Two
) -> None:
    await let_lapse(engine, two.first)
    users = await create_users(engine, 20)
    orders = [hall.input("A2", user_id=user) for user in users]
    outcomes = await office.race(orders)
    assert [outcome.code for outcome in outcomes].count(None) == 1
    assert (await ledger.events(two.first)).count("BookingExpired") == 1
    await ledger.require_whole_orders(hall.show_id)


@pytest.fixture
async def lost(engine: AsyncEngine, office: Office, hall: Hall, two: Two) -> Two:
    """The second buyer has taken over just the seats that the first had."""
    await let_lapse(engine, two.first)
    second = await office.held(replace(two.second, seats=two.first.seats))
    return replace(two, second=second)


async def test_who_lost_its_seats_cannot_free_them(
    office: Office, ledger: Ledger, hall: Hall, lost: Two
) -> None:
    """A straggler of the first booking: its statement must not reach another's claims."""
    with pytest.raises(UnexpectedCount):
        async with office.begin() as tx:
            await tx.claims.free(UUID(lost.first.booking_id), count=2)
    theirs = ("held", lost.second.booking_id)
    assert await ledger.claims(hall.show_id) == {"A1": theirs, "A2": theirs}


async def test_who_lost_its_seats_cannot_sell_them(
    office: Office, ledger: Ledger, hall: Hall, lost: Two
) -> None:
    with pytest.raises(UnexpectedCount):
        async with office.begin() as tx:
            tx.claims.sell(UUID(lost.first.booking_id), count=2)
    theirs = ("held", lost.second.booking_id)
    assert await ledger.claims(hall.show_id) == {"A1": theirs, "A2": theirs}


async def test_a_hold_that_has_lost_a_seat_is_not_ended_over_it(
    engine: AsyncEngine, office: Office, ledger: Ledger, hall: Hall, two: Two
) -> None:
    """Whoever has that seat, and why, is for a person to find out: nothing is written over it."""
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "UPDATE seat_claims SET state = 'free', booking_id = NULL"
                " WHERE booking_id = :id AND label = 'A2'"
            ),
            {"id": UUID(two.first.booking_id)},
        )
    with pytest.raises(UnexpectedCount, match="1 seats of booking .* freed, not 2"):
        await office.cancel(two.first)
    assert (await ledger.claims(hall.show_id))["A1"] == ("held", two.first.booking_id)
    assert await ledger.events(two.first) == HELD


async def test_a_step_on_a_booking_that_moved_on_writes_nothing(
    office: Office, ledger: Ledger, lost: Two
) -> None:
    before = await ledger.events(lost.second)
    async with office.begin() as tx:
        as_it_was = await tx.bookings.lock(UUID(lost.second.booking_id))
    assert as_it_was is not None
    stale = replace(as_it_was, version=as_it_was.version - 1)
    news = [Event(EventType.BOOKING_EXPIRING, {"why": "lapsed", "note": ""})]
    with pytest.raises(UnexpectedCount):
        async with office.begin() as tx:
            tx.bookings.record(stale, news, actor="system", request_id=None)
    assert await ledger.events(lost.second) == before
    async with office.begin() as tx:
        tx.bookings.record(as_it_was, news, actor="system", request_id=None)
    assert await ledger.events(lost.second) == [*before, "BookingExpiring"]


class ClockAloneBookings(PostgresBookings):
    """Judges a hold by the clock alone, as if nobody could be paying just now."""

    async def hold_context(self, input: BookingInput) -> HoldContext:
        return replace(await super().hold_context(input), has_lapsed_hold=True)

    async def lock_lapsed(self, show_id: UUID, labels: Sequence[str]) -> list[Booking]:
        found = await self._session.all(
            text(
                "SELECT id FROM bookings JOIN seat_claims ON booking_id = id"
                " WHERE seat_claims.show_id = :show AND label = ANY(:labels)"
                " AND bookings.state = 'held' AND hold_expires_at <= clock_timestamp()"
            ),
            show=show_id,
            labels=list(labels),
        )
        return [booking for row in set(found) if (booking := await self.lock(row.id))]


class ClockAloneUnitOfWork(PostgresUnitOfWork):
    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[PostgresTransaction]:
        async with super().__call__() as tx:
            tx.bookings = ClockAloneBookings(tx.session)
            yield tx


async def test_without_the_guard_a_buyer_would_pay_for_a_seat_that_is_gone(
    engine: AsyncEngine,
    crowded: Database,
    dead_preclaims: RedisSeatPreclaims,
    office: Office,
    ledger: Ledger,
    hall: Hall,
    two: Two,
) -> None:
    """Negative control: the guard, and nothing else, keeps the seats of who is paying."""
    await office.open_page(two.first)
    await let_lapse(engine, two.first)
    await Office(ClockAloneUnitOfWork(crowded), dead_preclaims).held(two.second)
    assert (await ledger.bookings(hall.show_id))[two.first.booking_id] == ("expired", 2, 0)
    open_pages = await ledger.rows(
        "SELECT session_open FROM payments WHERE booking_id = :id", id=UUID(two.first.booking_id)
    )
    assert open_pages == [(True,)]
