"""Bookings on the wire: what is asked and what is answered."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.schemas.common import ApiModel
from api.schemas.money import MoneyOut
from domain.steps import SeatChoice

Label = Annotated[str, Field(min_length=1, max_length=64, examples=["C12"])]


class SeatAsked(ApiModel):
    label: Label
    ticket_type: Annotated[str, Field(min_length=1, max_length=40)] = "standard"


class BestAvailable(ApiModel):
    """Seats next to one another, the first such block in reading order."""

    count: Annotated[int, Field(ge=1, le=50, strict=True)]
    price_class: Annotated[str, Field(min_length=1, max_length=40)] | None = None
    accessible: bool = False
    allow_split: bool = False


class ReserveBody(ApiModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"show_id": "0b5c8c0e-6f0a-5b1e-9d53-3f6a2f0f2a11", "seats": ["C12", "C13"]},
                {
                    "show_id": "0b5c8c0e-6f0a-5b1e-9d53-3f6a2f0f2a11",
                    "best_available": {"count": 2, "price_class": "standard"},
                },
            ]
        },
    )

    show_id: UUID
    seats: Annotated[list[Label | SeatAsked], Field(min_length=1, max_length=200)] | None = None
    best_available: BestAvailable | None = None

    @model_validator(mode="after")
    def one_way_to_choose(self) -> ReserveBody:
        if (self.seats is None) == (self.best_available is None):
            raise ValueError("give either seats or best_available")
        return self

    @property
    def choices(self) -> list[SeatChoice]:
        return [
            SeatChoice(seat) if isinstance(seat, str) else SeatChoice(seat.label, seat.ticket_type)
            for seat in self.seats or []
        ]


class CancelBody(ApiModel):
    reason: Annotated[str, Field(max_length=500)] = ""


class CheckoutBody(ApiModel):
    provider: Annotated[str, Field(min_length=1, max_length=40, examples=["sandbox"])]


class ConfirmBody(ApiModel):
    booking_id: UUID


class ShowOut(BaseModel):
    id: UUID
    movie: str
    theatre: str
    auditorium: str
    starts_at: str
    timezone: str


class SeatOut(BaseModel):
    label: str
    price_class: str
    ticket_type: str
    price: MoneyOut


class HoldOut(BaseModel):
    """``server_now`` is the database clock, by which the hold is judged."""

    expires_at: str
    max_expires_at: str
    extensions_left: int
    server_now: str


class PaymentOut(BaseModel):
    id: UUID
    provider: str
    session_id: str | None
    status: Literal[
        "open",
        "processing",
        "authorised",
        "captured",
        "failed",
        "cancelled",
        "refund_pending",
        "refunded",
        "disputed",
    ]
    amount: MoneyOut
    checkout_url: str | None
    expires_at: str


class BookingOut(BaseModel):
    id: UUID
    state: Literal[
        "pending",
        "held",
        "expiring",
        "confirmed",
        "expired",
        "cancelling",
        "cancelled",
        "rejected",
        "refund_pending",
        "refunded",
        "disputed",
        "charged_back",
    ]
    user_id: UUID
    show: ShowOut
    seats: list[SeatOut]
    total: MoneyOut
    hold: HoldOut | None
    payment: PaymentOut | None
    refunds: list[dict[str, Any]]
    case_id: UUID | None
    version: int
    created_at: str
    updated_at: str


class CheckoutOut(BaseModel):
    payment: PaymentOut


class BookingList(BaseModel):
    items: list[BookingOut]
    next: str | None


class TimelineEntry(BaseModel):
    at: str
    type: str
    text: str


class Timeline(BaseModel):
    items: list[TimelineEntry]


class TicketOut(BaseModel):
    id: UUID
    booking_id: UUID
    label: str
    qr: str
    status: Literal["valid"]


class TicketList(BaseModel):
    items: list[TicketOut]
