"""Answers to an offer of other seats, which late money is kept for."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request, Response

from api.commands.bookings import as_it_stands
from api.commands.idempotency import idempotent
from api.deps.read import PathId
from api.deps.write import Call, Command
from api.schemas.bookings import BookingOut
from api.schemas.common import NoFields
from domain.offer import OfferState

router = APIRouter(prefix="/api/booking", tags=["bookings"])


@router.post("/{booking_id}/offer/accept", response_model=BookingOut)
async def accept(
    booking_id: PathId, request: Request, call: Command, body: NoFields | None = None
) -> Response:
    """Take the offered seats: the booking is confirmed with them. A repeat is 200."""
    return await _answer(call, booking_id, request, OfferState.ACCEPTED, "accept")


@router.post("/{booking_id}/offer/decline", response_model=BookingOut)
async def decline(
    booking_id: PathId, request: Request, call: Command, body: NoFields | None = None
) -> Response:
    """Leave the offered seats: all the money goes back at once. A repeat is 200."""
    return await _answer(call, booking_id, request, OfferState.DECLINED, "decline")


async def _answer(
    call: Call, booking_id: UUID, request: Request, end: OfferState, verb: str
) -> Response:
    async def run() -> Response:
        await call.state.offers.answer(call.caller, booking_id, end)
        return await as_it_stands(call.state, booking_id, 200)

    route = f"POST /api/booking/{booking_id}/offer/{verb}"
    return await idempotent(call.state, call.user, route, call.key, await request.body(), run)
