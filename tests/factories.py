"""Rows to start from, written by SQL with defaults that a test may override."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.steps import BookingInput, SeatChoice

PRICE = 1200
GRACE_SECONDS = 2


@dataclass(frozen=True)
class Hall:
    """A show on sale with ``labels`` of one row, and a user who may buy."""

    show_id: UUID
    user_id: UUID
    labels: tuple[str, ...]

    def input(self, *labels: str, **changes: object) -> BookingInput:
        """The brief of a booking of ``labels`` (the first two seats, when none are named)."""
        brief: dict[str, object] = {
            "booking_id": str(uuid4()),
            "user_id": str(self.user_id),
            "show_id": str(self.show_id),
            "seats": [SeatChoice(label) for label in labels or self.labels[:2]],
            "hold_seconds": 600,
            "hold_max_seconds": 1800,
            "grace_seconds": GRACE_SECONDS,
            "payment_retry_seconds": 0.2,
            "max_seats_per_user_show": 20,
            "max_live_holds_per_user": 3,
            "request_id": "test-request",
        }
        return BookingInput(**{**brief, **changes})  # type: ignore[arg-type]


async def create_user(engine: AsyncEngine, *, phone: str | None = "+4915112345678") -> UUID:
    user_id = uuid4()
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO users (id, email, email_key, name, phone, password_hash)"
                " VALUES (:id, :email, :email, 'Ada', :phone, 'x')"
            ),
            {"id": user_id, "email": f"{user_id}@example.test", "phone": phone},
        )
    return user_id


async def create_hall(
    engine: AsyncEngine,
    *,
    seats: int = 10,
    price: int = PRICE,
    starts_in_hours: float = 24,
    offers_seats: bool = False,
) -> Hall:
    """One show in a hall of its own; sales are open until it starts."""
    user_id = await create_user(engine)
    ids = {name: uuid4() for name in ("movie", "theatre", "auditorium", "map", "show")}
    labels = tuple(f"A{number}" for number in range(1, seats + 1))
    async with engine.begin() as connection:
        await connection.execute(
            text("INSERT INTO movies (id, source_key, title) VALUES (:movie, :key, 'Metropolis')"),
            {**ids, "key": str(ids["movie"])},
        )
        await connection.execute(
            text(
                "INSERT INTO theatres (id, name, city, address, timezone)"
                " VALUES (:theatre, :name, 'Berlin', 'Street 1', 'Europe/Berlin')"
            ),
            {**ids, "name": str(ids["theatre"])},
        )
        number = await connection.scalar(
            text(
                "INSERT INTO auditoriums (id, theatre_id, name)"
                " VALUES (:auditorium, :theatre, 'Saal 1') RETURNING number"
            ),
            ids,
        )
        await connection.execute(
            text(
                "INSERT INTO seat_maps (id, auditorium_id, version, capacity)"
                " VALUES (:map, :auditorium, 1, :seats)"
            ),
            {**ids, "seats": seats},
        )
        await connection.execute(
            text(
                "INSERT INTO seats (seat_map_id, label, position, section, row, number, x, y,"
                " price_class) SELECT :map, 'A' || n, n, 'Stalls', 'A', n, n, 0, 'standard'"
                " FROM generate_series(1, :seats) AS n"
            ),
            {**ids, "seats": seats},
        )
        await connection.execute(
            text(
                "INSERT INTO shows (id, movie_id, auditorium_id, auditorium_number, seat_map_id,"
                " starts_at, ends_at, free_at, currency, sales_open_at, sales_close_at,"
                " offers_seats)"
                " SELECT :show, :movie, :auditorium, :number, :map, at, at + interval '2 hours',"
                " at + interval '2 hours', 'EUR', now() - interval '30 days', at, :offers"
                " FROM (SELECT now() + make_interval(mins => :minutes) AS at) AS start"
            ),
            {
                **ids,
                "number": number,
                "minutes": int(starts_in_hours * 60),
                "offers": offers_seats,
            },
        )
        await connection.execute(
            text(
                "INSERT INTO prices (show_id, price_class, amount)"
                " VALUES (:show, 'standard', :price)"
            ),
            {**ids, "price": price},
        )
    return Hall(ids["show"], user_id, labels)
