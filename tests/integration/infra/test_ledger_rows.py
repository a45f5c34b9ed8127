"""The ledger's table: what is posted stays, balances, and is posted once."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.ext.asyncio import AsyncEngine

from domain import ledger
from domain.ledger import Account, Posting, Subject
from domain.money import Money
from infra.postgres.database import Database
from infra.postgres.uow import PostgresUnitOfWork
from tests.helpers.books import balances, balances_of

PRICE = Money(2400, "EUR")
ROWS = (
    "SELECT account, debit, credit, currency FROM ledger_entries WHERE booking_id = %s ORDER BY 1"
)
ADD = """
INSERT INTO ledger_entries (posting_id, kind, booking_id, show_id, provider, provider_payment_id,
                            account, debit, credit, currency)
SELECT gen_random_uuid(), 'captured', id, id, 'sandbox', id, 'buyer', {}
FROM gen_random_uuid() AS id
"""
Connection = psycopg.Connection[tuple[object, ...]]


@pytest.fixture
def db(superuser_url: str, engine: AsyncEngine) -> Iterator[Connection]:
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def begin(database: Database) -> PostgresUnitOfWork:
    return PostgresUnitOfWork(database)


@pytest.fixture
def paid() -> Subject:
    return Subject(uuid4(), uuid4(), "sandbox", uuid4())


async def post(begin: PostgresUnitOfWork, *postings: Posting) -> None:
    async with begin() as tx:
        for posting in postings:
            tx.ledger.post(posting)


async def test_every_fact_can_be_posted_and_none_twice(
    begin: PostgresUnitOfWork, paid: Subject
) -> None:
    refund = uuid4()
    facts = [
        ledger.authorised(paid, PRICE),
        ledger.captured(paid, PRICE),
        ledger.released(paid, PRICE),
        ledger.fee(paid, Money(70, "EUR")),
        ledger.confirmed(paid, PRICE),
        ledger.refund_requested(paid, refund, Money(400, "EUR"), source=Account.REVENUE),
        ledger.refund_settled(paid, refund, Money(400, "EUR")),
        ledger.refund_failed(paid, refund, Money(400, "EUR")),
        ledger.dispute_opened(paid, "dp_1", Money(1000, "EUR")),
        ledger.dispute_won(paid, "dp_1", Money(1000, "EUR")),
        ledger.dispute_opened(paid, "dp_2", Money(500, "EUR")),
        ledger.dispute_lost(paid, "dp_2", Money(500, "EUR")),
    ]
    await post(begin, *facts)
    await post(begin, *facts, *facts)
    async with begin.alone() as tx:
        found = await balances(tx, paid.booking_id)
    assert found == balances_of(facts)


async def test_each_currency_has_its_balance(begin: PostgresUnitOfWork, paid: Subject) -> None:
    other = Subject(paid.booking_id, paid.show_id, "sandbox", uuid4())
    await post(begin, ledger.captured(paid, PRICE), ledger.captured(other, Money(5, "JPY")))
    async with begin.alone() as tx:
        found = await balances(tx, paid.booking_id)
    assert [(one.currency, one.accounts[Account.PROVIDER]) for one in found] == [
        ("EUR", 2400),
        ("JPY", 5),
    ]


async def test_a_posting_that_is_undone_leaves_nothing(
    begin: PostgresUnitOfWork, paid: Subject, db: Connection
) -> None:
    async def post_and_fail() -> None:
        async with begin() as tx:
            tx.ledger.post(ledger.captured(paid, PRICE))
            assert len(await balances(tx, paid.booking_id)) == 1
            raise LookupError

    with pytest.raises(LookupError):
        await post_and_fail()
    assert db.execute(ROWS, (paid.booking_id,)).fetchall() == []


async def test_another_account_under_the_same_id_is_refused(
    begin: PostgresUnitOfWork, paid: Subject, db: Connection
) -> None:
    """One half would be there already: the other half alone does not balance."""
    refund = uuid4()
    await post(begin, ledger.refund_requested(paid, refund, PRICE))
    with pytest.raises(errors.CheckViolation, match="does not balance"):
        await post(begin, ledger.refund_requested(paid, refund, PRICE, source=Account.REVENUE))
    assert len(db.execute(ROWS, (paid.booking_id,)).fetchall()) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entries SET debit = debit + 1 WHERE booking_id = %(id)s",
        "UPDATE ledger_entries SET posted_at = now() WHERE booking_id = %(id)s",
        "DELETE FROM ledger_entries WHERE booking_id = %(id)s",
        "TRUNCATE ledger_entries",
    ],
)
async def test_what_was_posted_stays(
    begin: PostgresUnitOfWork, paid: Subject, db: Connection, statement: str
) -> None:
    await post(begin, ledger.captured(paid, PRICE))
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="append-only"):
        db.execute(statement.encode(), {"id": paid.booking_id} if "%" in statement else None)
    assert db.execute(ROWS, (paid.booking_id,)).fetchall() == [
        ("buyer", 0, 2400, "EUR"),
        ("provider", 2400, 0, "EUR"),
    ]


@pytest.mark.parametrize("values", ["1, 0, 'EUR'", "0, 1, 'EUR'"])
def test_half_a_posting_is_refused(db: Connection, values: str) -> None:
    with pytest.raises(errors.CheckViolation, match="does not balance"):
        db.execute(ADD.format(values).encode())


@pytest.mark.parametrize("values", ["0, 0, 'EUR'", "1, 1, 'EUR'", "-1, 0, 'EUR'", "-1, 1, 'EUR'"])
def test_a_row_has_one_side_and_it_is_more_than_nothing(db: Connection, values: str) -> None:
    with pytest.raises(errors.CheckViolation, match="one_side"):
        db.execute(ADD.format(values).encode())
