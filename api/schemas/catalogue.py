"""Films, theatres, shows, seat maps and availability on the wire."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api.schemas.common import Instant, NextPage, TimeZone, Version, example
from api.schemas.money import MoneyOut

THEATRE_ID = "3c1d9e70-52b4-5d0f-8a66-0f7b6c5d4e32"
SHOW_ID = "0b5c8c0e-6f0a-5b1e-9d53-3f6a2f0f2a11"


class MovieOut(BaseModel):
    model_config = example(
        id="7f3c2d1e-4b5a-5c6d-8e7f-9a0b1c2d3e4f",
        title="Metropolis",
        year=1927,
        runtime_minutes=153,
        rating="PG",
        genres=["Drama", "Science Fiction"],
        director="Fritz Lang",
        synopsis="Above, a city of towers; below, those who keep it running.",
    )

    id: UUID
    title: str
    year: int | None
    runtime_minutes: int | None
    rating: str | None
    genres: list[str]
    director: str | None
    synopsis: str | None


class MovieList(BaseModel):
    items: list[MovieOut]
    next: NextPage


class TheatreOut(BaseModel):
    model_config = example(
        id=THEATRE_ID,
        name="Lichtspielhaus am Ufer",
        city="Berlin",
        address="Uferstrasse 12",
        timezone="Europe/Berlin",
    )

    id: UUID
    name: str
    city: str
    address: str
    timezone: str


class TheatreList(BaseModel):
    items: list[TheatreOut]
    next: NextPage


class TheatreName(BaseModel):
    model_config = example(
        id=THEATRE_ID, name="Lichtspielhaus am Ufer", city="Berlin", timezone="Europe/Berlin"
    )

    id: UUID
    name: str
    city: str
    timezone: str


class AuditoriumName(BaseModel):
    model_config = example(id="a4e2b6c8-1d3f-5a7b-9c0d-2e4f6a8b0c1d", name="Saal 1")

    id: UUID
    name: str


class Sales(BaseModel):
    model_config = example(
        opens_at="2026-11-20T09:00:00.000Z", closes_at="2026-12-04T19:30:00.000Z"
    )

    opens_at: str
    closes_at: str


class Places(BaseModel):
    model_config = example(capacity=180, available=142)

    capacity: int
    available: int


class ShowOut(BaseModel):
    id: UUID
    movie_id: UUID
    theatre: TheatreName
    auditorium: AuditoriumName
    starts_at: Instant
    ends_at: Annotated[str, Field(examples=["2026-12-04T22:03:00.000Z"])]
    timezone: TimeZone
    format: Annotated[str, Field(examples=["2D"])]
    language: Annotated[str, Field(examples=["en"])]
    sales: Sales
    status: Literal["scheduled", "on_sale", "closed", "cancelled"]
    prices: Annotated[
        dict[str, MoneyOut], Field(examples=[{"standard": {"amount": 1200, "currency": "EUR"}}])
    ]
    seatmap_url: Annotated[str, Field(examples=[f"/api/show/{SHOW_ID}/seatmap?v=1"])]
    availability: Places


class TheatreShows(BaseModel):
    theatre: TheatreOut
    shows: list[ShowOut]


class ShowsOfMovie(BaseModel):
    movie: MovieOut
    theatres: list[TheatreShows]


class SeatPlace(BaseModel):
    model_config = example(
        label="C12",
        section="Stalls",
        row="C",
        number=12,
        x=14.0,
        y=2.0,
        price_class="standard",
        attributes=["aisle"],
    )

    label: str
    section: str
    row: str
    number: int
    x: float
    y: float
    price_class: str
    attributes: list[str]


class SeatRow(BaseModel):
    model_config = example(section="Stalls", row="C", labels=["C11", "C12", "C13"])

    section: str
    row: str
    labels: list[str]


class SeatMapOut(BaseModel):
    version: Version
    seats: list[SeatPlace]
    rows: list[SeatRow]


class AvailabilityOut(BaseModel):
    """Sparse: a seat that is not named is available."""

    model_config = example(show_id=SHOW_ID, version=41, seats={"C12": "held", "C13": "sold"})

    show_id: UUID
    version: int
    seats: dict[str, Literal["held", "sold", "blocked"]]
