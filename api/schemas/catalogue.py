"""Films, theatres, shows, seat maps and availability on the wire."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import BaseModel

from api.schemas.money import MoneyOut


class MovieOut(BaseModel):
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
    next: str | None


class TheatreOut(BaseModel):
    id: UUID
    name: str
    city: str
    address: str
    timezone: str


class TheatreList(BaseModel):
    items: list[TheatreOut]
    next: str | None


class TheatreName(BaseModel):
    id: UUID
    name: str
    city: str
    timezone: str


class AuditoriumName(BaseModel):
    id: UUID
    name: str


class Sales(BaseModel):
    opens_at: str
    closes_at: str


class Places(BaseModel):
    capacity: int
    available: int


class ShowOut(BaseModel):
    id: UUID
    movie_id: UUID
    theatre: TheatreName
    auditorium: AuditoriumName
    starts_at: str
    ends_at: str
    timezone: str
    format: str
    language: str
    sales: Sales
    status: Literal["scheduled", "on_sale", "closed", "cancelled"]
    prices: dict[str, MoneyOut]
    seatmap_url: str
    availability: Places


class TheatreShows(BaseModel):
    theatre: TheatreOut
    shows: list[ShowOut]


class ShowsOfMovie(BaseModel):
    movie: MovieOut
    theatres: list[TheatreShows]


class SeatPlace(BaseModel):
    label: str
    section: str
    row: str
    number: int
    x: float
    y: float
    price_class: str
    attributes: list[str]


class SeatRow(BaseModel):
    section: str
    row: str
    labels: list[str]


class SeatMapOut(BaseModel):
    version: int
    seats: list[SeatPlace]
    rows: list[SeatRow]


class AvailabilityOut(BaseModel):
    """Sparse: a seat that is not named is available."""

    show_id: UUID
    version: int
    seats: dict[str, Literal["held", "sold", "blocked"]]
