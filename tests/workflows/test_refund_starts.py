"""Whose refund the reaper starts first: nobody waits behind those that wait for somebody else."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest

from domain.errors import BalanceTooLow, Unavailable
from domain.steps import BookingInput
from services import provider as providers
from services import refund_sending
from tests.factories import Hall
from tests.helpers.late import page_of_ended_hold
from tests.helpers.saga import Saga
from tests.sandbox.process import NO_FAULTS, Sandbox
from tests.workflows.test_booking_paths import pay, tell
from tests.workflows.test_refunds import ask, sold

# All there are: other tests' refunds are pending as well.
ALL = 1_000_000


@pytest.fixture
def faulty(provider: Sandbox) -> Iterator[Sandbox]:
    yield provider
    provider.configure(**NO_FAULTS)


async def test_money_that_goes_back_whole_is_started_before_what_waits_for_bank_or_balance(
    saga: Saga, hall: Hall, faulty: Sandbox
) -> None:
    async with saga.worker():
        wishes = [hall.input(label, max_live_holds_per_user=20) for label in ("A1", "A2", "A3")]
        pages = [await page_of_ended_hold(saga, wish) for wish in wishes]
    receipts: list[UUID] = []
    for page, waits_for in zip(pages, ("pending", "insufficient_balance", None), strict=True):
        reference = pay(faulty, page, force=True, amount=1199)
        await tell(saga, page)  # nobody is at work: the start of its refund is lost
        [[receipt_id]] = await saga.rows(
            "SELECT id FROM provider_payments WHERE reference = :ref", ref=reference
        )
        receipts.append(receipt_id)
        if waits_for is not None:
            faulty.configure(refund_outcome=waits_for)
            with pytest.raises(Unavailable):
                await providers.send_refund(saga.begin, saga.gateways, receipt_id, request_id=None)
    found = await saga.work.pending_refunds(seconds=0, limit=ALL)
    bank, balance, newest = (found.index(one) for one in receipts)
    assert newest < min(bank, balance)


async def test_a_refund_on_request_is_started_before_what_waits_for_the_balance(
    saga: Saga, hall: Hall, faulty: Sandbox
) -> None:
    inputs: list[BookingInput] = [hall.input(label) for label in ("A1", "A2")]
    async with saga.worker():
        for input in inputs:
            await sold(saga, input, faulty)
    faulty.configure(refund_outcome="insufficient_balance")
    for input in inputs:
        await ask(saga, input)
    with pytest.raises(BalanceTooLow):
        await refund_sending.ask(
            saga.begin, saga.gateways, UUID(inputs[0].booking_id), 1, request_id=None
        )
    found = await saga.work.asked_refunds(seconds=0, limit=ALL)
    short, newer = (found.index((UUID(input.booking_id), 1)) for input in inputs)
    assert newer < short
