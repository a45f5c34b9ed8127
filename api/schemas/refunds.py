"""Refunds on the wire."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.bookings import Label
from api.schemas.common import ApiModel, example
from api.schemas.money import MoneyOut


class MoneyIn(ApiModel):
    """``amount`` in the currency's minor unit."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"amount": 1200, "currency": "EUR"}]}
    )

    amount: Annotated[int, Field(ge=0, le=10**12, strict=True)]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class RefundBody(ApiModel):
    """``seats``: all that are left, unless named. ``amount``: a sum, for staff only.

    ``expected`` is the quote that was shown; the refund is refused if it is another by now.
    """

    seats: (
        Annotated[list[Label], Field(min_length=1, max_length=200, examples=[["C12"]])] | None
    ) = None
    amount: MoneyIn | None = None
    reason: Annotated[str, Field(max_length=500, examples=["Cannot come after all."])] = ""
    expected: MoneyIn | None = None


class QuoteOut(BaseModel):
    """``expires_at``: when the percentage falls; null when it cannot fall any more."""

    model_config = example(
        amount={"amount": 1200, "currency": "EUR"},
        percent=50,
        seats=["C12", "C13"],
        expires_at="2026-12-04T17:30:00.000Z",
    )

    amount: MoneyOut
    percent: int
    seats: list[str]
    expires_at: str | None
