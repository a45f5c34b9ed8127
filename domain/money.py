"""Money: integer minor units and an ISO 4217 code, never a float."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units (2400 is 24.00) of one currency (three capitals)."""

    amount: int
    currency: str


# How many digits are behind the point, where it is not two (ISO 4217).
MINOR_DIGITS = {
    "BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "ISK": 0, "JPY": 0, "KMF": 0, "KRW": 0, "PYG": 0,
    "RWF": 0, "UGX": 0, "UYI": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
    "BHD": 3, "IQD": 3, "JOD": 3, "KWD": 3, "LYD": 3, "OMR": 3, "TND": 3,
    "CLF": 4, "UYW": 4,
}  # fmt: skip


def payable(amount: int, currency: str) -> int:
    """The most of ``amount`` that can be paid: of thousandths the card networks take only tens."""
    return amount - amount % 10 if MINOR_DIGITS.get(currency, 2) == 3 else amount


def format_money(money: Money) -> str:
    """For people to read, the same everywhere: ``1,024.00 EUR``, ``3,000 JPY``."""
    digits = MINOR_DIGITS.get(money.currency, 2)
    whole, rest = divmod(abs(money.amount), 10**digits)
    sign = "-" if money.amount < 0 else ""
    point = f".{rest:0{digits}d}" if digits else ""
    return f"{sign}{whole:,}{point} {money.currency}"
