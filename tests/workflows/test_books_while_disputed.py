"""Books with an open dispute are as they should be, whatever became of the case of it."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest

from domain import ledger
from domain.ledger import Subject
from domain.money import Money
from domain.steps import BookingInput
from services import case
from services.case import CaseChange
from tests.factories import Hall
from tests.helpers.eventually import eventually
from tests.helpers.saga import Saga
from tests.sandbox.process import NO_FAULTS, Sandbox
from tests.workflows.test_case_openings import cases_of
from tests.workflows.test_disputes import disputed
from tests.workflows.test_refund_faults import settle_at_the_bank
from tests.workflows.test_refunds import ask, result, sold

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
def slow_bank(provider: Sandbox) -> Iterator[Sandbox]:
    yield provider
    provider.configure(**NO_FAULTS)


async def answered(saga: Saga, input: BookingInput) -> None:
    """Somebody has answered the bank, and resolves the case long before the bank decides."""
    [[case_id]] = await saga.rows(
        "SELECT id FROM cases WHERE booking_id = :id", id=UUID(input.booking_id)
    )
    change = CaseChange(case_id, None, uuid4(), None)
    async with saga.begin() as tx:
        await case.resolve(tx, change, "the bank has our answer")


async def refund_in_flight(saga: Saga, input: BookingInput, bank: Sandbox) -> tuple[str, int]:
    """A seat is given up, and the bank takes its time; meanwhile it disputes the payment."""
    reference = await sold(saga, input, bank)
    bank.configure(refund_outcome="pending")
    number = await ask(saga, input, "A1")

    async def accepted() -> bool:
        return "A1" not in await saga.claims(input)

    await eventually(accepted, seconds=30)
    await disputed(saga, input, bank, reference, "opened", amount=1200)
    await answered(saga, input)
    return reference, number


async def test_a_refund_that_settles_meanwhile_is_no_case(
    saga: Saga, hall: Hall, slow_bank: Sandbox
) -> None:
    input = hall.input()
    _, number = await refund_in_flight(saga, input, slow_bank)
    await settle_at_the_bank(saga, input, slow_bank, "succeeded")
    assert await result(saga, input, number) == "succeeded"
    assert await cases_of(saga, input) == ["dispute"]


async def test_more_with_the_bank_than_it_disputes_is_a_case(
    saga: Saga, hall: Hall, slow_bank: Sandbox
) -> None:
    """The control."""
    input = hall.input()
    reference, number = await refund_in_flight(saga, input, slow_bank)
    [[receipt]] = await saga.rows(
        "SELECT id FROM provider_payments WHERE reference = :it", it=reference
    )
    about = Subject(UUID(input.booking_id), UUID(input.show_id), "sandbox", receipt)
    async with saga.begin() as tx:
        tx.ledger.post(ledger.dispute_opened(about, "another", Money(1, "EUR")))
    await settle_at_the_bank(saga, input, slow_bank, "succeeded")
    assert await result(saga, input, number) == "succeeded"
    assert await cases_of(saga, input) == ["dispute", "books_open"]
