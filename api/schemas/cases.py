"""Cases on the wire."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from api.schemas.bookings import BOOKING_ID
from api.schemas.common import ApiModel, Id, NextPage, example
from domain.case import CaseKind, CaseStatus

CASE_ID = "3d9f1c7a-52b8-5e0d-8a46-b7c9e1f20d35"
STAFF_ID = "8e2b6d14-9c7f-4a35-b1d0-6f4e2a9c8b71"


class AssignBody(ApiModel):
    """Without an assignee the case is yours."""

    assignee: Annotated[Id | None, Field(examples=[STAFF_ID])] = None


class ResolveBody(ApiModel):
    reason: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=2000),
        Field(examples=["Refunded by hand at the provider; the buyer was told."]),
    ]


class CaseOut(BaseModel):
    model_config = example(
        id=CASE_ID,
        kind="wrong_amount",
        status="resolved",
        summary="23.99 EUR came in where 24.00 EUR was asked for. It is being sent back whole.",
        booking_id=BOOKING_ID,
        provider_payment_id="e1b7c9d2-3a4f-5d5e-8b6c-7f8091a2b3c4",
        refund_id="c7d5e3f1-2b4a-5c6d-9e8f-0a1b2c3d4e5f",
        assignee=STAFF_ID,
        resolution="Refunded by hand at the provider; the buyer was told.",
        opened_at="2026-11-24T09:15:00.000Z",
        assigned_at="2026-11-24T09:40:00.000Z",
        resolved_at="2026-11-24T10:05:00.000Z",
        version=3,
    )

    id: UUID
    kind: CaseKind
    status: CaseStatus
    summary: str
    booking_id: UUID | None
    provider_payment_id: UUID | None
    refund_id: UUID | None
    assignee: UUID | None
    resolution: str | None
    opened_at: str
    assigned_at: str | None
    resolved_at: str | None
    version: int


class CaseList(BaseModel):
    items: list[CaseOut]
    next: NextPage
