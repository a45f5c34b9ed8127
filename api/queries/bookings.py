"""Bookings read by their owner; for anybody else they do not exist."""

from __future__ import annotations

from uuid import UUID

import orjson
from fastapi import APIRouter, Response

from api.deps.read import CurrentUser, PathId, ReadConnection, Signer
from api.queries import page
from api.schemas.bookings import BookingList, BookingOut, TicketList, Timeline
from domain import ids
from domain.booking import BookingState
from domain.errors import Conflict, NotFound
from domain.limits import PAGE_DEFAULT
from infra.tokens import Principal
from readmodel import bookings as readmodel
from readmodel import users

router = APIRouter(prefix="/api/booking", tags=["bookings"])
TO_COME = (BookingState.PENDING, BookingState.HELD, BookingState.EXPIRING)
# Valid until a dispute of the payment is lost, void after.
TICKETED = (BookingState.CONFIRMED, BookingState.DISPUTED, BookingState.CHARGED_BACK)


@router.get("/{booking_id}", response_model=BookingOut)
async def read(booking_id: PathId, user: CurrentUser, connection: ReadConnection) -> Response:
    """One booking, as its commands last wrote it."""
    return _json(await visible(connection, booking_id, user))


@router.get("/{booking_id}/timeline", response_model=Timeline)
async def timeline(booking_id: PathId, user: CurrentUser, connection: ReadConnection) -> Response:
    """What happened to the booking, in plain sentences."""
    await visible(connection, booking_id, user)
    return _json({"items": await readmodel.timeline(connection, booking_id)})


@router.get("/{booking_id}/tickets", response_model=TicketList)
async def tickets(
    booking_id: PathId, user: CurrentUser, connection: ReadConnection, signer: Signer
) -> Response:
    """One signed ticket a seat, once the booking is confirmed; a lost dispute voids them."""
    booking = await visible(connection, booking_id, user)
    void = booking["state"] == BookingState.CHARGED_BACK
    if (state := BookingState(booking["state"])) in TO_COME:
        raise Conflict("Tickets come with the confirmation.")
    if state not in TICKETED:
        raise Conflict(f"The booking is {state}; there are no tickets.")
    items = []
    for seat in booking["seats"]:
        if seat["released"] and not void:
            continue
        ticket = str(ids.ticket_id(booking_id, seat["label"]))
        content = {
            "t": ticket,
            "b": str(booking_id),
            "s": booking["show"]["id"],
            "l": seat["label"],
        }
        items.append(
            {
                "id": ticket,
                "booking_id": str(booking_id),
                "label": seat["label"],
                "qr": signer.sign_ticket(orjson.dumps(content).decode()),
                "status": "void" if void else "valid",
            }
        )
    return _json({"items": items})


@router.get("/user/{user_id}", response_model=BookingList)
async def of_user(
    user_id: PathId,
    user: CurrentUser,
    connection: ReadConnection,
    state: BookingState | None = None,
    limit: page.Limit = PAGE_DEFAULT,
    cursor: page.Cursor = None,
) -> Response:
    """The user's bookings, newest first."""
    is_own = user_id == user.user_id
    if not is_own and not user.sees_all:
        raise NotFound("There is no such user.")
    items, place = await readmodel.of_user(
        connection, user_id, state=state, before=page.moment(cursor), limit=limit
    )
    if not (is_own or items or cursor or await users.is_known(connection, user_id)):
        raise NotFound("There is no such user.")
    return page.answer(items, page.after(place))


async def visible(connection: ReadConnection, booking_id: UUID, user: Principal) -> readmodel.Json:
    """The booking, if it is the user's own or the user sees all; else ``NotFound``."""
    booking = await readmodel.read(connection, booking_id)
    if booking is None or (booking["user_id"] != str(user.user_id) and not user.sees_all):
        raise NotFound("There is no such booking.")
    return booking


def _json(content: readmodel.Json) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
