"""Asking for a refund: written down at once, sent by a process of its own."""

from __future__ import annotations

from uuid import UUID, uuid4

from fastapi import APIRouter, Request, Response

from api.commands.bookings import as_it_stands
from api.commands.idempotency import canonical_hash, idempotent
from api.deps.read import PathId
from api.deps.write import Call, Command
from api.schemas.bookings import BookingOut
from api.schemas.refunds import MoneyIn, RefundBody
from domain import ids
from domain.money import Money
from domain.user import Role
from services.refund import RefundWish

router = APIRouter(prefix="/api/booking", tags=["bookings"])


@router.post("/{booking_id}/refund", status_code=202, response_model=BookingOut)
async def refund(
    booking_id: PathId,
    request: Request,
    call: Command,
    body: RefundBody | None = None,
) -> Response:
    """Give up seats for their money back; the answer is the booking with the refund under way."""
    raw = await request.body()
    wish = _wish(call, booking_id, body or RefundBody(), raw)

    async def run() -> Response:
        await call.state.refunds.refund(
            booking_id,
            wish,
            user_id=call.user.user_id,
            is_staff=call.user.sees_all,
            most=_most(call),
        )
        return await as_it_stands(call.state, booking_id, 202)

    route = f"POST /api/booking/{booking_id}/refund"
    return await idempotent(call.state, call.user, route, call.key, raw, run)


def _wish(call: Call, booking_id: UUID, body: RefundBody, raw: bytes) -> RefundWish:
    user_id = call.user.user_id
    return RefundWish(
        seats=tuple(body.seats) if body.seats is not None else None,
        amount=_money(body.amount),
        expected=_money(body.expected),
        note=body.reason,
        request_key=ids.refund_request_key(booking_id, user_id, call.key, canonical_hash(raw))
        if call.key
        else uuid4(),
        actor=str(user_id),
        request_id=call.request_id,
    )


def _most(call: Call) -> int | None:
    """What seats give back follows the brackets; only a sum out of one's own head is capped."""
    if call.user.role == Role.BOX_OFFICE:
        return call.state.settings.box_office_refund_max
    return None


def _money(asked: MoneyIn | None) -> Money | None:
    return Money(asked.amount, asked.currency) if asked is not None else None
