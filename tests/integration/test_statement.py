"""``seathold statement``: a table for people, CSV for spreadsheets, the same figures."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner

from domain import ledger
from domain.ledger import Subject
from domain.money import Money
from infra.postgres.database import Database
from infra.postgres.uow import PostgresUnitOfWork
from infra.settings import Settings
from readmodel.statement import FIGURES, Line, of_day
from seathold import statement as command
from seathold.cli import app
from tests.factories import PRICE, create_hall
from tests.helpers.till import Till

DAY = date(2026, 11, 24)
LINE = Line(
    show_id=UUID(int=7),
    starts_at=datetime(2026, 11, 25, 19, 30, tzinfo=UTC),
    theatre="=HYPERLINK(1)",
    auditorium="@Saal, 1",
    movie="\x1b[2JMétropolis",
    provider="sandbox",
    currency="EUR",
    captured=6000,
    refunded=2400,
    fees=70,
    disputed=0,
    net=3530,
    revenue=2400,
    refunds_due=1200,
    undecided=0,
)
YEN = Line(UUID(int=8), LINE.starts_at, "T", "A", "M", "sandbox", "JPY", *range(-8, 0))


def read(document: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(document.decode(), newline="")))


def test_csv_has_each_figure_twice_and_no_formula() -> None:
    euro, yen = read(command.csv_of(DAY, [LINE, YEN]))
    assert euro["date"] == "2026-11-24"
    assert euro["starts_at"] == "2026-11-25T19:30:00.000Z"
    assert (euro["theatre"], euro["auditorium"]) == ("'=HYPERLINK(1)", "'@Saal, 1")
    assert [euro[name] for name in FIGURES] == [str(figure) for figure in LINE.figures()]
    assert (euro["net_decimal"], euro["disputed_decimal"]) == ("35.30", "0.00")
    assert (yen["captured"], yen["captured_decimal"]) == ("-8", "-8")


def test_table_sums_each_currency_and_lets_no_title_steer_the_terminal() -> None:
    table = command.table_of(DAY, [LINE, LINE, YEN])
    header, *rows = table.splitlines()
    assert header.split() == ["starts_at", "theatre", "auditorium", "movie", "provider", *FIGURES]
    assert "\x1b" not in table
    assert "2026-11-25 19:30Z" in rows[0]
    euro, yen = rows[-2:]
    assert euro.split()[:4] == ["total", "sandbox", "120.00", "EUR"]
    assert yen.split()[:4] == ["total", "sandbox", "-8", "JPY"]


def test_a_day_without_money_says_so() -> None:
    assert command.table_of(DAY, []) == "No money moved on 2026-11-24 (UTC).\n"
    assert read(command.csv_of(DAY, [])) == []


async def test_a_day_ends_at_midnight_utc(engine: AsyncEngine, database: Database) -> None:
    """The first and the last instant of a day are in it, those before and after are not."""
    till = Till(database, await create_hall(engine))
    day = datetime(1999, 12, 31, tzinfo=UTC)
    instants = [(day, 1), (day + timedelta(hours=24, microseconds=-1), 10)]
    outside = [(day - timedelta(microseconds=1), 100), (day + timedelta(days=1), 1000)]
    async with engine.begin() as connection:
        for posted_at, amount in (*instants, *outside):
            await connection.execute(
                text(
                    "INSERT INTO ledger_entries (posting_id, kind, booking_id, show_id, provider,"
                    " provider_payment_id, account, debit, credit, currency, posted_at)"
                    " SELECT :id, 'captured', :id, :show, 'sandbox', :id, account, debit, credit,"
                    " 'EUR', :at FROM (VALUES ('provider', CAST(:amount AS bigint), 0),"
                    " ('buyer', 0, CAST(:amount AS bigint))) AS two (account, debit, credit)"
                ),
                {"id": uuid4(), "show": till.hall.show_id, "amount": amount, "at": posted_at},
            )
    async with database.statements() as session:
        lines = await of_day(session, day.date())
    assert [(line.captured, line.undecided) for line in lines] == [(11, 11)]


async def test_each_figure_is_made_of_its_own_facts(
    engine: AsyncEngine, database: Database
) -> None:
    """Also those of promises, of money in dispute, and of a refund that came back."""
    hall = await create_hall(engine)
    paid, refund = Subject(uuid4(), hall.show_id, "sandbox", uuid4()), uuid4()
    postings = [
        ledger.authorised(paid, Money(30_000, "EUR")),
        ledger.released(paid, Money(20_000, "EUR")),
        ledger.captured(paid, Money(20_000, "EUR")),
        ledger.confirmed(paid, Money(9_000, "EUR")),
        ledger.refund_requested(paid, refund, Money(4_000, "EUR")),
        ledger.refund_settled(paid, refund, Money(4_000, "EUR")),
        ledger.refund_failed(paid, refund, Money(1_500, "EUR")),
        ledger.fee(paid, Money(70, "EUR")),
        ledger.dispute_opened(paid, "dispute", Money(600, "EUR")),
    ]
    async with PostgresUnitOfWork(database)() as tx:
        for posting in postings:
            tx.ledger.post(posting)
    async with engine.connect() as connection:
        today = await connection.scalar(text("SELECT (now() AT TIME ZONE 'UTC')::date"))
    async with database.statements() as session:
        lines = await of_day(session, today)
    [own] = [line for line in lines if line.show_id == hall.show_id]
    assert dict(zip(FIGURES, own.figures(), strict=True)) == {
        "captured": 20_000,
        "refunded": 2_500,
        "fees": 70,
        "disputed": 600,
        "net": 16_830,
        "revenue": 9_000,
        "refunds_due": 1_500,
        "undecided": 7_000,
    }


async def test_lines_are_read_from_the_database(
    engine: AsyncEngine, database: Database, settings: Settings
) -> None:
    till = Till(database, await create_hall(engine))
    input = await till.hold("A1")
    await till.confirm(input, await till.learn(input, f"pay_{uuid4()}", Money(PRICE, "EUR")))
    async with engine.connect() as connection:
        today = await connection.scalar(text("SELECT (now() AT TIME ZONE 'UTC')::date"))
    lines = await command.read(settings, today)
    [own] = [line for line in lines if line.show_id == till.hall.show_id]
    assert (own.captured, own.revenue, own.net) == (PRICE, PRICE, PRICE)


def test_command_line(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEATHOLD_DATABASE_URL", settings.database_url.get_secret_value())
    run = CliRunner().invoke
    told = run(app, ["statement", "--date", "1998-01-01"])
    assert (told.exit_code, told.output) == (0, "No money moved on 1998-01-01 (UTC).\n")
    told = run(app, ["statement", "--date", "1998-01-01", "--csv"])
    assert told.exit_code == 0
    assert told.stdout_bytes.startswith(b'"date","show_id","starts_at",')
    assert run(app, ["statement", "--date", "tomorrow"]).exit_code == 2
