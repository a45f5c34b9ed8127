"""What somebody sends back at the provider counts, and counts no more when it fails at the bank."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.payment import ProviderPayment, ProviderRefund
from domain.steps import BookingInput
from infra.gateways.sandbox import SandboxGateway
from services import payment
from tests.factories import Hall, create_hall
from tests.helpers.saga import Saga
from tests.helpers.show_cancel import Box
from tests.sandbox.process import Sandbox
from tests.workflows.test_case_openings import cases_of
from tests.workflows.test_reconcile import now, of, reconcile
from tests.workflows.test_refund_sums import bought, left, read_again

TOLD = "SELECT refunded, refunded_unasked FROM provider_payments WHERE reference = :it"


@pytest.fixture
async def hall(engine: AsyncEngine) -> Hall:
    return await create_hall(engine, seats=3, starts_in_hours=48)


def by_hand(provider: Sandbox, reference: str, amount: int = 1200) -> str:
    return str(provider.refund(reference, amount).json()["id"])


async def noted(saga: Saga, input: BookingInput, provider: Sandbox) -> tuple[str, str]:
    """A payment of 36.00 and a refund of 12.00 by hand that has its case."""
    reference = await bought(saga, input, provider)
    refund = by_hand(provider, reference)
    await read_again(saga, input)
    assert await left(saga, input) == 2400
    await reconcile(saga, now() - timedelta(minutes=1))
    assert await cases_of(saga, input) == ["unknown_refund"]
    return reference, refund


async def test_one_that_failed_is_the_buyers_again_and_a_case(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    since, input = now(), hall.input("A1", "A2", "A3")
    reference, refund = await noted(saga, input, provider)
    provider.fail_refund(refund)
    await read_again(saga, input)
    assert await left(saga, input) == 2400, "a sum alone may be an old one"
    told = of(await reconcile(saga, since), refund, reference)
    assert told == [f"left: refund {refund}, never asked for, failed"]
    assert await left(saga, input) == 3600
    assert await saga.rows(TOLD, it=reference) == [(0, 0)]
    assert await cases_of(saga, input) == ["unknown_refund", "unknown_refund"]
    assert of(await reconcile(saga, since), refund, reference) == []


@pytest.mark.parametrize("is_heard", [True, False])
async def test_the_news_of_it_has_a_payment_looked_at_that_no_list_shows_any_more(
    saga: Saga, hall: Hall, provider: Sandbox, is_heard: bool
) -> None:
    input = hall.input("A1", "A2", "A3")
    reference, refund = await noted(saga, input, provider)
    async with saga.engine.begin() as connection:
        await connection.execute(
            text(
                "UPDATE provider_payments SET created_at = now() - interval '1 year'"
                " WHERE reference = :it"
            ),
            {"it": reference},
        )
    provider.fail_refund(refund)
    if is_heard:
        await read_again(saga, input)
    nothing_is_newer = now() + timedelta(hours=1)
    await reconcile(saga, nothing_is_newer)
    assert await left(saga, input) == (3600 if is_heard else 2400)


async def test_a_sum_that_is_told_out_of_order_lowers_nothing_and_what_it_raises_falls_again(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    since, input = now(), hall.input("A1", "A2", "A3")
    reference = await bought(saga, input, provider)
    before = await saga.gateways["sandbox"].read_payment(reference)
    refund = by_hand(provider, reference)
    during = await saga.gateways["sandbox"].read_payment(reference)
    await read_again(saga, input)
    await record(saga, input, before)
    assert await left(saga, input) == 2400
    await reconcile(saga, since)
    assert await left(saga, input) == 2400
    provider.fail_refund(refund)
    await reconcile(saga, since)
    assert await left(saga, input) == 3600
    await record(saga, input, during)
    assert await left(saga, input) == 2400
    await reconcile(saga, since)
    assert await left(saga, input) == 3600


async def record(saga: Saga, input: BookingInput, told: ProviderPayment) -> None:
    async with saga.begin() as tx:
        [attempt] = await tx.payments.attempts(UUID(input.booking_id))
        await payment.record_payment(tx, attempt, told)


class ListsTooSoon(SandboxGateway):
    """Another refund by hand comes, and is told of, as soon as the first list is read."""

    def __init__(self, saga: Saga, input: BookingInput, provider: Sandbox, reference: str) -> None:
        super().__init__(provider.url)
        self._saga, self._input, self._provider = saga, input, provider
        self._reference, self.lists = reference, 0

    async def list_refunds(self, reference: str) -> list[ProviderRefund]:
        told = await super().list_refunds(reference)
        self.lists += reference == self._reference
        if self.lists == 1 and reference == self._reference:
            by_hand(self._provider, reference)
            await read_again(self._saga, self._input)
        return told


async def test_a_list_that_is_older_than_the_news_lowers_nothing(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    """The same sum went back again: the sums alone do not show that anything has changed."""
    since, input = now(), hall.input("A1", "A2", "A3")
    reference, refund = await noted(saga, input, provider)
    provider.fail_refund(refund)
    gateway = ListsTooSoon(saga, input, provider, reference)
    late = replace(saga, gateways={"sandbox": gateway})
    try:
        await reconcile(late, since)
    finally:
        await gateway.aclose()
    assert gateway.lists == 2
    assert await left(saga, input) == 2400
    assert provider.payment(reference)["refunded"] == 1200


@pytest.mark.usefixtures("worker")
async def test_a_cancelled_show_sends_what_came_back_from_the_bank(
    saga: Saga, engine: AsyncEngine, provider: Sandbox
) -> None:
    box = Box(saga, await create_hall(engine, seats=2, starts_in_hours=48), provider)
    since = datetime.now(UTC)
    input, reference = await box.confirm()
    refund = by_hand(provider, reference)
    await read_again(saga, input)
    await reconcile(saga, since)
    provider.fail_refund(refund)
    await reconcile(saga, since)
    await asyncio.wait_for((await box.cancel()).result(), 60)
    paid = provider.payment(reference)
    assert paid["refunded"] == paid["captured"] == 2400
    assert await saga.state(input) == "refunded"
