"""Bookings on the wire: what is asked and what is answered."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    Tag,
    model_validator,
)

from api.schemas.common import AS_LABEL, AS_SEAT, ApiModel, Id, Instant, NextPage, Version, example
from api.schemas.money import MoneyOut
from domain.steps import SeatChoice

SHOW_ID = "0b5c8c0e-6f0a-5b1e-9d53-3f6a2f0f2a11"
BOOKING_ID = "52c8a0f1-7d3e-4b6a-9f20-1c5d8e7b4a63"
Label = Annotated[str, Field(min_length=1, max_length=64, examples=["C12"])]
PriceClass = Annotated[str, Field(min_length=1, max_length=40, examples=["standard"])]


class SeatAsked(ApiModel):
    label: Label
    ticket_type: Annotated[str, Field(min_length=1, max_length=40, examples=["standard"])] = (
        "standard"
    )


def _form_of(asked: Any) -> str:
    return AS_SEAT if isinstance(asked, dict | SeatAsked) else AS_LABEL


# By its form, so that what is wrong is told of that one.
Choice = Annotated[
    Annotated[Label, Tag(AS_LABEL)] | Annotated[SeatAsked, Tag(AS_SEAT)],
    Discriminator(_form_of),
]


class BestAvailable(ApiModel):
    """Seats next to one another, the first such block in reading order.

    `allow_split`: where there is no such block, as few blocks as hold them all.
    """

    count: Annotated[int, Field(ge=1, le=50, strict=True, examples=[2])]
    price_class: PriceClass | None = None
    accessible: StrictBool = False
    allow_split: StrictBool = False


class ReserveBody(ApiModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"show_id": SHOW_ID, "seats": ["C12", "C13"]},
                {
                    "show_id": SHOW_ID,
                    "best_available": {"count": 2, "price_class": "standard"},
                },
            ]
        },
    )

    show_id: Id
    seats: Annotated[list[Choice], Field(min_length=1, max_length=200)] | None = None
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
    """``reason`` is taken and not kept: nobody reads it, and it may name anybody."""

    reason: Annotated[str, Field(max_length=500, examples=["Cannot come after all."])] = ""


class CheckoutBody(ApiModel):
    provider: Annotated[str, Field(min_length=1, max_length=40, examples=["sandbox"])]


class ConfirmBody(ApiModel):
    booking_id: Annotated[Id, Field(examples=[BOOKING_ID])]


class ShowOut(BaseModel):
    model_config = example(
        id=SHOW_ID,
        movie="Metropolis",
        theatre="Lichtspielhaus am Ufer",
        auditorium="Saal 1",
        starts_at="2026-12-04T19:30:00.000Z",
        timezone="Europe/Berlin",
    )

    id: UUID
    movie: str
    theatre: str
    auditorium: str
    starts_at: str
    timezone: str


class SeatOut(BaseModel):
    model_config = example(
        label="C12",
        price_class="standard",
        ticket_type="standard",
        price={"amount": 1200, "currency": "EUR"},
        released=False,
    )

    label: str
    price_class: str
    ticket_type: str
    price: MoneyOut
    released: Annotated[bool, Field(description="Given up for a refund; on sale again.")]


class HoldOut(BaseModel):
    """``server_now`` is the database clock, by which the hold is judged."""

    model_config = example(
        expires_at="2026-11-24T09:25:00.000Z",
        max_expires_at="2026-11-24T09:45:00.000Z",
        extensions_left=2,
        server_now="2026-11-24T09:15:00.125Z",
    )

    expires_at: str
    max_expires_at: str
    extensions_left: int
    server_now: str


class RefundOfBookingOut(BaseModel):
    model_config = example(
        id="c7d5e3f1-2b4a-4c6d-9e8f-0a1b2c3d4e5f",
        status="succeeded",
        reason="requested",
        number=1,
        seats=["C12", "C13"],
        amount={"amount": 2400, "currency": "EUR"},
    )

    id: UUID
    status: Literal["pending", "succeeded", "failed"]
    reason: str
    number: int | None
    seats: list[str]
    amount: MoneyOut


class RefusalOut(BaseModel):
    """Why a `rejected` one was, where nobody waited for it; as the problem would have said."""

    model_config = example(code="seats_unavailable", detail="Seat C12 is taken.", seats=["C12"])

    code: str
    detail: str | None
    seats: list[str] | None


class PaymentOut(BaseModel):
    model_config = example(
        id="e1b7c9d2-3a4f-4d5e-8b6c-7f8091a2b3c4",
        provider="sandbox",
        session_id="cs_4f9a2c7e1b",
        status="open",
        amount={"amount": 2400, "currency": "EUR"},
        checkout_url="http://127.0.0.1:8090/pay/cs_4f9a2c7e1b",
        expires_at="2026-11-24T09:25:00.000Z",
    )

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


class OfferOut(BaseModel):
    """Other seats, kept until ``expires_at`` for a payment that came too late for its own."""

    model_config = example(
        seats=[
            {
                "label": "D4",
                "price_class": "standard",
                "ticket_type": "standard",
                "price": {"amount": 1200, "currency": "EUR"},
                "released": False,
            }
        ],
        total={"amount": 1200, "currency": "EUR"},
        expires_at="2026-11-24T09:55:00.000Z",
        server_now="2026-11-24T09:25:00.125Z",
    )

    seats: list[SeatOut]
    total: MoneyOut
    expires_at: str
    server_now: str


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
    refunds: list[RefundOfBookingOut]
    offer: OfferOut | None
    case_id: UUID | None
    refusal: RefusalOut | None = None
    version: Version
    created_at: Instant
    updated_at: Instant


class CheckoutOut(BaseModel):
    payment: PaymentOut


class BookingList(BaseModel):
    items: list[BookingOut]
    next: NextPage


class TimelineEntry(BaseModel):
    model_config = example(
        at="2026-11-24T09:15:00.000Z", type="SeatLocked", text="C12, C13 went on hold."
    )

    at: str
    type: str
    text: str


class Timeline(BaseModel):
    items: list[TimelineEntry]


class TicketOut(BaseModel):
    model_config = example(
        id="9b8a7c6d-5e4f-5a3b-8c2d-1e0f9a8b7c6d",
        booking_id=BOOKING_ID,
        label="C12",
        qr="SH1.eyJ0IjoiOWI4YTdjNmQifQ.c2lnbmVkIGJ5IG91ciBrZXk",
        status="valid",
    )

    id: UUID
    booking_id: UUID
    label: str
    qr: str
    status: Literal["valid", "void"]


class TicketList(BaseModel):
    items: list[TicketOut]
