"""Reserve when the booking's process answers late, twice or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from activities.booking import DatabaseBookingActivities
from domain.booking import BookingState, CloseReason
from domain.errors import Conflict, Invalid, Unavailable
from domain.limits import PRECLAIM_LEASE_SECONDS, REQUEST_TTL_SECONDS
from domain.steps import BookingInput, CloseStep, HoldOutcome
from infra.postgres.database import Database
from infra.postgres.uow import PostgresUnitOfWork
from infra.redis.seat_claims import LOADED_SECONDS, RedisSeatPreclaims
from infra.temporal import TemporalBookingProcess
from services import booking
from services.process import ProcessAway, ProcessOver, ProcessUnknown
from services.reserve import Reserver
from tests.factories import Hall
from tests.helpers.eventually import eventually
from tests.helpers.hall import Hall as Marks
from tests.helpers.saga import Saga
from tests.race.buyers import Ledger, Office

Answer = Callable[[BookingInput], Awaitable[HoldOutcome]]
WAITS = """
SELECT 1 FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
  AND query LIKE '%UPDATE booking_requests SET outcome = ''rejected''%'
"""
GROW_OLD = text(
    "UPDATE booking_requests SET created_at = clock_timestamp() - make_interval(secs => :seconds)"
    " WHERE id = :id"
)
FREE = ("free", None)


class NeverHeld(Exception):
    """The hold's transaction is undone."""


class SlowToRefuse(DatabaseBookingActivities):
    """Finds seats taken, and ``meanwhile`` comes before the refusal is written."""

    meanwhile: Callable[[], Awaitable[None]]

    async def _refuse_taken(self, input: BookingInput, labels: tuple[str, ...]) -> HoldOutcome:
        await self.meanwhile()
        return await super()._refuse_taken(input, labels)


class AnsweringProcess(TemporalBookingProcess):
    """Answers a reserve as the test says."""

    def __init__(self, client: Client, answer: Answer) -> None:
        super().__init__(client)
        self._reply = answer

    async def reserve(self, input: BookingInput) -> HoldOutcome:
        return await self._reply(input)


def raising(error: Exception) -> Answer:
    async def answer(_: BookingInput) -> HoldOutcome:
        raise error

    return answer


class Desk:
    """Reserves on real servers with a process that answers as told."""

    def __init__(self, database: Database, preclaims: RedisSeatPreclaims, temporal: Client) -> None:
        self._database, self._preclaims, self._temporal = database, preclaims, temporal

    async def reserve(self, input: BookingInput, answer: Answer) -> BookingState:
        return await self._reserver(answer).reserve(input, key_hash=None, body_hash=b"body")

    async def resume(self, input: BookingInput, answer: Answer) -> BookingState:
        """As a repeat of the same request does."""
        reserver, id = self._reserver(answer), UUID(input.booking_id)
        earlier = await reserver.earlier([id])
        return await reserver.resume(input, earlier[id], body_hash=b"body")

    def _reserver(self, answer: Answer) -> Reserver:
        process = AnsweringProcess(self._temporal, answer)
        return Reserver(PostgresUnitOfWork(self._database), self._preclaims, process)


@pytest.fixture
def desk(crowded: Database, preclaims: RedisSeatPreclaims, temporal: Client) -> Desk:
    return Desk(crowded, preclaims, temporal)


@pytest.fixture
def told(crowded: Database, preclaims: RedisSeatPreclaims) -> Office:
    """Its steps tell Redis, as the worker's do."""
    return Office(PostgresUnitOfWork(crowded), preclaims)


@pytest.fixture
def marks(hall: Hall, redis: Redis) -> Marks:
    return Marks(redis, hall.show_id)


async def outcome_of(ledger: Ledger, input: BookingInput) -> tuple[str | None, str | None]:
    """The request's outcome and the code of its refusal."""
    (row,) = await ledger.rows(
        "SELECT outcome, refusal->>'code' FROM booking_requests WHERE id = :id",
        id=UUID(input.booking_id),
    )
    return row[0], row[1]


async def test_an_unknown_outcome_is_pending_and_keeps_the_seats(
    desk: Desk, told: Office, ledger: Ledger, hall: Hall, marks: Marks
) -> None:
    input, other = hall.input("A1", "A2"), hall.input("A2")
    assert await desk.reserve(input, raising(ProcessUnknown())) is BookingState.PENDING
    assert await outcome_of(ledger, input) == (None, None)
    for label in ("A1", "A2"):
        assert await marks.mark(label) == input.booking_id
        assert 0 < await marks.ttl_seconds(label) <= PRECLAIM_LEASE_SECONDS
    with pytest.raises(Conflict) as lost:
        await desk.reserve(other, told.hold)
    assert lost.value.data == {"seats": ["A2"]}
    late = await told.hold(input)
    assert late.state is BookingState.HELD
    assert await desk.reserve(input, raising(AssertionError("asked again"))) is BookingState.HELD


async def test_of_two_choices_under_one_key_the_one_that_is_written_down_counts(
    desk: Desk, hall: Hall, marks: Marks
) -> None:
    first = hall.input("A1", "A2")
    second = replace(hall.input("A2", "A3"), booking_id=first.booking_id)
    await desk.reserve(first, raising(ProcessUnknown()))
    asked = list[BookingInput]()

    async def answer(input: BookingInput) -> HoldOutcome:
        asked.append(input)
        raise ProcessUnknown

    assert await desk.reserve(second, answer) is BookingState.PENDING
    assert [input.seats for input in asked] == [first.seats]
    found = [await marks.mark(label) for label in ("A1", "A2", "A3")]
    assert found == [first.booking_id, first.booking_id, None]


async def test_a_repeat_that_is_refused_refuses_what_is_still_on_its_way(
    desk: Desk, told: Office, ledger: Ledger, hall: Hall, marks: Marks
) -> None:
    """Else who was told to choose other seats could find these booked as well."""
    input, rival = hall.input("A1"), hall.input("A1")
    await desk.reserve(input, raising(ProcessUnknown()))
    await marks.expire("A1")
    assert await desk.reserve(rival, told.hold) is BookingState.HELD
    with pytest.raises(Conflict) as refused:
        await desk.resume(input, told.hold)
    assert refused.value.data == {"seats": ["A1"]}
    assert await outcome_of(ledger, input) == ("rejected", "seats_unavailable")
    await told.cancel(rival)
    assert (await told.hold(input)).state is BookingState.REJECTED
    assert list(await ledger.bookings(hall.show_id)) == [rival.booking_id]


async def test_without_redis_ones_own_seats_are_not_in_ones_way(
    crowded: Database,
    dead_preclaims: RedisSeatPreclaims,
    temporal: Client,
    office: Office,
    hall: Hall,
) -> None:
    desk, input = Desk(crowded, dead_preclaims, temporal), hall.input("A1")
    assert await desk.reserve(input, office.hold) is BookingState.HELD
    assert await desk.reserve(input, raising(AssertionError("asked again"))) is BookingState.HELD


async def test_a_process_that_is_away_refuses_the_late_hold_too(
    desk: Desk, told: Office, ledger: Ledger, hall: Hall, marks: Marks
) -> None:
    input = hall.input("A1")
    with pytest.raises(Unavailable):
        await desk.reserve(input, raising(ProcessAway()))
    assert await outcome_of(ledger, input) == ("rejected", "unavailable")
    assert await marks.mark("A1") is None
    late = await told.hold(input)
    assert (late.state, late.code) == (BookingState.REJECTED, "unavailable")
    assert await ledger.bookings(hall.show_id) == {}
    assert await ledger.claims(hall.show_id) == {}


@pytest.mark.parametrize("known", [True, False])
async def test_a_hold_whose_request_is_too_old_or_unknown_is_refused(
    engine: AsyncEngine, office: Office, ledger: Ledger, hall: Hall, known: bool
) -> None:
    """Its seats may be promised to another by now, and whoever swept the request has refused it."""
    input = hall.input("A1")
    if known:
        await office.request([input])
        async with engine.begin() as connection:
            old = {"id": UUID(input.booking_id), "seconds": REQUEST_TTL_SECONDS + 1}
            await connection.execute(GROW_OLD, old)
    outcome = await office.hold(input)
    assert (outcome.state, outcome.code) == (BookingState.REJECTED, "unavailable")
    assert await ledger.bookings(hall.show_id) == {}
    assert await ledger.claims(hall.show_id) == {}


async def test_a_hold_that_was_sooner_than_the_bad_news_counts(
    desk: Desk, told: Office, ledger: Ledger, hall: Hall, marks: Marks
) -> None:
    async def held_but_away(input: BookingInput) -> HoldOutcome:
        await told.hold(input)
        raise ProcessAway("the answer was lost")

    input = hall.input("A1")
    assert await desk.reserve(input, held_but_away) is BookingState.HELD
    assert await outcome_of(ledger, input) == ("held", None)
    assert await marks.mark("A1") == input.booking_id


@pytest.mark.parametrize("commits", [True, False])
async def test_the_undo_of_a_hold_ends_the_hold_that_was_just_being_committed(
    office: Office, ledger: Ledger, hall: Hall, commits: bool
) -> None:
    """It finds no booking, and its refusal then waits for the hold that is under way."""
    input = hall.input("A1")
    await office.request([input])
    step = CloseStep(input.booking_id, CloseReason.FAILED, actor="system")

    async def waits() -> bool:
        return bool(await ledger.rows(WAITS))

    with suppress(NeverHeld):
        async with office.begin() as straggler:
            await booking.hold(straggler, input)
            undoing = asyncio.create_task(office.steps.close_hold(step))
            await eventually(waits, seconds=2, message="the undo did not meet the hold")
            if not commits:
                raise NeverHeld
    assert (await undoing).state == ("expired" if commits else "rejected")
    told = ("held", None) if commits else ("rejected", "unavailable")
    assert await outcome_of(ledger, input) == told
    await ledger.require_whole_orders(hall.show_id)
    assert (await ledger.claims(hall.show_id)).get("A1", FREE) == FREE


async def test_a_refusal_that_came_after_the_hold_answers_with_the_hold(
    office: Office, preclaims: RedisSeatPreclaims, ledger: Ledger, hall: Hall, marks: Marks
) -> None:
    """The step ran twice at once, and between the two the rival let the seat go."""
    rival, input = await office.held(hall.input("A1")), hall.input("A1")
    await office.request([input])

    async def meanwhile() -> None:
        await office.cancel(rival)
        assert (await office.hold(input)).state is BookingState.HELD

    slow = SlowToRefuse(office.begin, preclaims)
    slow.meanwhile = meanwhile
    outcome = await slow.hold_seats(input)
    assert (outcome.state, outcome.code) == (BookingState.HELD, None)
    assert outcome.seconds_left > 0
    assert await outcome_of(ledger, input) == ("held", None)
    assert await marks.mark("A1") == input.booking_id


async def test_a_process_that_is_over_answers_by_what_postgresql_knows(
    desk: Desk, told: Office, hall: Hall
) -> None:
    async def refused_and_over(input: BookingInput) -> HoldOutcome:
        await told.hold(input)
        raise ProcessOver

    no_seat = hall.input("Z9")
    with pytest.raises(Invalid, match="sells no seat Z9") as refused:
        await desk.reserve(no_seat, refused_and_over)
    assert refused.value.code == "unknown_seat"
    nothing_known = hall.input("A1")
    assert await desk.reserve(nothing_known, raising(ProcessOver())) is BookingState.PENDING


async def test_a_repeat_meets_the_first_refusal_even_when_the_seat_is_free_again(
    desk: Desk, told: Office, office: Office, ledger: Ledger, hall: Hall, marks: Marks
) -> None:
    """Redis was not told of the other hold, so PostgreSQL has to refuse."""
    await marks.redis.flushdb()
    other, input = hall.input("A1"), hall.input("A1", "A2")
    await desk.reserve(hall.input("A5"), raising(ProcessUnknown()))  # loads the show
    await office.held(other)
    with pytest.raises(Conflict) as first:
        await desk.reserve(input, told.hold)
    assert first.value.data == {"seats": ["A1"]}
    assert await marks.mark("A1") == other.booking_id, "the refusal corrects Redis"
    assert await marks.mark("A2") is None
    await told.cancel(other)
    with pytest.raises(Conflict) as again:
        await desk.reserve(input, raising(AssertionError("asked again")))
    assert again.value.data == first.value.data
    assert await marks.mark("A1") is None
    assert list(await ledger.bookings(hall.show_id)) == [other.booking_id]


async def test_a_seat_whose_sale_was_told_after_its_refund_comes_on_sale_again(
    desk: Desk, told: Office, preclaims: RedisSeatPreclaims, hall: Hall, marks: Marks
) -> None:
    """A worker that slept between its commit and telling Redis, through everything since."""
    slept = hall.input("A1")
    assert await desk.reserve(slept, told.hold) is BookingState.HELD
    await told.cancel(slept)
    await preclaims.sell(hall.show_id, ["A1"], UUID(slept.booking_id))
    for _ in range(2):
        with pytest.raises(Conflict):
            await desk.reserve(hall.input("A1"), told.hold)
        await marks.later(LOADED_SECONDS)
    assert await desk.reserve(hall.input("A1"), told.hold) is BookingState.HELD


async def test_reserve_repeated_through_temporal_meets_the_same_booking(
    saga: Saga, ledger: Ledger, hall: Hall
) -> None:
    input = hall.input("A1", "A2")
    async with saga.worker():
        first = await saga.reserve(input)
        answers = [await saga.reserve(input) for _ in range(3)]
    assert {first, *answers} == {"held"}
    assert await ledger.bookings(hall.show_id) == {input.booking_id: ("held", 2, 2)}


async def test_what_is_taken_is_the_same_by_redis_and_by_postgresql(
    saga: Saga, office: Office, dead_preclaims: RedisSeatPreclaims, hall: Hall
) -> None:
    """Best available picks from this; a hold that lapsed unpaid counts as free."""
    await office.held(hall.input("A2", "A3"))
    await office.sell(await office.held(hall.input("A5")))
    await office.held(hall.input("A7", hold_seconds=0))
    blind = Reserver(office.begin, dead_preclaims, saga.process)
    for reserver in (saga.reserver, blind):
        assert await reserver.taken(hall.show_id, hall.labels) == {"A2", "A3", "A5"}
