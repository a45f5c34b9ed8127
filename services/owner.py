"""A booking is there for its owner, and for staff; for anybody else it does not exist."""

from __future__ import annotations

from uuid import UUID

from domain.booking import Booking
from domain.errors import Conflict, NotFound, StillPending
from services.ports import Transaction

NO_BOOKING = "There is no such booking."


async def require_seen(
    tx: Transaction,
    booking_id: UUID,
    found: Booking | None,
    user_id: UUID,
    *,
    is_staff: bool = False,
) -> Booking:
    """The booking as its row was ``found``, if this user may see it.

    Raises:
        NotFound: no such booking, or somebody else's.
        StillPending: its reserve has no outcome yet. Conflict: that was refused.
    """
    seen = found if found is not None else await tx.bookings.request_outcome(booking_id)
    if seen.user_id is None or not (is_staff or seen.user_id == user_id):
        raise NotFound(NO_BOOKING)
    if isinstance(seen, Booking):
        return seen
    if seen.outcome == "rejected":
        raise Conflict("The reserve was refused, so nothing is held; reserve again.")
    # Also where it is held by now: between the two reads it was not.
    raise StillPending()
