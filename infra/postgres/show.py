"""A show as reserve needs it: on sale or not, and which seats it has; kept for some seconds."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from domain.seatmap import Seat
from domain.steps import SeatChoice
from infra.postgres.database import Database

# Whatever the row says: nobody buys a seat of a show that has begun.
SALE_ENDS = "least(shows.sales_close_at, shows.starts_at)"
SALE_IS_OPEN = f"clock_timestamp() BETWEEN shows.sales_open_at AND {SALE_ENDS}"

SHOW = text(f"""
SELECT id, seat_map_id, status = 'on_sale'
       AND {SALE_IS_OPEN} AS on_sale,
       ARRAY(SELECT ARRAY[price_class, ticket_type] FROM prices WHERE show_id = shows.id) AS priced
FROM shows WHERE id = :id
""")  # noqa: S608  # nosec B608
SEATS = text("""
SELECT label, section, row, number, position, x, y, price_class, attributes
FROM seats WHERE seat_map_id = :id ORDER BY position
""")
# A sale that stops is seen this late here, and the hold step asks PostgreSQL again in any case; one
# that begins is seen within a second.
ON_SALE_SECONDS = 5.0
OFF_SALE_SECONDS = 1.0
MAX_SHOWS = 2000
MAX_SEAT_MAPS = 200


@dataclass(frozen=True, slots=True)
class ShowForSale:
    """``seats`` in reading order; ``by_label`` the same by their labels.

    ``priced`` are the pairs of price class and ticket type that it sells.
    """

    id: UUID
    on_sale: bool
    priced: frozenset[tuple[str, str]]
    seats: tuple[Seat, ...]
    by_label: dict[str, Seat]

    def sells(self, seat: Seat, ticket_type: str = SeatChoice.ticket_type) -> bool:
        return (seat.price_class, ticket_type) in self.priced


class ShowCache:
    """Shows by id, each read once in some seconds; seat maps are immutable and kept."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._shows: OrderedDict[UUID, tuple[float, ShowForSale | None]] = OrderedDict()
        self._maps: OrderedDict[UUID, tuple[tuple[Seat, ...], dict[str, Seat]]] = OrderedDict()
        self._reads: dict[UUID, asyncio.Task[ShowForSale | None]] = {}

    async def get(self, show_id: UUID) -> ShowForSale | None:
        """The show, or ``None`` when there is none; callers at the same time share one read."""
        known = self._shows.get(show_id)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        reading = self._reads.get(show_id)
        if reading is None:
            reading = asyncio.create_task(self._read(show_id))
            self._reads[show_id] = reading
            reading.add_done_callback(lambda _: self._reads.pop(show_id, None))
        return await asyncio.shield(reading)

    def forget(self, show_id: UUID) -> None:
        """The show has changed; the next caller reads it."""
        self._shows.pop(show_id, None)

    async def _read(self, show_id: UUID) -> ShowForSale | None:
        async with self._database.statements() as session:
            row = await session.one(SHOW, id=show_id)
            show = None
            if row is not None:
                if row.seat_map_id not in self._maps:
                    found = await session.all(SEATS, id=row.seat_map_id)
                    seats = tuple(Seat(**seat._asdict()) for seat in found)
                    self._maps[row.seat_map_id] = seats, {seat.label: seat for seat in seats}
                priced = frozenset((price_class, kind) for price_class, kind in row.priced)
                show = ShowForSale(row.id, row.on_sale, priced, *self._maps[row.seat_map_id])
        fresh = ON_SALE_SECONDS if show is not None and show.on_sale else OFF_SALE_SECONDS
        self._shows[show_id] = time.monotonic() + fresh, show
        self._shows.move_to_end(show_id)
        _trim(self._shows, MAX_SHOWS)
        _trim(self._maps, MAX_SEAT_MAPS)
        return show


def _trim(cache: OrderedDict[UUID, Any], most: int) -> None:
    while len(cache) > most:
        cache.popitem(last=False)
