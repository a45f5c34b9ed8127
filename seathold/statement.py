"""``seathold statement``: a day's money by show and provider, as a table or as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from domain.money import Money, format_money
from infra.postgres.database import Database
from infra.settings import Settings
from readmodel import statement
from readmodel.instants import stamp
from readmodel.spreadsheet import Cell, as_csv, as_decimal
from readmodel.statement import FIGURES, Line

WORDS = ("starts_at", "theatre", "auditorium", "movie")


async def read(settings: Settings, day: date) -> list[Line]:
    database = Database(settings, application_name="seathold-statement")
    try:
        async with database.statements() as session:
            return await statement.of_day(session, day)
    finally:
        await database.close()


def csv_of(day: date, lines: Sequence[Line]) -> bytes:
    """One row a line; each figure in minor units and as a decimal number."""
    figures = [name for figure in FIGURES for name in (figure, f"{figure}_decimal")]
    header = ["date", "show_id", *WORDS, "provider", "currency", *figures]
    return as_csv(header, (_csv_row(day, line) for line in lines))


def table_of(day: date, lines: Sequence[Line]) -> str:
    """The same for people, with a sum for each provider and currency."""
    if not lines:
        return f"No money moved on {day.isoformat()} (UTC).\n"
    header = [*WORDS, "provider", *FIGURES]
    rows = [[*_words(line), line.provider, *_figures(line.currency, line)] for line in lines]
    sums: dict[tuple[str, str], list[int]] = {}
    for line in lines:
        key = line.provider, line.currency
        before = sums.get(key, [0] * len(FIGURES))
        sums[key] = [a + b for a, b in zip(before, line.figures(), strict=True)]
    for (provider, currency), figures in sorted(sums.items()):
        told = [format_money(Money(figure, currency)) for figure in figures]
        rows.append(["total", *[""] * (len(WORDS) - 1), provider, *told])
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    left = len(WORDS) + 1
    return "".join(
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        + "\n"
        for row in (header, *rows)
    )


def _csv_row(day: date, line: Line) -> list[Cell]:
    figures: list[Cell] = []
    for figure in line.figures():
        figures += [figure, as_decimal(Money(figure, line.currency))]
    words = [stamp(line.starts_at), line.theatre, line.auditorium, line.movie]
    return [day.isoformat(), str(line.show_id), *words, line.provider, line.currency, *figures]


def _words(line: Line) -> list[str]:
    """What came from outside must not steer the terminal."""
    words = [f"{line.starts_at:%Y-%m-%d %H:%M}Z", line.theatre, line.auditorium, line.movie]
    return ["".join(one if one.isprintable() else "?" for one in word) for word in words]


def _figures(currency: str, line: Line) -> list[str]:
    return [format_money(Money(figure, currency)) for figure in line.figures()]
