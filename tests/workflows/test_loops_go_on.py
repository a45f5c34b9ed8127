"""One row that nothing can handle keeps no other from its turn, and is told of all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.booking import CloseReason
from domain.errors import Conflict
from domain.money import Money
from domain.payment import ProviderSession
from domain.steps import BookingInput
from infra.gateways.assembly import Gateways
from infra.gateways.sandbox import SandboxGateway
from infra.postgres.database import Database
from infra.redis.seat_claims import RedisSeatPreclaims
from infra.temporal import TemporalBookingProcess
from infra.temporal_shows import TemporalShowProcess
from loops.payment_poll import PaymentPollLoop
from loops.reaper import ReaperLoop
from loops.show_cancel import ShowCancelLoop
from services.payment_news import PaymentNews
from tests.factories import PRICE, Hall, create_hall
from tests.helpers.saga import Saga
from tests.helpers.till import Till
from tests.sandbox.process import Sandbox
from tests.workflows.test_booking_paths import pay


class Balky(TemporalBookingProcess):
    """Notes who is to go on, and breaks for those named in ``bad``."""

    def __init__(self, *bad: str) -> None:
        self.bad, self.told = bad, set[str]()

    def _note(self, whom: str) -> None:
        if whom in self.bad:
            raise RuntimeError(f"{whom} is bad")
        self.told.add(whom)

    async def ensure_running(self, input: BookingInput) -> None:
        self._note(input.booking_id)

    async def payment_settled(self, booking_id: UUID, *_: Any, **__: Any) -> None:
        self._note(str(booking_id))

    async def send_money_back(self, provider_payment_id: str, request_id: str | None) -> None:
        self._note(provider_payment_id)


class BalkyShows(TemporalShowProcess):
    def __init__(self, bad: UUID) -> None:
        self.bad, self.told = bad, set[UUID]()

    async def cancel_show(self, show_id: UUID, *_: Any, **__: Any) -> None:
        if show_id == self.bad:
            raise RuntimeError(f"{show_id} is bad")
        self.told.add(show_id)


async def long_ago(saga: Saga, statement: str, **values: Any) -> None:
    """Let it lie there longer than anything of another test."""
    async with saga.engine.begin() as connection:
        done = await connection.execute(text(statement), values)
    assert done.rowcount == 1


async def overdue(saga: Saga, till: Till, label: str) -> BookingInput:
    input = await till.hold(label)
    past = "UPDATE bookings SET hold_expires_at = now() - interval '9 days' WHERE id = :id"
    await long_ago(saga, past, id=UUID(input.booking_id))
    return input


async def untold(saga: Saga, till: Till, label: str) -> BookingInput:
    """Captured, and its booking's process has not heard."""
    input = await till.hold(label)
    recorded = await till.learn(input, f"pay_{uuid4()}", Money(PRICE, "EUR"))
    past = (
        "UPDATE provider_payments SET created_at = now() - interval '9 days',"
        " updated_at = now() - interval '9 days' WHERE id = :id"
    )
    await long_ago(saga, past, id=recorded.confirms)
    return input


async def test_the_reaper_goes_on_past_what_it_cannot_handle(
    saga: Saga, hall: Hall, redis: Redis, database: Database
) -> None:
    till = Till(database, hall)
    ended = await till.hold("A1")
    await till.lapse(ended)
    late = await till.learn(ended, f"pay_{uuid4()}", Money(PRICE, "EUR"))
    past = (
        "UPDATE refunds SET created_at = now() - interval '9 days' WHERE provider_payment_id = :id"
    )
    await long_ago(saga, past, id=late.refunds)
    holds = [await overdue(saga, till, label) for label in ("A2", "A3")]
    paid = await untold(saga, till, "A4")
    process = Balky(holds[0].booking_id, paid.booking_id)
    preclaims = RedisSeatPreclaims(redis)
    news = PaymentNews(till.begin, saga.gateways, process, saga.work, preclaims)
    with pytest.raises(RuntimeError, match=f"{holds[0].booking_id} is bad"):
        await ReaperLoop(saga.work, process, news).one_pass()
    assert {holds[1].booking_id, str(late.refunds)} <= process.told
    for input in (*holds, paid):
        await till.lapse(input, CloseReason.CANCELLED)


async def test_a_batch_that_stays_where_it_is_keeps_nothing_behind_it(
    saga: Saga, hall: Hall, redis: Redis, database: Database
) -> None:
    """The negative control forgets how far it came, and never gets past the first batch."""
    till = Till(database, hall)
    stuck, behind = [await overdue(saga, till, label) for label in ("A2", "A3")]
    process = Balky()
    news = PaymentNews(till.begin, saga.gateways, process, saga.work, RedisSeatPreclaims(redis))
    for _ in range(2):
        await ReaperLoop(saga.work, process, news, batch=1).one_pass()
    assert stuck.booking_id in process.told
    assert behind.booking_id not in process.told
    reaper = ReaperLoop(saga.work, process, news, batch=1)
    for _ in range(2):
        await reaper.one_pass()
    assert behind.booking_id in process.told
    for input in (stuck, behind):
        await till.lapse(input, CloseReason.CANCELLED)


@asynccontextmanager
async def called_off(saga: Saga, engine: AsyncEngine) -> AsyncIterator[list[UUID]]:
    """Two shows, the oldest first, whose cancellation is on record and nowhere else."""
    shows = [(await create_hall(engine)).show_id for _ in range(2)]
    for days, show_id in zip((10, 9), shows, strict=True):
        await long_ago(
            saga,
            "INSERT INTO show_cancellations (show_id, reason, actor, plan, requested_at)"
            " VALUES (:id, 'fire', 'test', '{}', now() - make_interval(days => :days))",
            id=show_id,
            days=days,
        )
    yield shows
    for show_id in shows:
        await long_ago(saga, "DELETE FROM show_cancellations WHERE show_id = :id", id=show_id)


async def test_a_show_whose_cancellation_cannot_start_keeps_no_other(
    saga: Saga, engine: AsyncEngine
) -> None:
    async with called_off(saga, engine) as shows:
        process = BalkyShows(shows[0])
        with pytest.raises(RuntimeError, match=f"{shows[0]} is bad"):
            await ShowCancelLoop(saga.work, process).one_pass()
        assert shows[1] in process.told


async def test_shows_that_are_never_done_with_keep_none_behind_them(
    saga: Saga, engine: AsyncEngine
) -> None:
    """The negative control forgets how far it came."""
    async with called_off(saga, engine) as shows:
        process = BalkyShows(uuid4())
        for _ in range(2):
            await ShowCancelLoop(saga.work, process, batch=1).one_pass()
        assert process.told == {shows[0]}
        loop = ShowCancelLoop(saga.work, process, batch=1)
        for _ in range(2):
            await loop.one_pass()
        assert process.told == set(shows)


class Choosy(SandboxGateway):
    """Answers as the sandbox does, save for the pages that it has an error for."""

    def __init__(self, base_url: str, errors: dict[str | None, Exception]) -> None:
        super().__init__(base_url)
        self._errors = errors

    async def read_session(self, session_id: str) -> ProviderSession:
        if error := self._errors.get(session_id):
            raise error
        return await super().read_session(session_id)


@pytest.mark.parametrize(
    ("error", "is_told"),
    [(Conflict("No.", code="provider_refused"), False), (RuntimeError("a bug"), True)],
    ids=["refused", "broken"],
)
@pytest.mark.usefixtures("worker")
async def test_the_poll_goes_on_past_a_page_that_it_cannot_read(
    saga: Saga, hall: Hall, provider: Sandbox, error: Exception, *, is_told: bool
) -> None:
    bad, good = hall.input("A1"), hall.input("A2")
    pages = {}
    for input in (bad, good):
        await saga.reserve(input)
        pages[input.booking_id] = await saga.checkout(input)
        past = "UPDATE payments SET next_poll_at = now() - interval '9 days' WHERE booking_id = :id"
        await long_ago(saga, past, id=UUID(input.booking_id))
    pay(provider, pages[good.booking_id])
    gateway = Choosy(provider.url, {pages[bad.booking_id]: error})
    gateways = Gateways({"sandbox": gateway})
    news = PaymentNews(saga.begin, gateways, saga.process, saga.work, saga.preclaims)
    loop = PaymentPollLoop(saga.work, news)
    if is_told:
        with pytest.raises(RuntimeError, match="a bug"):
            await loop.one_pass()
    else:
        assert await loop.one_pass() >= len(pages)
    assert (await saga.handle(good).result())["state"] == "confirmed"
    await gateway.aclose()
