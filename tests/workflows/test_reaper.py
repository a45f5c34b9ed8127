"""What nobody is at work on any more: the reaper finds it by PostgreSQL alone."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text

from contracts.booking import BookingContract
from domain.steps import CancelRequest
from loops.reaper import ReaperLoop
from tests.factories import Hall
from tests.helpers.saga import Saga
from tests.sandbox.process import NO_FAULTS, Sandbox


async def change(saga: Saga, statement: str, **values: Any) -> None:
    async with saga.engine.begin() as connection:
        assert (await connection.execute(text(statement), values)).rowcount == 1


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
