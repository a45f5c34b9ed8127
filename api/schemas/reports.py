"""Reports and the past on the wire."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api.schemas.common import Instant, TimeZone, Version, example
from api.schemas.money import MoneyOut

SHOW_ID = "7f3c2d1e-4b5a-5c6d-8e7f-9a0b1c2d3e4f"
BOOKING_ID = "0b5c8c0e-6f0a-5b1e-9d53-3f6a2f0f2a11"
LINE: dict[str, Any] = {
    "day": "2026-12-04",
    "shows": 2,
    "capacity": 300,
    "seats_sold": 240,
    "seats_returned": 4,
    "bookings": 130,
    "confirmed": 118,
    "lapsed": 9,
    "occupancy": 0.8,
    "lapse_rate": 0.0692,
    "revenue": {"amount": 292800, "currency": "EUR"},
    "refunds": {"amount": 4800, "currency": "EUR"},
    "charged_back": {"amount": 0, "currency": "EUR"},
}
HOUR: dict[str, Any] = {
    "hour": "2026-12-04T18:00:00.000Z",
    "timezone": "Europe/Berlin",
    "local_time": "2026-12-04T19:00",
    "bookings": 52,
    "seats": 110,
    "confirmed": 47,
    "lapsed": 3,
}


class SalesLine(BaseModel):
    """One show, movie, theatre or day, in one currency; rates are null where nothing is to divide.

    Refunds and chargebacks are not taken off the revenue.
    """

    model_config = example(**LINE)

    show_id: UUID | None = None
    movie_id: UUID | None = None
    theatre_id: UUID | None = None
    day: date | None = None
    starts_at: Instant | None = None
    timezone: TimeZone | None = None
    movie: str | None = None
    theatre: str | None = None
    city: str | None = None
    auditorium: str | None = None
    shows: int
    capacity: int
    seats_sold: int
    seats_returned: int
    bookings: int
    confirmed: int
    lapsed: int
    occupancy: float | None
    lapse_rate: float | None
    revenue: MoneyOut
    refunds: MoneyOut
    charged_back: MoneyOut


class SalesReport(BaseModel):
    """``from`` and ``to`` are days, both included, on which shows begin at their theatres."""

    model_config = example(by="day", **{"from": "2026-12-04", "to": "2026-12-04"}, items=[LINE])

    by: Literal["show", "movie", "theatre", "day"]
    since: date = Field(alias="from")
    until: date = Field(alias="to")
    items: list[SalesLine]


class DemandLine(BaseModel):
    """An hour of UTC, and when it began at the theatres."""

    model_config = example(**HOUR)

    hour: Instant
    timezone: TimeZone
    local_time: str
    bookings: int
    seats: int
    confirmed: int
    lapsed: int


class DemandReport(BaseModel):
    """``from`` and ``to`` are days, both included, in the time of each theatre."""

    model_config = example(**{"from": "2026-12-04", "to": "2026-12-04"}, items=[HOUR])

    since: date = Field(alias="from")
    until: date = Field(alias="to")
    items: list[DemandLine]


class PastAvailability(BaseModel):
    """The seats that were not available at ``at``, and the bookings that had them."""

    model_config = example(
        show_id=SHOW_ID,
        at="2026-12-04T09:15:00.000Z",
        version=4711,
        seats={"C12": "sold"},
        bookings={"C12": BOOKING_ID},
        seatmap_url=f"/api/show/{SHOW_ID}/seatmap?v=1",
    )

    show_id: UUID
    at: Instant
    version: Version
    seats: dict[str, Annotated[str, Field(examples=["sold"])]]
    bookings: dict[str, UUID]
    seatmap_url: str
