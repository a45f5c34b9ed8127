"""What a refund would give back, before anybody asks for it."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Response

from api.deps.read import CurrentUser, PathId, ReadConnection
from api.deps.state import State
from api.queries.bookings import visible
from api.schemas.refunds import QuoteOut
from domain.booking import BookingState
from domain.errors import Conflict, Invalid, StillPending
from domain.refund import payment_disputed, quote
from infra.postgres.refund import PostgresRefunds

router = APIRouter(prefix="/api/booking", tags=["bookings"])


@router.get("/{booking_id}/refund-quote", response_model=QuoteOut)
async def refund_quote(
    booking_id: PathId,
    user: CurrentUser,
    connection: ReadConnection,
    state: State,
    seats: Annotated[str | None, Query(max_length=4000, examples=["C12,C13"])] = None,
) -> Response:
    """What giving up these seats, or all that are left, pays back now."""
    booking = await visible(connection, booking_id, user)
    standing = await PostgresRefunds(connection).standing(booking_id)
    if booking["state"] == BookingState.PENDING:
        raise StillPending()
    if standing is not None and standing.state is BookingState.DISPUTED:
        raise payment_disputed()
    if standing is None or standing.state is not BookingState.CONFIRMED:
        raise Conflict(f"The booking is {booking['state']}; there is nothing to refund.")
    labels = seats.split(",") if seats is not None else None
    if labels is not None and not all(map(str.strip, labels)):
        raise Invalid("`seats` names seats by their labels, with commas; one of them is empty.")
    told = quote(standing, labels, state.settings.brackets)
    return Response(orjson.dumps(told.as_json()), media_type="application/json")
