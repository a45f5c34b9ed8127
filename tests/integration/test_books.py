"""What the services post: the worked example of docs/ledger.md, and when a booking is settled."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.ledger import Account, Kind
from domain.money import Money
from domain.payment import ProviderPaymentStatus
from domain.steps import BookingInput
from infra.postgres.database import Database
from readmodel import statement
from readmodel.statement import FIGURES
from tests.factories import PRICE, create_hall
from tests.helpers.books import is_settled
from tests.helpers.till import Till

DOCS = Path(__file__).parents[2] / "docs" / "ledger.md"
ONE, TWO = Money(PRICE, "EUR"), Money(2 * PRICE, "EUR")
POSTED = text("""
SELECT kind, max(account) FILTER (WHERE debit > 0) AS debit,
       max(account) FILTER (WHERE credit > 0) AS credit, max(debit) AS amount
FROM ledger_entries WHERE booking_id = :id GROUP BY posting_id, kind ORDER BY min(id)
""")
TODAY = text("SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date")


def table_with(*header: str) -> list[list[str]]:
    """The rows of the document's table with this header."""
    lines = DOCS.read_text().splitlines()
    start = lines.index(f"| {' | '.join(header)} |")
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


@pytest.fixture
async def till(engine: AsyncEngine, database: Database) -> Till:
    return Till(database, await create_hall(engine))


async def posted(engine: AsyncEngine, input: BookingInput) -> list[list[str]]:
    async with engine.connect() as connection:
        rows = await connection.execute(POSTED, {"id": UUID(input.booking_id)})
        return [[str(cell) for cell in row] for row in rows]


async def settled(till: Till, input: BookingInput) -> bool:
    async with till.begin.alone() as tx:
        return await is_settled(tx, UUID(input.booking_id))


async def paid_twice(till: Till, *, fee: int = 0) -> BookingInput:
    ada = await till.hold("A1", "A2")
    first = await till.learn(ada, f"pay_{uuid4()}", TWO, fee=fee)
    assert await till.confirm(ada, first) == "confirmed"
    await till.settle(await till.learn(ada, f"pay_{uuid4()}", TWO, fee=fee))
    return ada


async def test_the_worked_example_of_the_documentation(
    till: Till, engine: AsyncEngine, database: Database
) -> None:
    ada = await paid_twice(till, fee=61)
    bob = await till.hold("A3")
    await till.lapse(bob)
    await till.learn(bob, f"pay_{uuid4()}", ONE, fee=43)

    told = table_with("booking", "fact", "debit", "credit", "amount")
    found = [
        [name, *row]
        for name, of in (("Ada", ada), ("Bob", bob))
        for row in await posted(engine, of)
    ]
    assert found == told
    assert await settled(till, ada)
    assert await settled(till, bob), "its refund is under way"

    async with engine.connect() as connection:
        today = await connection.scalar(TODAY)
    async with database.statements() as session:
        lines = await statement.of_day(session, today)
    [line] = [line for line in lines if line.show_id == till.hall.show_id]
    assert [str(figure) for figure in line.figures()] == table_with(*FIGURES)[0]
    assert (line.provider, line.currency, line.movie) == ("sandbox", "EUR", "Metropolis")
    net = line.revenue + line.refunds_due + line.undecided - line.fees - line.disputed
    assert line.net == net


def test_the_documentation_names_every_account_and_fact() -> None:
    accounts = [row[0].strip("`") for row in table_with("account", "side", "what stands there")]
    facts = [row[0].split("`")[1] for row in table_with("fact", "debit", "credit")]
    assert accounts == list(Account)
    assert facts == list(Kind)


async def test_facts_told_again_post_nothing(till: Till, engine: AsyncEngine) -> None:
    input, reference = await till.hold("A1", "A2"), f"pay_{uuid4()}"
    for _ in range(2):
        recorded = await till.learn(input, reference, TWO)
        await till.confirm(input, recorded)
    other = f"pay_{uuid4()}"
    for _ in range(2):
        extra = await till.learn(input, other, TWO)
        await till.settle(extra)
    # The provider's later word on a payment, once its refund is in its books.
    await till.learn(input, other, TWO, status=ProviderPaymentStatus.REFUNDED, refunded=2 * PRICE)
    kinds = [row[0] for row in await posted(engine, input)]
    assert kinds == ["captured", "confirmed", "captured", "refund_requested", "refund_settled"]


async def test_a_capture_that_grows_is_posted_by_what_is_new(
    till: Till, engine: AsyncEngine
) -> None:
    input, reference = await till.hold("A1", "A2"), f"pay_{uuid4()}"
    for paid in (ONE, ONE, TWO, ONE, TWO):
        await till.learn(input, reference, paid, status=ProviderPaymentStatus.PROCESSING)
    assert await posted(engine, input) == [["captured", "provider", "buyer", str(PRICE)]] * 2


async def test_undecided_money_leaves_a_booking_unsettled(till: Till) -> None:
    input = await till.hold("A1", "A2")
    assert await settled(till, input), "it took nothing yet"
    recorded = await till.learn(input, f"pay_{uuid4()}", TWO)
    assert not await settled(till, input)
    await till.confirm(input, recorded)
    assert await settled(till, input)


async def test_a_refund_that_failed_leaves_a_booking_unsettled(
    till: Till, engine: AsyncEngine
) -> None:
    input = await till.hold("A1")
    await till.lapse(input)
    late = await till.learn(input, f"pay_{uuid4()}", ONE)
    assert await settled(till, input)
    await till.settle(late, "failed")
    assert not await settled(till, input)
    await till.settle(late)
    assert await settled(till, input)
    kinds = [row[0] for row in await posted(engine, input)]
    assert kinds == ["captured", "refund_requested", "refund_settled"]


async def test_a_payment_first_heard_of_when_it_was_given_back_is_posted(
    till: Till, engine: AsyncEngine
) -> None:
    """Its webhook was lost and somebody refunded it by hand: captured, and for a person to see."""
    input = await till.hold("A1")
    refunded = ProviderPaymentStatus.REFUNDED
    await till.learn(input, f"pay_{uuid4()}", ONE, status=refunded, refunded=PRICE)
    assert [row[0] for row in await posted(engine, input)] == ["captured"]
    assert not await settled(till, input)


async def test_a_day_without_money_has_no_lines(database: Database) -> None:
    async with database.statements() as session:
        assert await statement.of_day(session, date(1999, 1, 1)) == []
