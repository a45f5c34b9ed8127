"""What Temporal keeps of a booking cannot be read without our keys: inputs, results, failures."""

from __future__ import annotations

import pytest

from contracts.booking import BookingContract
from domain.booking import BookingState
from domain.errors import Unavailable
from domain.steps import BookingInput, CancelRequest
from infra.payloads import PLAIN, sealed_by
from infra.settings import DEV_PAYLOAD_KEYS
from services.process import ProcessUnknown
from tests.factories import Hall
from tests.helpers.saga import Fault, Saga

REASON = "a reason that only we may read"
FAILURE = "injected before the effect"
KEYS = f"second:{'A' * 43}=,{DEV_PAYLOAD_KEYS}"


async def stored(saga: Saga, input: BookingInput) -> bytes:
    """Everything that Temporal answers about the booking, as it came over the wire."""
    handle = saga.handle(input)
    history = await handle.fetch_history()
    described = await handle.describe()
    events = b"".join(event.SerializeToString() for event in history.events)
    return events + described.raw_description.SerializeToString()


async def cancelled(saga: Saga, hall: Hall) -> bytes:
    input = hall.input()
    async with saga.worker():
        await saga.reserve(input)
        wish = CancelRequest(input.user_id, REASON)
        await saga.handle(input).execute_update(BookingContract.cancel, wish)
        await saga.handle(input).result()
    return await stored(saga, input)


async def failed(saga: Saga, hall: Hall) -> bytes:
    input = hall.input()
    async with saga.worker(Fault("hold_seats")):
        with pytest.raises(Unavailable):
            await saga.reserve(input)
        await saga.handle(input).result()
    return await stored(saga, input)


@pytest.fixture
def plainly(saga: Saga) -> Saga:
    """The same without its seal: what these tests would find."""
    return saga.speaking(PLAIN)


async def test_inputs_and_words_are_sealed(saga: Saga, hall: Hall, plainly: Saga) -> None:
    sealed = await cancelled(saga, hall)
    assert REASON.encode() not in sealed
    assert b"Seats A1" not in sealed
    open_ = await cancelled(plainly, hall)
    assert REASON.encode() in open_
    assert b"Seats A1" in open_


async def test_failures_are_sealed_with_their_traces(saga: Saga, hall: Hall, plainly: Saga) -> None:
    sealed = await failed(saga, hall)
    assert FAILURE.encode() not in sealed
    assert b"Traceback" not in sealed
    assert b"saga.py" not in sealed
    open_ = await failed(plainly, hall)
    assert FAILURE.encode() in open_
    assert b"saga.py" in open_


async def test_a_booking_outlives_the_change_of_keys(saga: Saga, hall: Hall) -> None:
    input = hall.input()
    async with saga.worker():
        await saga.reserve(input)
    rotated = saga.speaking(sealed_by(KEYS))
    async with rotated.worker():
        wish = CancelRequest(input.user_id, REASON)
        await rotated.handle(input).execute_update(BookingContract.cancel, wish)
        result = await rotated.handle(input).result()
    assert result["state"] == "cancelled"
    raw = await stored(rotated, input)
    assert b"second" in raw
    assert b"dev" in raw


async def test_an_answer_by_a_key_that_comes_later_is_an_outcome_not_known_yet(
    saga: Saga, hall: Hall
) -> None:
    """The worker has the new key already, the API has not: no error, for the seats are held."""
    input = hall.input()
    async with saga.speaking(sealed_by(KEYS)).worker():
        assert await saga.reserve(input) == BookingState.HELD
        with pytest.raises(ProcessUnknown):
            await saga.process.reserve(input)
