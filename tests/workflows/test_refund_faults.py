"""Refunds on request when things fail: each step, the provider, the bank, everybody at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest

from contracts.refund import refund_workflow_id
from domain.errors import Conflict
from domain.limits import REFUND_RETRIES
from domain.steps import BookingInput
from tests.factories import Hall
from tests.helpers.eventually import eventually
from tests.helpers.saga import Fault, Saga
from tests.sandbox.process import NO_FAULTS, Sandbox
from tests.workflows.test_refunds import ask, refunds, result, sold
from workflows import policies


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refunds that failed are sent again without a wait."""
    waits = (timedelta(milliseconds=10),) * REFUND_RETRIES
    monkeypatch.setattr(policies, "REFUND_RETRY_WAITS", waits)


@pytest.fixture
def faulty(provider: Sandbox) -> Iterator[Sandbox]:
    yield provider
    provider.configure(**NO_FAULTS)


@pytest.mark.parametrize("step", ["ask_refund", "settle_refund", "release_refunded"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_refund_is_sent_once_whatever_fails(
    saga: Saga, hall: Hall, provider: Sandbox, step: str, when: str
) -> None:
    input, fault = hall.input(), Fault(step, when, times=2)
    async with saga.worker(fault):
        reference = await sold(saga, input, provider)
        assert await result(saga, input, await ask(saga, input)) == "succeeded"
    assert fault.failed == 2
    assert provider.payment(reference)["refunded"] == 2400
    assert await saga.claims(input) == {}
    events = await saga.events(input)
    assert [events.count(one) for one in ("RefundAccepted", "RefundSettled")] == [1, 1]


async def test_every_step_run_twice_changes_things_once(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input()
    async with saga.worker(Fault(repeat=2)):
        reference = await sold(saga, input, provider)
        assert await result(saga, input, await ask(saga, input, "A1")) == "succeeded"
    assert provider.payment(reference)["refunded"] == 1200
    assert await saga.claims(input) == {"A2": "sold"}
    events = await saga.events(input)
    once = ("RefundAccepted", "SeatReleased", "RefundSettled")
    assert [events.count(one) for one in once] == [1, 1, 1]


@pytest.mark.usefixtures("worker")
async def test_many_at_once_are_one_refund(saga: Saga, hall: Hall, provider: Sandbox) -> None:
    input = hall.input()
    reference = await sold(saga, input, provider)
    numbers = await asyncio.gather(*(ask(saga, input) for _ in range(5)), return_exceptions=True)
    # One who comes when all is over meets a refunded booking.
    assert {one for one in numbers if not isinstance(one, Conflict)} == {1}
    assert await result(saga, input) == "succeeded"
    assert provider.payment(reference)["refunded"] == 2400
    assert len(await refunds(saga, input)) == 1


@pytest.mark.usefixtures("worker")
async def test_cancelling_the_workflow_does_not_lose_the_money(
    saga: Saga, hall: Hall, faulty: Sandbox
) -> None:
    input = hall.input()
    await sold(saga, input, faulty)
    faulty.configure(refund_outcome="pending")
    number = await ask(saga, input)
    handle = saga.client.get_workflow_handle(refund_workflow_id(input.booking_id, number))
    await handle.cancel()
    await settle_at_the_bank(saga, input, faulty, "succeeded")
    assert await result(saga, input) == "succeeded"
    assert await saga.state(input) == "refunded"


@pytest.mark.parametrize("after_effect", [False, True])
async def test_a_provider_that_fails_is_asked_until_it_answers(
    saga: Saga, hall: Hall, faulty: Sandbox, after_effect: bool
) -> None:
    input, fault = hall.input(), Fault()
    async with saga.worker(fault):
        reference = await sold(saga, input, faulty)
        faulty.configure(error_rate=1.0, fail_after_effect=after_effect)
        await ask(saga, input)

        async def asked_twice() -> bool:
            return fault.times_run("ask_refund", input.booking_id) > 1

        await eventually(asked_twice, seconds=30)
        assert await saga.claims(input) == {"A1": "sold", "A2": "sold"}
        assert await saga.state(input) == "refund_pending"
        faulty.configure(**NO_FAULTS)
        assert await result(saga, input) == "succeeded"
    assert faulty.payment(reference)["refunded"] == 2400
    assert await saga.state(input) == "refunded"


@pytest.mark.parametrize("repeat", [1, 2])
async def test_a_provider_that_refuses_for_good_leaves_the_booking_as_it_was(
    saga: Saga, hall: Hall, provider: Sandbox, repeat: int
) -> None:
    """The money is disputed: the refund has failed for all to see, and the seats stay sold."""
    input, fault = hall.input(), Fault(repeat=repeat)
    async with saga.worker(fault):
        reference = await sold(saga, input, provider)
        provider.post(f"/test/payments/{reference}/dispute", {"outcome": "opened"})
        assert await result(saga, input, await ask(saga, input)) == "failed"
    assert fault.times_run("withdraw_refund", input.booking_id) == 1
    assert await refunds(saga, input) == [(1, "failed", 2400, ["A1", "A2"])]
    assert await saga.state(input) == "confirmed"
    assert await saga.claims(input) == {"A1": "sold", "A2": "sold"}
    ended = ["RefundFailed", "NotificationQueued", "BookingRestored"]
    assert (await saga.events(input))[-3:] == ended
    assert provider.payment(reference)["refunded"] == 0


@pytest.mark.usefixtures("worker")
async def test_seats_go_free_when_the_provider_accepts_and_the_end_waits_for_the_money(
    saga: Saga, hall: Hall, faulty: Sandbox
) -> None:
    input = hall.input()
    await sold(saga, input, faulty)
    faulty.configure(refund_outcome="pending")
    await ask(saga, input)

    async def freed() -> bool:
        return not await saga.claims(input)

    await eventually(freed, seconds=30)
    assert await saga.state(input) == "refund_pending"
    await settle_at_the_bank(saga, input, faulty, "succeeded")
    assert await result(saga, input) == "succeeded"
    assert await saga.state(input) == "refunded"


@pytest.mark.usefixtures("worker", "at_once")
async def test_money_that_the_bank_sends_back_after_all_keeps_the_booking_visible(
    saga: Saga, hall: Hall, faulty: Sandbox
) -> None:
    input = hall.input()
    await sold(saga, input, faulty)
    faulty.configure(refund_outcome="pending")
    await ask(saga, input)
    faulty.configure(refund_outcome="failed")
    await settle_at_the_bank(saga, input, faulty, "failed")
    assert await result(saga, input) == "failed"
    assert await saga.state(input) == "refund_pending"
    assert [row[1] for row in await refunds(saga, input)] == ["failed"]
    assert (await saga.events(input))[-2:] == ["RefundFailed", "NotificationQueued"]
    told = await saga.rows(
        "SELECT DISTINCT template FROM notification_outbox WHERE booking_id = :id"
        " AND template LIKE 'refund%' ORDER BY template",
        id=UUID(input.booking_id),
    )
    assert told == [("refund_accepted",), ("refund_failed",)], "no mail says that it has come"


async def settle_at_the_bank(
    saga: Saga, input: BookingInput, provider: Sandbox, outcome: str
) -> None:
    found: list[str] = []

    async def accepted() -> bool:
        rows = await saga.rows(
            "SELECT reference FROM refunds WHERE booking_id = :id AND reference IS NOT NULL",
            id=UUID(input.booking_id),
        )
        found.extend(row[0] for row in rows)
        return bool(rows)

    await eventually(accepted, seconds=30)
    answer = provider.post(f"/test/refunds/{found[0]}/settle", {"outcome": outcome})
    assert answer.status_code == 200, answer.text
