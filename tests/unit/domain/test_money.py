"""Amounts as people read them: no digit gained or lost, whatever the currency."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import MINOR_DIGITS, Money, format_money

currencies = st.sampled_from(["EUR", "USD", *MINOR_DIGITS])


@pytest.mark.parametrize(
    ("amount", "currency", "read"),
    [
        (2400, "EUR", "24.00 EUR"),
        (102_400, "EUR", "1,024.00 EUR"),
        (5, "EUR", "0.05 EUR"),
        (0, "EUR", "0.00 EUR"),
        (-5, "EUR", "-0.05 EUR"),
        (-102_405, "USD", "-1,024.05 USD"),
        (3000, "JPY", "3,000 JPY"),
        (0, "JPY", "0 JPY"),
        (1_234_567, "KWD", "1,234.567 KWD"),
        (7, "TND", "0.007 TND"),
        (12_345, "CLF", "1.2345 CLF"),
        (123_456_789_012_345_678_901, "EUR", "1,234,567,890,123,456,789.01 EUR"),
    ],
)
def test_amounts_as_people_read_them(amount: int, currency: str, read: str) -> None:
    assert format_money(Money(amount, currency)) == read


@given(st.integers(), currencies)
def test_the_minor_units_can_be_read_back(amount: int, currency: str) -> None:
    number, _, code = format_money(Money(amount, currency)).partition(" ")
    assert code == currency
    assert int(number.replace(",", "").replace(".", "")) == amount
    assert len(number.partition(".")[2]) == MINOR_DIGITS.get(currency, 2)


def test_amounts_of_two_currencies_are_never_equal() -> None:
    assert Money(100, "EUR") != Money(100, "USD")
    assert Money(100, "EUR") == Money(100, "EUR")
