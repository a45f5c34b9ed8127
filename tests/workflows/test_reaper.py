"""What nobody is at work on any more: the reaper finds it by PostgreSQL alone."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text

from contracts.booking import BookingContract
from domain.steps import BookingInput, CancelRequest
from loops.reaper import ReaperLoop
from tests.factories import Hall
from tests.helpers.saga import Saga
from tests.sandbox.process import NO_FAULTS, Sandbox


async def change(saga: Saga, statement: str, **values: Any) -> None:
    async with saga.engine.begin() as connection:
        assert (await connection.execute(text(statement), values)).rowcount == 1


async def ask(saga: Saga, input: BookingInput, *, seconds_ago: float) -> None:
    """As the API does, ``seconds_ago``; and nothing has come of it yet."""
    async with saga.begin() as tx:
        await tx.bookings.add_request(input, key_hash=None, body_hash=b"body")
    past = (
        "UPDATE booking_requests SET created_at = clock_timestamp() - make_interval(secs => :secs)"
        " WHERE id = :id"
    )
    await change(saga, past, id=UUID(input.booking_id), secs=seconds_ago)


async def outcome(saga: Saga, input: BookingInput) -> tuple[Any, ...]:
    [found] = await saga.rows(
        "SELECT outcome, refusal ->> 'code' FROM booking_requests WHERE id = :id",
        id=UUID(input.booking_id),
    )
    return found


async def reap(saga: Saga) -> None:
    assert await ReaperLoop(saga.work, saga.process, saga.news).one_pass() == 0


async def test_a_closing_booking_without_a_workflow_does_not_wait_for_its_holds_end(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    """Cancelled while the provider is away, and then Temporal loses its data."""
    input = hall.input(grace_seconds=600)
    async with saga.worker():
        await saga.reserve(input)
        session_id = await saga.checkout(input)
        provider.configure(error_rate=1.0)
        try:
            handle, wish = saga.handle(input), CancelRequest(input.user_id)
            assert (await handle.execute_update(BookingContract.cancel, wish)).state == "cancelling"
            await handle.terminate()
        finally:
            provider.configure(**NO_FAULTS)
        # Longer than anything of another test, so that it is in the first batch.
        past = "UPDATE bookings SET closing_since = now() - interval '9 days' WHERE id = :id"
        await change(saga, past, id=UUID(input.booking_id))
        await reap(saga)
        assert (await saga.handle(input).result())["state"] == "cancelled"
    assert await saga.claims(input) == {}
    assert provider.look({"id": session_id})["status"] == "expired"


async def test_a_hold_that_comes_too_late_for_its_request_takes_no_seats(
    saga: Saga, hall: Hall
) -> None:
    """Its buyer was told 202 half a minute ago, and has gone by now."""
    input = hall.input()
    await ask(saga, input, seconds_ago=31)
    async with saga.worker():
        held = await saga.process.reserve(input)
    assert (held.state, held.code) == ("rejected", "unavailable")
    assert await saga.claims(input) == {}
    assert await outcome(saga, input) == ("rejected", "unavailable")


async def test_a_request_that_nothing_came_of_is_refused(saga: Saga, hall: Hall) -> None:
    dead, young = hall.input("A1"), hall.input("A2")
    await ask(saga, dead, seconds_ago=36)
    await ask(saga, young, seconds_ago=29)
    await reap(saga)
    assert await outcome(saga, dead) == ("rejected", "unavailable")
    assert await outcome(saga, young) == (None, None)
