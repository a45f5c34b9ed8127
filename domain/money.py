"""Money: integer minor units and an ISO 4217 code, never a float."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units (2400 is 24.00) of one currency (three capitals)."""

    amount: int
    currency: str
