"""A pay page whose id never reached us is found by its key and closed, or was never opened."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from contracts.booking import BookingContract
from domain.errors import Unavailable
from domain.steps import BookingInput, CancelRequest
from services import provider as use_cases
from tests.factories import Hall
from tests.helpers.saga import Saga
from tests.sandbox.process import NO_FAULTS, Sandbox
from tests.workflows.test_booking_paths import pay


async def lose(saga: Saga, provider: Sandbox, input: BookingInput, **fault: Any) -> None:
    """Check out while the provider's answer does not come."""
    provider.configure(error_rate=1, **fault)
    try:
        with pytest.raises(Unavailable):
            await saga.checkout(input)
    finally:
        provider.configure(**NO_FAULTS)


async def pages(saga: Saga, input: BookingInput) -> list[tuple[str | None, bool]]:
    async with saga.begin.alone() as tx:
        attempts = await tx.payments.attempts(UUID(input.booking_id))
    return [(attempt.session_id, attempt.session_open) for attempt in attempts]


async def test_a_page_that_was_opened_unseen_is_closed_with_the_hold(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input(hold_seconds=1, hold_max_seconds=2)
    async with saga.worker():
        await saga.reserve(input)
        await lose(saga, provider, input, fail_after_effect=True)
        assert await pages(saga, input) == [(None, True)]
        assert (await saga.handle(input).result())["state"] == "expired"
    [(session_id, is_open)] = await pages(saga, input)
    assert session_id is not None
    assert not is_open
    assert provider.get(f"/v1/sessions/{session_id}").json()["status"] == "expired"
    assert await saga.claims(input) == {}


async def test_money_that_was_written_down_and_told_to_nobody_confirms_at_the_holds_end(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    """Who read it died before it told; its page is closed, so that the provider is not asked."""
    input = hall.input()
    async with saga.worker(), asyncio.timeout(20):
        await saga.reserve(input)
        session_id = await saga.checkout(input)
        pay(provider, session_id)
        session = await saga.gateways["sandbox"].read_session(session_id)
        async with saga.begin.alone() as tx:
            attempt = await tx.payments.latest_attempt(UUID(input.booking_id))
        assert attempt is not None
        await use_cases.record_session(saga.begin, attempt, session, request_id=None)
        assert await pages(saga, input) == [(session_id, False)]
        released = CancelRequest("operator:eve", "the screen is broken")
        await saga.handle(input).execute_update(BookingContract.force_release, released)
        assert (await saga.handle(input).result())["state"] == "confirmed"


async def test_a_page_that_was_never_opened_is_in_nobodys_way(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input(hold_seconds=1, hold_max_seconds=1)
    async with saga.worker():
        await saga.reserve(input)
        await lose(saga, provider, input)
        assert (await saga.handle(input).result())["state"] == "expired"
    assert await pages(saga, input) == [(None, False)]
    assert await saga.claims(input) == {}
    closed = await use_cases.close_sessions(
        saga.begin, saga.gateways, UUID(input.booking_id), request_id=None
    )
    assert (closed.closed, closed.captured) == (True, [])
