"""A provider that counts a refund from when it accepts it, as Stripe does, differs in nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import pytest

from domain.payment import PaymentPage, ProviderPayment, ProviderPaymentStatus, ProviderSession
from infra.gateways.sandbox import SandboxGateway
from tests.factories import Hall
from tests.helpers.saga import Saga
from tests.sandbox.process import NO_FAULTS, Sandbox
from tests.workflows.test_case_openings import cases_of
from tests.workflows.test_reconcile import now, of, reconcile
from tests.workflows.test_refund_faults import settle_at_the_bank
from tests.workflows.test_refund_sums import send
from tests.workflows.test_refunds import ask, refunds, sold


class CountsEarly(SandboxGateway):
    """The sandbox counts what has settled; here what is on its way counts too."""

    async def _as_counted(self, paid: ProviderPayment) -> ProviderPayment:
        sums = [
            one.amount.amount
            for one in await self.list_refunds(paid.reference)
            if one.amount is not None and one.status != "failed"
        ]
        is_whole = sums and sum(sums) == paid.captured
        status = ProviderPaymentStatus.REFUNDED if is_whole else paid.status
        return replace(paid, refunded=sum(sums), status=status)

    async def read_payment(self, reference: str) -> ProviderPayment:
        return await self._as_counted(await super().read_payment(reference))

    async def read_session(self, session_id: str) -> ProviderSession:
        session = await super().read_session(session_id)
        return replace(
            session, payments=tuple([await self._as_counted(one) for one in session.payments])
        )

    async def list_payments(self, since: datetime, cursor: str | None = None) -> PaymentPage:
        page = await super().list_payments(since, cursor)
        return replace(page, payments=tuple([await self._as_counted(one) for one in page.payments]))


@pytest.fixture
async def counting(saga: Saga, provider: Sandbox) -> AsyncIterator[Saga]:
    async with aclosing(CountsEarly(provider.url)) as gateway:
        yield replace(saga, gateways={gateway.name: gateway})
    provider.configure(**NO_FAULTS)


@pytest.mark.parametrize("seats", [("A1",), ()], ids=["a part", "whole"])
async def test_one_that_waits_for_the_bank_is_no_difference(
    counting: Saga, hall: Hall, provider: Sandbox, seats: tuple[str, ...]
) -> None:
    saga, since, input = counting, now(), hall.input()
    async with saga.worker():
        reference = await sold(saga, input, provider)
    provider.configure(refund_outcome="pending")
    await send(saga, input, await ask(saga, input, *seats))
    told = of(await reconcile(saga, since), reference)
    assert told == [f"repaired: behind of payment {reference}"]
    assert of(await reconcile(saga, since), reference) == []
    assert await cases_of(saga, input) == []
    await settle_at_the_bank(saga, input, provider, "succeeded")
    [[made]] = await saga.rows(
        "SELECT reference FROM refunds WHERE booking_id = :id", id=UUID(input.booking_id)
    )
    assert f"repaired: refund {made} settled" in of(await reconcile(saga, since), made)
    assert [row[1] for row in await refunds(saga, input)] == ["succeeded"]
    assert await cases_of(saga, input) == []


async def test_another_sum_is_a_difference_beside_it(
    counting: Saga, hall: Hall, provider: Sandbox
) -> None:
    """The control: what nobody asked for is not explained by what is under way."""
    saga, since, input = counting, now(), hall.input()
    async with saga.worker():
        reference = await sold(saga, input, provider)
    provider.configure(refund_outcome="pending")
    await send(saga, input, await ask(saga, input, "A1"))
    by_hand = provider.refund(reference, 100).json()["id"]
    told = of(await reconcile(saga, since), reference, by_hand)
    assert f"left: refund {by_hand} was never asked for" in told
    assert await cases_of(saga, input) == ["unknown_refund"]
