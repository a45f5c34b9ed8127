"""The seats of a show as they were at an instant: the events up to then, put together."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import text

from domain.history import History, histories
from infra.postgres.database import Session
from readmodel.bookings import Json
from readmodel.instants import EPOCH, stamp
from readmodel.projections import facts

SHOW = text("""
SELECT seat_maps.version, clock_timestamp() AS now
FROM shows JOIN seat_maps ON seat_maps.id = shows.seat_map_id WHERE shows.id = :id
""")


async def availability(session: Session, show_id: UUID, at: datetime | None) -> Json | None:
    """Only seats that were not available, and who had them; ``at`` is now without one.

    ``version`` is the id of the last event of the show's bookings by then, 0 before the first.
    An instant that is still to come is taken for now, one before 1970 for its beginning.
    """
    show = await session.one(SHOW, id=show_id)
    if show is None:
        return None
    # Whoever asks may count in another zone, and what he counts may have no name in UTC.
    at = max(EPOCH, min(at or show.now, show.now)).astimezone(UTC)
    found = await facts.of_show(session, show_id, at)
    taken = taken_at(list(histories(found).values()), at)
    return {
        "show_id": str(show_id),
        "at": stamp(at),
        "version": max((fact.id for fact in found), default=0),
        "seats": {label: state for label, (state, _) in taken.items()},
        "bookings": {label: str(booking_id) for label, (_, booking_id) in taken.items()},
        "seatmap_url": f"/api/show/{show_id}/seatmap?v={show.version}",
    }


def taken_at(bookings: list[History], at: datetime) -> dict[str, tuple[str, UUID]]:
    """State and holder by label. A hold that the clock had ended by then was none any more."""
    latest: dict[str, tuple[int, str, UUID]] = {}
    for booking in bookings:
        ends = booking.ends_by_clock_at
        for label, seat in booking.seats.items():
            has_run_out = seat.state == "held" and ends is not None and ends <= at
            state = "free" if has_run_out else seat.state
            if label not in latest or latest[label][0] < seat.fence:
                latest[label] = seat.fence, state, booking.booking_id
    return {
        label: (state, booking_id)
        for label, (_, state, booking_id) in sorted(latest.items())
        if state in ("held", "sold")
    }
