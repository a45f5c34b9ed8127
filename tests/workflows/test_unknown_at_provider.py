"""A provider that knows nothing any more of what it was told: asked on in one run, never failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle

from contracts.late_payment import late_payment_workflow_id
from contracts.refund import refund_workflow_id
from domain.errors import Conflict, NotFound, SeatholdError, Unavailable
from domain.money import Money
from domain.payment import ProviderPayment, ProviderRefund
from domain.payment_policy import PaymentMode
from domain.steps import BookingInput
from infra.gateways.sandbox import SandboxGateway
from infra.postgres.database import Database
from infra.redis.seat_claims import RedisSeatPreclaims
from loops.reaper import ReaperLoop
from services import provider as providers
from tests.factories import Hall
from tests.helpers.eventually import eventually
from tests.helpers.late import page_of_ended_hold
from tests.helpers.promises import receipt_id
from tests.helpers.saga import Saga
from tests.sandbox.process import NO_FAULTS, Sandbox
from tests.workflows.test_booking_paths import pay, tell
from tests.workflows.test_case_openings import cases_of
from tests.workflows.test_refund_faults import settle_at_the_bank
from tests.workflows.test_refunds import ask, sold

ERRORS = [NotFound("No such thing."), Conflict("The provider refused.", code="provider_refused")]
LONG_AGO = """
UPDATE provider_payments SET created_at = created_at - interval '9 days',
    updated_at = updated_at - interval '9 days' WHERE booking_id = :id
"""
REFUNDS_LONG_AGO = """
UPDATE refunds SET created_at = created_at - interval '9 days' WHERE booking_id = :id
"""
STATUS = "SELECT status, tries FROM refunds WHERE booking_id = :id"
both = pytest.mark.parametrize("error", ERRORS, ids=["unknown", "refused"])


class Forgetful(SandboxGateway):
    """Does not tell of the payments in ``lost`` nor of their refunds, as with another's key."""

    def __init__(self, base_url: str) -> None:
        super().__init__(base_url)
        self.lost: set[str] = set()
        self.error: SeatholdError = ERRORS[0]
        self.asked: Counter[str] = Counter()
        self.refunds_the_lost = True

    def _look_up(self, reference: str, call: str) -> None:
        if reference in self.lost:
            self.asked[call] += 1
            raise self.error

    async def read_payment(self, reference: str) -> ProviderPayment:
        self._look_up(reference, "read_payment")
        return await super().read_payment(reference)

    async def void(self, reference: str, *, key: str) -> ProviderPayment:
        self._look_up(reference, "void")
        return await super().void(reference, key=key)

    async def refund(self, reference: str, *, key: str, amount: Money) -> ProviderRefund:
        if not self.refunds_the_lost:
            self._look_up(reference, "refund")
        made = await super().refund(reference, key=key, amount=amount)
        if reference in self.lost:
            self.lost.add(made.reference)
        return made

    async def read_refund(self, reference: str) -> ProviderRefund:
        self._look_up(reference, "read_refund")
        return await super().read_refund(reference)


@pytest.fixture
async def gateway(provider: Sandbox) -> AsyncIterator[Forgetful]:
    gateway = Forgetful(provider.url)
    yield gateway
    provider.configure(**NO_FAULTS)
    await gateway.aclose()


@pytest.fixture
def saga(
    engine: AsyncEngine, database: Database, redis: Redis, temporal: Client, gateway: Forgetful
) -> Saga:
    return Saga(engine, database, temporal, RedisSeatPreclaims(redis), {gateway.name: gateway})


@pytest.fixture
def promising(saga: Saga) -> Saga:
    return replace(saga, mode=PaymentMode.AUTHORISE)


async def asked_on(
    saga: Saga,
    input: BookingInput,
    handle: WorkflowHandle[Any, Any],
    gateway: Forgetful,
    call: str,
) -> None:
    """However often the reaper comes by, the first run goes on and asks again."""
    first = await handle.describe()
    async with saga.engine.begin() as connection:
        for statement in (LONG_AGO, REFUNDS_LONG_AGO):
            await connection.execute(text(statement), {"id": UUID(input.booking_id)})

    async def asked_again() -> bool:
        await ReaperLoop(saga.work, saga.process, saga.news).one_pass()
        return gateway.asked[call] >= 2

    await eventually(asked_again, seconds=60)
    now = await handle.describe()
    assert (now.run_id, now.status) == (first.run_id, WorkflowExecutionStatus.RUNNING)


@both
async def test_a_promise_that_the_provider_does_not_know_is_neither_voided_nor_given_up(
    promising: Saga, hall: Hall, gateway: Forgetful, provider: Sandbox, error: SeatholdError
) -> None:
    saga, input, gateway.error = promising, hall.input(), error
    async with saga.worker():
        session_id = await page_of_ended_hold(saga, input)
        reference = pay(provider, session_id, "authorised", force=True)
        gateway.lost.add(reference)
        await tell(saga, session_id)
        receipt = await receipt_id(saga, reference)
        handle = saga.client.get_workflow_handle(late_payment_workflow_id(str(receipt)))
        await asked_on(saga, input, handle, gateway, "void")
        assert await cases_of(saga, input) == ["payment_uncertain"]
        gateway.lost.clear()
        assert (await handle.result())["outcome"] == "voided"
    assert provider.payment(reference)["status"] == "voided"


@both
async def test_an_accepted_refund_that_the_provider_does_not_know_has_not_failed(
    saga: Saga, hall: Hall, gateway: Forgetful, provider: Sandbox, error: SeatholdError
) -> None:
    input, gateway.error = hall.input(), error
    async with saga.worker():
        reference = await sold(saga, input, provider)
        gateway.lost.add(reference)
        number = await ask(saga, input)
        handle = saga.client.get_workflow_handle(refund_workflow_id(input.booking_id, number))
        await asked_on(saga, input, handle, gateway, "read_refund")
        assert await saga.state(input) == "refund_pending"
        assert await cases_of(saga, input) == ["refund_overdue"]
        gateway.lost.clear()
        assert (await handle.result())["outcome"] == "succeeded"
    assert await saga.state(input) == "refunded"
    assert provider.payment(reference)["refunded"] == 2400


@both
async def test_late_money_whose_refund_the_provider_does_not_know_is_on_its_way_still(
    saga: Saga, hall: Hall, gateway: Forgetful, provider: Sandbox, error: SeatholdError
) -> None:
    input, gateway.error = hall.input(), error
    provider.configure(refund_outcome="pending")
    async with saga.worker():
        session_id = await page_of_ended_hold(saga, input)
        reference = pay(provider, session_id, force=True, amount=2399)
        gateway.lost.add(reference)
        await tell(saga, session_id)
        receipt = await receipt_id(saga, reference)
        handle = saga.client.get_workflow_handle(late_payment_workflow_id(str(receipt)))
        await asked_on(saga, input, handle, gateway, "read_refund")
        assert await saga.rows(STATUS, id=UUID(input.booking_id)) == [("pending", 0)]
        gateway.lost.clear()
        await settle_at_the_bank(saga, input, provider, "succeeded")
        assert (await handle.result())["outcome"] == "succeeded"
    assert provider.payment(reference)["refunded"] == 2399


@both
async def test_a_refund_that_was_accepted_gets_no_new_key_from_a_provider_that_knows_nothing(
    saga: Saga, hall: Hall, gateway: Forgetful, provider: Sandbox, error: SeatholdError
) -> None:
    input, gateway.error, gateway.refunds_the_lost = hall.input(), error, False
    provider.configure(refund_outcome="pending")
    async with saga.worker():
        session_id = await page_of_ended_hold(saga, input)
    reference = pay(provider, session_id, force=True, amount=2399)
    await tell(saga, session_id)
    receipt = await receipt_id(saga, reference)

    async def send() -> str:
        return await providers.send_refund(saga.begin, saga.gateways, receipt, request_id=None)

    with pytest.raises(Unavailable, match="has not settled"):
        await send()
    gateway.lost.add(reference)
    with pytest.raises(Unavailable, match="does not tell"):
        await send()
    assert await saga.rows(STATUS, id=UUID(input.booking_id)) == [("pending", 0)]
    gateway.lost.clear()
    await settle_at_the_bank(saga, input, provider, "succeeded")
    assert await send() == "succeeded"
    assert provider.payment(reference)["refunded"] == 2399


async def made_unheard(gateway: Forgetful, reference: str, saga: Saga, input: BookingInput) -> None:
    """The provider makes the refund that is due, its answer is lost; then our key is another's."""
    [[key, amount]] = await saga.rows(
        "SELECT idempotency_key, amount FROM refunds WHERE booking_id = :id",
        id=UUID(input.booking_id),
    )
    await gateway.refund(reference, key=key, amount=Money(amount, "EUR"))
    gateway.refunds_the_lost = False
    gateway.lost.add(reference)


async def test_a_refund_that_was_sent_unheard_is_not_withdrawn_by_another_accounts_not_found(
    saga: Saga, hall: Hall, gateway: Forgetful, provider: Sandbox
) -> None:
    input = hall.input()
    async with saga.worker():
        reference = await sold(saga, input, provider)
    number = await ask(saga, input)
    await made_unheard(gateway, reference, saga, input)
    async with saga.worker():
        await saga.process.refund(UUID(input.booking_id), number, None)
        handle = saga.client.get_workflow_handle(refund_workflow_id(input.booking_id, number))
        await asked_on(saga, input, handle, gateway, "refund")
        assert await saga.rows(STATUS, id=UUID(input.booking_id)) == [("pending", 0)]
        gateway.lost.clear()
        assert (await handle.result())["outcome"] == "succeeded"
    assert await saga.state(input) == "refunded"
    assert provider.payment(reference)["refunded"] == 2400


async def test_late_money_that_was_sent_unheard_gets_no_new_key_from_another_account(
    saga: Saga, hall: Hall, gateway: Forgetful, provider: Sandbox
) -> None:
    input = hall.input()
    async with saga.worker():
        session_id = await page_of_ended_hold(saga, input)
    reference = pay(provider, session_id, force=True, amount=2399)
    await tell(saga, session_id)
    receipt = await receipt_id(saga, reference)
    await made_unheard(gateway, reference, saga, input)
    with pytest.raises(Unavailable, match="does not tell of a payment"):
        await providers.send_refund(saga.begin, saga.gateways, receipt, request_id=None)
    assert await saga.rows(STATUS, id=UUID(input.booking_id)) == [("pending", 0)]
    gateway.lost.clear()
    sent = await providers.send_refund(saga.begin, saga.gateways, receipt, request_id=None)
    assert sent == "succeeded"
    assert provider.payment(reference)["refunded"] == 2399
