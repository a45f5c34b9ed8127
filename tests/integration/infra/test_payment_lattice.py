"""The same facts about a payment, in any order and number, leave the same rows and books."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.booking import CloseReason
from domain.money import Money
from domain.payment import DisputeStatus, ProviderDispute, ProviderPayment
from domain.payment import ProviderPaymentStatus as Told
from infra.postgres.database import Database
from services import payment
from tests.factories import Hall, create_hall
from tests.helpers.till import Till

PRICE = Money(1200, "EUR")
# Not the cases: a dispute that is first heard of when it is won needs nobody's answer any more.
ROWS = """
SELECT paid.status, paid.captured, paid.refunded, paid.decision, paid.disputed,
       payments.status, payments.disputed, bookings.state,
       (SELECT jsonb_agg(jsonb_build_array(status, amount, borne_by) ORDER BY reference)
        FROM disputes WHERE provider_payment_id = paid.id),
       (SELECT jsonb_agg(jsonb_build_array(reason, status, amount)) FROM refunds
        WHERE provider_payment_id = paid.id),
       (SELECT jsonb_object_agg(account, amount) FROM (
            SELECT account, sum(debit) - sum(credit) AS amount FROM ledger_entries
            WHERE provider_payment_id = paid.id GROUP BY account
        ) AS books)
FROM provider_payments AS paid JOIN payments ON payments.id = payment_id
JOIN bookings ON bookings.id = paid.booking_id WHERE paid.reference = :reference
"""


def fact(status: Told, *, refunded: int = 0, disputes: str = "") -> ProviderPayment:
    """What the provider says at one moment; the test fills in which payment it is of."""
    captured = PRICE.amount if status in (Told.CAPTURED, Told.REFUNDED) else 0
    told = tuple(
        ProviderDispute(f"dsp_{word}", DisputeStatus(word.partition("-")[2]), PRICE)
        for word in disputes.split()
    )
    told = tuple(replace(one, reference=one.reference.partition("-")[0]) for one in told)
    return ProviderPayment("", "s", "", status, PRICE, captured, refunded, told)


# What can hold of one payment together: each list is a life, each entry a moment of it.
C = Told.CAPTURED
LIVES: dict[str, list[ProviderPayment]] = {
    "paid": [fact(Told.PROCESSING), fact(C)],
    "failed first": [fact(Told.PROCESSING), fact(Told.FAILED), fact(C)],
    "failed": [fact(Told.PROCESSING), fact(Told.FAILED)],
    "refunded": [fact(C), fact(C, refunded=500), fact(Told.REFUNDED, refunded=1200)],
    "inquiry": [fact(C), fact(C, disputes="a-inquiry")],
    "won": [fact(C), fact(C, disputes="a-inquiry"), fact(C, disputes="a-open")]
    + [fact(C, disputes="a-won")],
    "lost": [fact(Told.PROCESSING), fact(C), fact(C, disputes="a-open")]
    + [fact(C, disputes="a-lost")],
    "twice": [fact(C, disputes="a-open"), fact(C, disputes="a-won b-open")]
    + [fact(C, disputes="a-won b-lost")],
}


@st.composite
def tellings(draw: st.DrawFn) -> tuple[str, list[ProviderPayment]]:
    """A life, and some order in which its moments are told, some of them again."""
    name = draw(st.sampled_from(sorted(LIVES)))
    again = draw(st.lists(st.sampled_from(LIVES[name]), max_size=3))
    return name, draw(st.permutations([*LIVES[name], *again]))


# How each life ends when it is told straight, once for all its examples.
STRAIGHT: dict[tuple[str, bool], tuple[Any, ...]] = {}


@pytest.fixture(scope="module")
async def hall(engine: AsyncEngine) -> Hall:
    return await create_hall(engine, seats=1)


async def end_of(
    engine: AsyncEngine, till: Till, facts: Sequence[ProviderPayment], *, held: bool
) -> tuple[Any, ...]:
    """Tell a new booking of these facts; what stands in the tables then. Its seat goes free."""
    input = await till.hold("A1")
    if not held:
        await till.lapse(input)
    reference = f"pay_{uuid4().hex}"
    for one in facts:
        async with till.begin() as tx:
            attempt = await tx.payments.latest_attempt(UUID(input.booking_id))
            assert attempt is not None
            await payment.record_payment(tx, attempt, replace(one, reference=reference))
    async with engine.connect() as connection:
        [row] = await connection.execute(text(ROWS), {"reference": reference})
    if held:
        # A lapse would find the money, and the booking would keep its seat.
        await till.lapse(input, CloseReason.CANCELLED)
    return tuple(row)


@pytest.mark.parametrize("held", [True, False], ids=["held", "expired"])
@given(told=tellings())
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_the_same_facts_leave_the_same_rows(
    told: tuple[str, list[ProviderPayment]],
    engine: AsyncEngine,
    database: Database,
    hall: Hall,
    held: bool,
) -> None:
    name, facts = told
    till = Till(database, hall)
    if (name, held) not in STRAIGHT:
        STRAIGHT[name, held] = await end_of(engine, till, LIVES[name], held=held)
    assert await end_of(engine, till, facts, held=held) == STRAIGHT[name, held]
