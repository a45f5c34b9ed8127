"""Cancelled shows on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, StrictBool, StringConstraints

from api.schemas.common import ApiModel, Instant, example
from api.schemas.money import MoneyOut

SHOW_ID = "7f3c2d1e-4b5a-5c6d-8e7f-9a0b1c2d3e4f"
SUM: dict[str, Any] = {
    "provider": "sandbox",
    "count": 120,
    "amount": {"amount": 288000, "currency": "EUR"},
}
PLAN: dict[str, Any] = {
    "bookings": {"confirmed": 118, "held": 4, "refunded": 2},
    "holds": 4,
    "refunds": [SUM],
    "refunds_per_second": 5,
    "seconds": 24,
}
REPORT: dict[str, Any] = {
    "bookings": {"cancelled": 4, "refunded": 120},
    "holds_ended": 4,
    "without_money": 0,
    "refunded": [SUM],
    "pending": [],
    "failed": [],
    "already_refunded": [],
    "cases": [],
}


class CancelShowBody(ApiModel):
    """``dry_run``: only say what would happen."""

    reason: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=2000),
        Field(examples=["The projector is broken."]),
    ]
    dry_run: StrictBool = False


class SumOut(BaseModel):
    """``count`` refunds of ``amount`` in all."""

    model_config = example(**SUM)

    provider: str
    count: int
    amount: MoneyOut


class ShowCancelPlanOut(BaseModel):
    """What cancelling would do; ``bookings`` by state, ``seconds`` at ``refunds_per_second``.

    That pace is this show's own: another show that is cancelled meanwhile has it beside this one.
    """

    model_config = example(**PLAN)

    bookings: dict[str, int]
    holds: int
    refunds: list[SumOut]
    refunds_per_second: float
    seconds: float


class ShowCancelReportOut(BaseModel):
    """What came of it so far; ``cases`` are the ids of those that a person has to see to."""

    model_config = example(**REPORT)

    bookings: dict[str, int]
    holds_ended: int
    without_money: int
    refunded: list[SumOut]
    pending: list[SumOut]
    failed: list[SumOut]
    already_refunded: list[SumOut]
    cases: list[UUID]


class ShowCancelOut(BaseModel):
    """``paused`` is why it waits: ``balance``, or an operator's reason."""

    model_config = example(
        show_id=SHOW_ID,
        status="finished",
        reason="The projector is broken.",
        actor="8e2b6d14-9c7f-4a35-b1d0-6f4e2a9c8b71",
        requested_at="2026-12-04T09:15:00.000Z",
        finished_at="2026-12-04T09:15:31.000Z",
        plan=PLAN,
        report=REPORT,
    )

    show_id: UUID
    status: Literal["running", "paused", "finished"]
    reason: str
    actor: str
    paused: str | None = None
    requested_at: Instant
    finished_at: Instant | None = None
    plan: ShowCancelPlanOut
    report: ShowCancelReportOut
