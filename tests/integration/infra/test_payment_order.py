"""PostgreSQL orders a payment's facts as the domain does, however they come."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from uuid import UUID, uuid4

import pytest
from sqlalchemy import CheckConstraint, Table, text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.money import Money
from domain.payment import ProviderPayment
from domain.payment import ProviderPaymentStatus as Told
from domain.payment_status import PaymentStatus, rank
from infra.postgres.database import Database
from infra.postgres.payment import rank_of
from infra.postgres.tables.payment import payments, provider_payments
from infra.postgres.uow import PostgresUnitOfWork
from services import booking, checkout
from services.payment_rows import Attempt, Receipt
from tests.factories import create_hall

RANKS = text(
    f"SELECT status, {rank_of('status')} AS rank"  # noqa: S608
    " FROM unnest(CAST(:statuses AS text[])) AS status"
)


@pytest.fixture
async def attempt(engine: AsyncEngine, database: Database) -> Attempt:
    """A held booking with an open pay page."""
    hall = await create_hall(engine)
    input = hall.input()
    async with PostgresUnitOfWork(database)() as tx:
        await tx.bookings.add_request(input, key_hash=None, body_hash=b"body")
        await booking.hold(tx, input)
    async with PostgresUnitOfWork(database)() as tx:
        attempt = await checkout.plan_checkout(
            tx,
            UUID(input.booking_id),
            user_id=hall.user_id,
            provider="sandbox",
            return_url="http://shop.test/back",
            request_id=None,
        )
    assert attempt is not None
    return attempt


async def test_the_database_ranks_as_the_domain_does(database: Database) -> None:
    async with database.statements() as session:
        rows = await session.all(RANKS, statuses=[str(status) for status in PaymentStatus])
    assert {row.status: row.rank for row in rows} == {
        str(status): rank(status) for status in PaymentStatus
    }


@pytest.mark.parametrize("table", [payments, provider_payments], ids=lambda table: table.name)
def test_every_status_a_row_may_have_is_ranked(table: Table) -> None:
    [allowed] = [
        str(check.sqltext)
        for check in table.constraints
        if isinstance(check, CheckConstraint) and str(check.sqltext).startswith("status ")
    ]
    for word in allowed.split("'")[1::2]:
        PaymentStatus(word)


@pytest.mark.parametrize(
    ("facts", "end"),
    [
        ([(Told.PROCESSING, 0, 0), (Told.FAILED, 0, 0)], (Told.FAILED, 0, 0)),
        ([(Told.AUTHORISED, 0, 0), (Told.VOIDED, 0, 0)], (Told.VOIDED, 0, 0)),
        ([(Told.CAPTURED, 1000, 0), (Told.CAPTURED, 2400, 0)], (Told.CAPTURED, 2400, 0)),
        (
            [
                (Told.AUTHORISED, 0, 0),
                (Told.CAPTURED, 1000, 0),
                (Told.CAPTURED, 2400, 0),
                (Told.CAPTURED, 2400, 500),
                (Told.REFUNDED, 2400, 2400),
            ],
            (Told.REFUNDED, 2400, 2400),
        ),
        # Another sum is new, the status it comes with is not.
        ([(Told.REFUNDED, 2400, 0), (Told.CAPTURED, 2400, 2400)], (Told.REFUNDED, 2400, 2400)),
    ],
    ids=["failed", "voided", "more captured", "refunded", "refunded and stale"],
)
async def test_the_same_facts_in_any_order_leave_the_same_row(
    database: Database,
    attempt: Attempt,
    facts: Sequence[tuple[Told, int, int]],
    end: tuple[Told, int, int],
) -> None:
    for order in permutations(facts):
        receipt = await told(database, attempt, [fact for fact in order for _ in range(2)])
        assert (receipt.status, receipt.paid.amount, receipt.refunded) == end, order


async def told(
    database: Database, attempt: Attempt, facts: Sequence[tuple[Told, int, int]]
) -> Receipt:
    """Record facts about a new payment, one after another; what is on record then."""
    reference = f"pay_{uuid4()}"
    async with PostgresUnitOfWork(database)() as tx:
        for status, captured, refunded in facts:
            fact = ProviderPayment(
                reference=reference,
                session_id="s",
                booking_reference=str(attempt.booking_id),
                status=status,
                amount=Money(2400, "EUR"),
                captured=captured,
                refunded=refunded,
            )
            receipt, _ = await tx.payments.record_receipt(attempt, "sandbox", fact)
    return receipt
