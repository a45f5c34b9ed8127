"""Money on its way back by our own verdict, when the buyer's bank takes it as well."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from contracts.late_payment import late_payment_workflow_id
from domain.errors import Unavailable
from domain.money import Money
from domain.payment import DisputeStatus, ProviderPayment, ProviderSession
from domain.steps import BookingInput
from infra.gateways.sandbox import SandboxGateway
from infra.postgres.database import Database
from infra.redis.seat_claims import RedisSeatPreclaims
from services import provider as providers
from tests.factories import Hall
from tests.helpers.eventually import eventually
from tests.helpers.late import page_of_ended_hold
from tests.helpers.promises import receipt_id
from tests.helpers.saga import Saga
from tests.sandbox.process import NO_FAULTS, Sandbox
from tests.workflows.test_booking_paths import pay, tell
from tests.workflows.test_disputes import books
from tests.workflows.test_refund_faults import settle_at_the_bank

PAID = 2399
FOUND = "SELECT accepted_at = created_at FROM refunds WHERE booking_id = :id"
SENT = "SELECT status, reference IS NOT NULL FROM refunds WHERE booking_id = :id"


class LosesAll(SandboxGateway):
    """A bank that takes money in a dispute though a refund of it is on its way."""

    has_lost = False

    def _as_lost(self, paid: ProviderPayment) -> ProviderPayment:
        status = DisputeStatus.LOST if self.has_lost else DisputeStatus.OPEN
        return replace(paid, disputes=tuple(replace(one, status=status) for one in paid.disputes))

    async def read_session(self, session_id: str) -> ProviderSession:
        session = await super().read_session(session_id)
        return replace(session, payments=tuple(map(self._as_lost, session.payments)))


@pytest.fixture
async def gateway(provider: Sandbox) -> AsyncIterator[LosesAll]:
    gateway = LosesAll(provider.url)
    yield gateway
    provider.configure(**NO_FAULTS)
    await gateway.aclose()


@pytest.fixture
def saga(
    engine: AsyncEngine, database: Database, redis: Redis, temporal: Client, gateway: LosesAll
) -> Saga:
    return Saga(engine, database, temporal, RedisSeatPreclaims(redis), {gateway.name: gateway})


async def wrong_sum(saga: Saga, input: BookingInput, provider: Sandbox) -> tuple[str, str]:
    """Late money that goes back; its page and its reference."""
    page = await page_of_ended_hold(saga, input)
    return page, pay(provider, page, force=True, amount=PAID)


async def disputed(provider: Sandbox, saga: Saga, page: str, reference: str) -> None:
    provider.dispute(reference, "opened", amount=PAID)
    await tell(saga, page)


@pytest.mark.parametrize("at_the_bank", ["succeeded", "failed"])
@pytest.mark.parametrize("lost_first", [True, False], ids=["lost first", "ended first"])
async def test_a_refund_in_flight_ends_at_the_bank_first(
    saga: Saga,
    hall: Hall,
    gateway: LosesAll,
    provider: Sandbox,
    at_the_bank: str,
    lost_first: bool,
) -> None:
    input = hall.input()
    provider.configure(refund_outcome="pending")
    async with saga.worker():
        page, reference = await wrong_sum(saga, input, provider)
        await tell(saga, page)

        async def accepted() -> bool:
            return await saga.rows(SENT, id=UUID(input.booking_id)) == [("pending", True)]

        await eventually(accepted, seconds=30)
        await disputed(provider, saga, page, reference)
        if lost_first:
            gateway.has_lost = True
            await tell(saga, page)
            assert await accepted(), "it may be paid yet"
        await settle_at_the_bank(saga, input, provider, at_the_bank)
        receipt = await receipt_id(saga, reference)
        sending = saga.client.get_workflow_handle(late_payment_workflow_id(str(receipt)))
        came = at_the_bank == "succeeded"
        assert (await sending.result())["outcome"] == ("succeeded" if came else "disputed")
        if not lost_first:
            gateway.has_lost = True
            await tell(saga, page)
            await saga.client.get_workflow_handle(late_payment_workflow_id(str(receipt))).result()
    assert await saga.rows(SENT, id=UUID(input.booking_id)) == [(at_the_bank, True)]
    assert await books(saga, input) == ({"provider": -PAID, "revenue": PAID} if came else {})


async def test_a_refund_that_was_sent_unheard_is_found_when_the_bank_disputes_the_payment(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input()
    async with saga.worker():
        page, reference = await wrong_sum(saga, input, provider)
    await tell(saga, page)
    [[key]] = await saga.rows(
        "SELECT idempotency_key FROM refunds WHERE booking_id = :id", id=UUID(input.booking_id)
    )
    provider.configure(refund_outcome="pending")
    await saga.gateways["sandbox"].refund(reference, key=key, amount=Money(PAID, "EUR"))
    await disputed(provider, saga, page, reference)
    receipt = await receipt_id(saga, reference)
    with pytest.raises(Unavailable, match="has not settled"):
        await providers.send_refund(saga.begin, saga.gateways, receipt, request_id=None)
    assert await saga.rows(FOUND, id=UUID(input.booking_id)) == [(True,)], "D1: sent before it"
    await settle_at_the_bank(saga, input, provider, "succeeded")
    sent = await providers.send_refund(saga.begin, saga.gateways, receipt, request_id=None)
    assert sent == "succeeded"
    assert await saga.rows(SENT, id=UUID(input.booking_id)) == [("succeeded", True)]
