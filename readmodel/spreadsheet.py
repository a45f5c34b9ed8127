"""CSV that a spreadsheet opens without running anything in it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from decimal import Decimal

from domain.money import MINOR_DIGITS, Money

# What Excel, LibreOffice or Google Sheets may take for the start of a formula, and what they skip
# on the way to it.
RISKY = frozenset("=+-@\t\r\n＝＋－＠")

Cell = str | int | Decimal


def as_csv(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    """RFC 4180 in UTF-8: every text quoted and made safe, numbers plain."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)
    for row in (header, *rows):
        writer.writerow([safe(cell) if isinstance(cell, str) else cell for cell in row])
    return file.getvalue().encode()


def safe(text: str) -> str:
    """The text, with an apostrophe before it when a spreadsheet could take it for a formula."""
    return f"'{text}" if text[:1] in RISKY else text


def as_decimal(money: Money) -> Decimal:
    """``Decimal("24.00")`` for 2400 EUR, with as many digits as the currency has."""
    return Decimal(money.amount).scaleb(-MINOR_DIGITS.get(money.currency, 2))
