"""Commands on bookings: parse, authorise, call one thing, answer from the booking's own rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import islice
from typing import Annotated, Any
from uuid import UUID, uuid4

import orjson
from fastapi import APIRouter, Query, Request, Response
from structlog.contextvars import bind_contextvars

from api.commands.idempotency import canonical_hash, idempotent
from api.deps.read import PathId
from api.deps.state import AppState
from api.deps.write import Call, Command
from api.schemas.bookings import (
    BookingOut,
    CancelBody,
    CheckoutBody,
    CheckoutOut,
    ConfirmBody,
    ReserveBody,
)
from api.schemas.common import NoFields
from domain import ids
from domain.booking import BookingState
from domain.errors import Conflict, Invalid, NotFound, Unavailable
from domain.limits import (
    BEST_AVAILABLE_SPREAD,
    BEST_AVAILABLE_TRIES,
    MAX_CONFIRM_WAIT_SECONDS,
    TRIES_OF_A_KEY,
)
from domain.seatmap import adjacent_blocks, fewest_parts, free_runs, largest_block
from domain.steps import BookingInput, SeatChoice
from infra.postgres.show import ShowForSale
from readmodel import bookings as readmodel
from readmodel.instants import microseconds
from services.payment_rows import Attempt
from services.reserve import KeyOver

router = APIRouter(prefix="/api/booking", tags=["bookings"])
RESERVE = "POST /api/booking/reserve"
PENDING_RETRY_SECONDS = 2
NOT_SETTLED: dict[int | str, dict[str, Any]] = {
    202: {
        "model": BookingOut,
        "description": "Not settled yet: ask for it again after so many seconds.",
        "headers": {
            "Retry-After": {"schema": {"type": "integer"}, "example": PENDING_RETRY_SECONDS}
        },
    }
}
OPEN_ALREADY: dict[int | str, dict[str, Any]] = {
    200: {"model": CheckoutOut, "description": "The attempt that is open already."}
}


@router.post("/reserve", status_code=201, response_model=BookingOut, responses=NOT_SETTLED)
async def reserve(
    body: ReserveBody,
    request: Request,
    call: Command,
) -> Response:
    """Hold the seats named, or the first block of seats next to one another."""
    raw = await request.body()

    async def run() -> Response:
        return await _reserve(call, body, raw)

    async def again() -> Response:
        return await _reserve_again(call, body, raw)

    return await idempotent(call.state, call.user, RESERVE, call.key, raw, run, again)


async def _reserve_again(call: Call, body: ReserveBody, raw: bytes) -> Response:
    """A repeat meets its own booking before anything else: its seats are taken, by itself.

    What was refused because a server was away is no answer: the next id of the key is tried. What
    was asked for so long ago that the key is over is no booking of this request.
    """
    assert call.key is not None
    body_hash, reserver = canonical_hash(raw), call.state.reserver
    mine = [
        _booking_id(call.user.user_id, call.key, body_hash, number)
        for number in range(TRIES_OF_A_KEY)
    ]
    known = await reserver.earlier(mine)
    first = 0
    for number, booking_id in enumerate(mine):
        earlier = known.get(booking_id)
        if earlier is None:
            # Before it got so far as to be written down, another pick was tried.
            continue
        first = number + 1
        if earlier.key_is_over:
            continue
        input = _input(call, booking_id, body.show_id, list(earlier.seats))
        bind_contextvars(booking_id=str(booking_id))
        try:
            held = await reserver.resume(input, earlier, body_hash=body_hash)
        except Unavailable:
            if earlier.outcome is None:
                raise
        except Conflict as refused:
            if not _may_pick_again(body, refused):
                raise
        else:
            return await _reserved(call, booking_id, held)
    if first + BEST_AVAILABLE_TRIES > TRIES_OF_A_KEY:
        raise Unavailable("Nothing could be booked under this Idempotency-Key; take a new one.")
    return await _reserve(call, body, raw, first=first)


async def _reserve(call: Call, body: ReserveBody, raw: bytes, *, first: int = 0) -> Response:
    state, key = call.state, call.key
    show = await state.shows.get(body.show_id)
    if show is None:
        raise NotFound("There is no such show.")
    if not show.on_sale:
        raise Conflict("This show is not on sale now.", code="sales_closed")
    body_hash = canonical_hash(raw)
    for number in range(first, first + BEST_AVAILABLE_TRIES):
        booking_id = _booking_id(call.user.user_id, key, body_hash, number)
        among = BEST_AVAILABLE_SPREAD ** (number - first)
        choices = await _choose(state, show, body, booking_id.int, among)
        input = _input(call, booking_id, show.id, choices)
        # From here to the activity, each line of the log names both the request and the booking.
        bind_contextvars(booking_id=str(booking_id))
        try:
            held = await state.reserver.reserve(
                input,
                key_hash=hashlib.sha256(key.encode()).digest() if key else None,
                body_hash=body_hash,
            )
        except KeyOver:
            # The key's marker is swept, so that it looked new; its ids are not.
            return await _reserve_again(call, body, raw)
        except Conflict as refused:
            if not _may_pick_again(body, refused):
                raise
            continue
        return await _reserved(call, booking_id, held)
    raise Unavailable("Many are choosing at this moment; try again.")


def _may_pick_again(body: ReserveBody, refused: Conflict) -> bool:
    return body.best_available is not None and refused.code == "seats_unavailable"


async def _reserved(call: Call, booking_id: UUID, held: BookingState) -> Response:
    status = 202 if held is BookingState.PENDING else 201
    return await as_it_stands(call.state, booking_id, status)


async def _choose(
    state: AppState, show: ShowForSale, body: ReserveBody, lot: int, among: int
) -> list[SeatChoice]:
    """The seats named, or those that ``lot`` falls on among the first blocks."""
    if body.best_available is None:
        return _checked(show, body.choices, state.settings.max_seats_per_booking)
    wanted = body.best_available
    _require_count(wanted.count, state.settings.max_seats_per_booking)
    _require_class(wanted.price_class, show)
    taken = await state.reserver.taken(show.id, list(show.by_label))
    taken |= {seat.label for seat in show.seats if not show.sells(seat)}
    runs = list(free_runs(show.seats, taken, wanted.price_class, wanted.accessible))
    blocks = list(islice(adjacent_blocks(runs, wanted.count), among))
    block = blocks[lot % len(blocks)] if blocks else None
    if block is None and wanted.allow_split:
        block = fewest_parts(runs, wanted.count)
    if block is None:
        largest = largest_block(runs)
        raise Conflict(
            f"There are no {wanted.count} seats together; the largest block has {largest}.",
            code="no_block",
            largest_block=largest,
        )
    return [SeatChoice(label) for label in block]


def _checked(show: ShowForSale, choices: list[SeatChoice], most: int) -> list[SeatChoice]:
    """Refuse what no state of the show could make right."""
    _require_count(len(choices), most)
    labels = [choice.label for choice in choices]
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise Invalid(f"Seat {twice} is named twice.", code="duplicate_seat", seats=[twice])
    unknown = [label for label in labels if label not in show.by_label]
    if unknown:
        raise Invalid(
            f"This show has no seat {unknown[0]}; the seat map names them all.",
            code="unknown_seat",
            seats=unknown,
        )
    unsold = [
        choice
        for choice in choices
        if not show.sells(show.by_label[choice.label], choice.ticket_type)
    ]
    if unsold:
        label, ticket_type = unsold[0].label, unsold[0].ticket_type
        raise Invalid(
            f"This show sells no {ticket_type} ticket for seat {label}.",
            code="unknown_seat",
            seats=[choice.label for choice in unsold],
        )
    return choices


def _require_count(count: int, most: int) -> None:
    if count > most:
        raise Invalid(
            f"At most {most} seats in one booking; {count} were asked for.",
            code="too_many_seats",
            maximum=most,
        )


def _require_class(price_class: str | None, show: ShowForSale) -> None:
    known = dict.fromkeys(seat.price_class for seat in show.seats)
    if price_class is not None and price_class not in known:
        told = f"This show has no such price class; it has {', '.join(known)}."
        field = {"in": "body", "field": "best_available.price_class", "message": told}
        raise Invalid(told, errors=[field])


def _booking_id(user_id: UUID, key: str | None, body_hash: bytes, attempt: int) -> UUID:
    if key is None:
        return uuid4()
    route = RESERVE if attempt == 0 else f"{RESERVE}#{attempt}"
    return ids.booking_id(user_id, route, key, body_hash)


def _input(call: Call, booking_id: UUID, show_id: UUID, choices: list[SeatChoice]) -> BookingInput:
    settings = call.state.settings
    limits = settings.hold_limits
    return BookingInput(
        booking_id=str(booking_id),
        user_id=str(call.user.user_id),
        show_id=str(show_id),
        seats=choices,
        hold_seconds=settings.hold_seconds,
        hold_max_seconds=settings.hold_max_seconds,
        grace_seconds=settings.payment_grace_seconds,
        settling_grace_seconds=settings.payment_settling_grace_seconds,
        payment_retry_seconds=settings.payment_retry_seconds,
        max_seats_per_user_show=settings.max_seats_per_user_show,
        max_live_holds_per_user=settings.max_live_holds_per_user,
        max_lapsed_holds=limits.max_lapsed_holds,
        max_cancelled_holds_per_show=limits.max_cancelled_holds_per_show,
        cool_down_seconds=limits.cool_down_seconds,
        request_id=call.request_id,
    )


@router.post("/{booking_id}/extend", response_model=BookingOut)
async def extend(
    booking_id: PathId,
    request: Request,
    call: Command,
    body: NoFields | None = None,
) -> Response:
    """Lengthen the hold to ``min(now + TTL, max_expires_at)``."""

    async def run() -> Response:
        user_id = call.user.user_id
        wish = ids.extension_id(booking_id, user_id, call.key) if call.key else uuid4()
        await call.state.desk.extend(call.caller, booking_id, extension_id=wish)
        return await as_it_stands(call.state, booking_id, 200)

    route = f"POST /api/booking/{booking_id}/extend"
    return await idempotent(call.state, call.user, route, call.key, await request.body(), run)


@router.post("/{booking_id}/cancel", response_model=BookingOut)
async def cancel(
    booking_id: PathId,
    request: Request,
    call: Command,
    body: CancelBody | None = None,
) -> Response:
    """Cancel the hold; ``cancelling`` while an open pay page is being closed. A repeat is 200.

    The reason is not kept.
    """

    async def run() -> Response:
        await call.state.desk.cancel(call.caller, booking_id)
        return await as_it_stands(call.state, booking_id, 200)

    route = f"POST /api/booking/{booking_id}/cancel"
    return await idempotent(call.state, call.user, route, call.key, await request.body(), run)


@router.post(
    "/{booking_id}/checkout",
    status_code=201,
    response_model=CheckoutOut,
    responses=OPEN_ALREADY,
)
async def checkout(
    booking_id: PathId,
    body: CheckoutBody,
    request: Request,
    call: Command,
) -> Response:
    """Open a pay page, or answer with the one that is open."""

    async def run() -> Response:
        attempt, is_new = await call.state.desk.checkout(
            call.caller,
            booking_id,
            provider_name=body.provider,
            return_url=call.state.settings.back_from(booking_id),
        )
        return _json({"payment": _payment(attempt)}, 201 if is_new else 200)

    route = f"POST /api/booking/{booking_id}/checkout"
    return await idempotent(call.state, call.user, route, call.key, await request.body(), run)


@router.post("/confirm", response_model=BookingOut, responses=NOT_SETTLED)
async def confirm(
    body: ConfirmBody,
    request: Request,
    call: Command,
    wait: Annotated[float, Query(ge=0, le=MAX_CONFIRM_WAIT_SECONDS)] = 10,
) -> Response:
    """Look at the provider and wait for the booking to be confirmed; confirms nothing itself."""

    bind_contextvars(booking_id=str(body.booking_id))

    async def run() -> Response:
        confirmed = await call.state.desk.confirm(call.caller, body.booking_id, wait_seconds=wait)
        return await as_it_stands(call.state, body.booking_id, 200 if confirmed else 202)

    return await idempotent(
        call.state,
        call.user,
        "POST /api/booking/confirm",
        call.key,
        await request.body(),
        run,
    )


def _payment(attempt: Attempt) -> readmodel.Json:
    return readmodel.payment(
        id=str(attempt.id),
        provider=attempt.provider,
        session_id=attempt.session_id,
        status=attempt.status,
        amount=attempt.amount.amount,
        currency=attempt.amount.currency,
        checkout_url=attempt.checkout_url,
        expires_at=attempt.expires_at,
    )


async def as_it_stands(state: AppState, booking_id: UUID, status: int) -> Response:
    """The booking as its commands last wrote it; with 202, when to look again.

    ``Read-After`` is a moment after the commit: who sends it along reads nothing older.
    """
    async with state.database.statements() as session:
        found = await readmodel.read_with_moment(session, booking_id)
    if found is None:
        raise NotFound("There is no such booking.")
    booking, at = found
    return _json(booking, status, {"Read-After": str(microseconds(at))})


def _json(
    content: readmodel.Json, status: int, headers: Mapping[str, str] | None = None
) -> Response:
    more = {"Retry-After": str(PENDING_RETRY_SECONDS)} if status == 202 else {}
    return Response(orjson.dumps(content), status, {**(headers or {}), **more}, "application/json")
