"""Each refund counts once against what was captured, whatever the provider's sum says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import Conflict
from domain.money import Money
from domain.steps import BookingInput
from services import refund, refund_sending, show_cancel
from tests.factories import Hall, create_hall
from tests.helpers.saga import Saga
from tests.helpers.show_cancel import Box, open_accounts
from tests.sandbox.process import NO_FAULTS, Sandbox
from tests.workflows.test_booking_paths import tell
from tests.workflows.test_case_openings import cases_of
from tests.workflows.test_reconcile import reconcile
from tests.workflows.test_refunds import ask, refunds, result, sold
from tests.workflows.test_show_cancel import NOTHING_OPEN


@pytest.fixture
async def hall(engine: AsyncEngine) -> Hall:
    return await create_hall(engine, seats=3, starts_in_hours=48)


@pytest.fixture
def pending(provider: Sandbox) -> Iterator[Sandbox]:
    """A bank that takes its time with each refund; it is quick again after the test."""
    provider.configure(refund_outcome="pending")
    yield provider
    provider.configure(**NO_FAULTS)


async def bought(saga: Saga, input: BookingInput, provider: Sandbox) -> str:
    async with saga.worker():
        return await sold(saga, input, provider)


async def left(saga: Saga, input: BookingInput) -> int:
    async with saga.begin() as tx:
        await tx.bookings.lock(UUID(input.booking_id))
        standing = await tx.refunds.standing(UUID(input.booking_id))
    assert standing is not None
    return standing.money_left


async def send(saga: Saga, input: BookingInput, number: int) -> None:
    """The provider accepts; nobody has recorded an end yet."""
    booking_id = UUID(input.booking_id)
    await refund_sending.ask(saga.begin, saga.gateways, booking_id, number, request_id=None)


async def read_again(saga: Saga, input: BookingInput) -> None:
    """What the news of the refund does: the payment is read once more."""
    [[session_id]] = await saga.rows(
        "SELECT session_id FROM payments WHERE booking_id = :id", id=UUID(input.booking_id)
    )
    await tell(saga, session_id)


async def test_a_refund_that_the_provider_counts_already_counts_once(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    """Read between the provider's yes and our own record of the end."""
    input = hall.input("A1", "A2", "A3")
    reference = await bought(saga, input, provider)
    await send(saga, input, await ask(saga, input, "A1"))
    assert await left(saga, input) == 2400
    await read_again(saga, input)
    assert await left(saga, input) == 2400
    assert await ask(saga, input, "A2", expected=Money(1200, "EUR")) == 2
    assert await ask(saga, input, "A3", expected=Money(1200, "EUR")) == 3
    async with saga.worker():
        for number in (1, 2, 3):
            await saga.process.refund(UUID(input.booking_id), number, None)
            assert await result(saga, input, number) == "succeeded"
    assert provider.payment(reference)["refunded"] == 3600
    assert await saga.state(input) == "refunded"


async def test_a_refund_whose_answer_was_lost_counts_once(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    """The provider counts it; our row does not know yet that it was accepted."""
    input = hall.input("A1", "A2", "A3")
    reference = await bought(saga, input, provider)
    await ask(saga, input, "A1")
    gateway = saga.gateways["sandbox"]
    key = f"refund:{input.booking_id}:1"
    await gateway.refund(reference, key=key, amount=Money(1200, "EUR"))
    await read_again(saga, input)
    assert await left(saga, input) == 2400
    await send(saga, input, 1)
    await read_again(saga, input)
    assert await left(saga, input) == 2400


async def test_what_went_back_unasked_counts_beside_ours_in_each_order(
    saga: Saga, engine: AsyncEngine, provider: Sandbox
) -> None:
    """Too little is wrong, and so is too much: the provider's sum is read before or after ours."""
    for seen_first in (True, False):
        hall = await create_hall(engine, seats=3, starts_in_hours=48)
        input = hall.input("A1", "A2", "A3")
        reference = await bought(saga, input, provider)
        assert provider.refund(reference, 500).status_code < 300
        if seen_first:
            await read_again(saga, input)
        await send(saga, input, await ask(saga, input, "A1"))
        if not seen_first:
            await read_again(saga, input)
        assert await left(saga, input) == 3600 - 500 - 1200
        await read_again(saga, input)
        assert await left(saga, input) == 3600 - 500 - 1200
        with pytest.raises(Conflict) as refused:
            await ask(saga, input, amount=Money(1901, "EUR"))
        assert refused.value.code == "exceeds_captured"
        await send(saga, input, await ask(saga, input, amount=Money(1900, "EUR")))
        assert provider.payment(reference)["refunded"] == 3600


async def test_a_refund_that_was_refused_hides_nothing_that_went_back_unasked(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input("A1", "A2", "A3")
    reference = await bought(saga, input, provider)
    await ask(saga, input)
    assert provider.refund(reference, 1200).status_code < 300
    await read_again(saga, input)
    async with saga.worker():
        # More than is left there: a clear no.
        await saga.process.refund(UUID(input.booking_id), 1, None)
        assert await result(saga, input) == "failed"
    await read_again(saga, input)
    assert await left(saga, input) == 2400


async def test_a_refund_that_came_back_is_owed_once_and_lessens_no_other(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    """A person sends it another way, as its case says; nothing else sends it a second time."""
    since, input = datetime.now(UTC), hall.input("A1", "A2", "A3")
    reference = await bought(saga, input, provider)
    async with saga.worker():
        assert await result(saga, input, await ask(saga, input, "A1")) == "succeeded"
        await read_again(saga, input)
        [[made]] = await saga.rows(
            "SELECT reference FROM refunds WHERE booking_id = :id", id=UUID(input.booking_id)
        )
        provider.fail_refund(made)
        await reconcile(saga, since)
        assert await cases_of(saga, input) == ["refund_failed"]
        assert (await saga.events(input))[-2:] == ["RefundFailed", "NotificationQueued"]
        assert await left(saga, input) == 2400
        number = await ask(saga, input, "A2", expected=Money(1200, "EUR"))
        assert await result(saga, input, number) == "succeeded"
        await read_again(saga, input)
        assert await left(saga, input) == 1200
        # What the person sends at the provider is the same money, not some that nobody asked for.
        assert provider.refund(reference, 1200).status_code < 300
        await read_again(saga, input)
        await reconcile(saga, since)
        number = await ask(saga, input, expected=Money(1200, "EUR"))
        assert await result(saga, input, number) == "succeeded"
    assert provider.payment(reference)["refunded"] == 3600
    assert [row[1:3] for row in await refunds(saga, input)] == [
        ("failed", 1200),
        ("succeeded", 1200),
        ("succeeded", 1200),
    ]


async def test_a_cancelled_show_sends_what_a_refund_under_way_leaves(
    saga: Saga, engine: AsyncEngine, pending: Sandbox
) -> None:
    """One seat's refund is accepted and told of, not settled, when the show is cancelled."""
    hall = await create_hall(engine, seats=2, starts_in_hours=1)
    box = Box(saga, hall, pending)
    async with saga.worker():
        input, reference = await box.confirm()
    number = await ask(saga, input, "A1", amount=Money(1200, "EUR"))
    await send(saga, input, number)
    pending.configure(refund_outcome="succeeded")
    made = pending.get("/test/ledger").json()["refunds"]
    [ours] = [one["id"] for one in made if one["payment_id"] == reference]
    pending.post(f"/test/refunds/{ours}/settle", {"outcome": "succeeded"})
    await read_again(saga, input)
    async with saga.begin() as tx:
        rest = await show_cancel.refund_whole(tx, UUID(input.booking_id), request_id=None)
    assert rest == (2, 1)
    async with saga.worker():
        handle = await box.cancel()
        for one in (number, 2):
            await saga.process.refund(UUID(input.booking_id), one, None)
        await handle.result()
    assert await box.states() == {"refunded": 1}
    assert sorted(await box.refunds_of(reference)) == [1200, 1200]
    assert await open_accounts(box) == NOTHING_OPEN


async def test_a_cancelled_show_waits_for_a_refund_that_may_still_be_withdrawn(
    saga: Saga, engine: AsyncEngine, provider: Sandbox
) -> None:
    """All the money is promised to a refund that the provider then refuses:
    it is sent after all."""
    hall = await create_hall(engine, seats=2, starts_in_hours=1)
    box = Box(saga, hall, provider)
    async with saga.worker():
        input, reference = await box.confirm()
    number = await ask(saga, input, amount=Money(2400, "EUR"))
    booking_id = UUID(input.booking_id)
    async with saga.begin() as tx:
        assert await show_cancel.refund_whole(tx, booking_id, request_id=None) is None
    assert await box.states() == {"confirmed": 1}
    assert await saga.claims(input) == {"A1": "sold", "A2": "sold"}
    async with saga.begin() as tx:
        await refund.withdraw(tx, booking_id, number, request_id=None)
    async with saga.worker():
        await (await box.cancel()).result()
    assert await box.states() == {"refunded": 1}
    assert await box.refunds_of(reference) == [2400]
    assert await open_accounts(box) == NOTHING_OPEN
