"""A pay page whose id never reached us is found by its key and closed, or was never opened."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from domain.errors import Unavailable
from domain.steps import BookingInput
from services import provider as use_cases
from tests.factories import Hall
from tests.helpers.saga import Saga
from tests.sandbox.process import NO_FAULTS, Sandbox


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
