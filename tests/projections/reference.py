"""What each projection must say, in as few lines as possible and with none of the code's own."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

TEXTS = {
    "ReservationCreated": "The booking was made.",
    "SeatLocked": "{} went on hold.",
    "PaymentStarted": "A pay page was opened with sandbox.",
    "BookingConfirmed": "The booking is confirmed; the seats are sold.",
    "BookingExpired": "The hold ended without a payment: its time was up.",
    "BookingCancelled": "The booking was cancelled. Changed my mind.",
    "SeatReleased": "{} went back on sale.",
    "SeatsOffered": "The payment came late and its seats were gone; {} were offered.",
    "LatePaymentAccepted": "The payment came late; the seats could still be had.",
    "RefundSettled": "The money was sent back.",
    "RefundFailed": "The refund failed.",
}


@dataclass(frozen=True)
class Told:
    """An event as it was written, and where."""

    place: tuple[int, int]
    booking: UUID
    sequence: int
    type: str
    payload: dict[str, Any]
    at: datetime


COUNTS = {
    "ReservationCreated": "bookings",
    "BookingConfirmed": "confirmed",
    "BookingExpired": "lapsed",
}
ENDS_THE_CLOCK = {"PaymentStarted", "BookingExpired", "BookingConfirmed", "BookingCancelled"}


def expected(events: list[Told]) -> dict[str, Any]:
    """The contents of every projection after these events; what is all zero may stand there."""
    sales, demand, texts = Counter[Any](), Counter[Any](), {}
    latest: dict[Any, Any] = {}
    streams: dict[UUID, list[Told]] = {}
    for told in events:
        texts[told.booking, told.sequence] = TEXTS[told.type].format(", ".join(_labels(told)))
        streams.setdefault(told.booking, []).append(told)
    for booking, stream in streams.items():
        show, seats, back, ends = None, dict[str, Any](), dict[str, int](), None
        for told in sorted(stream, key=lambda one: one.sequence):
            hour = told.at.replace(minute=0, second=0, microsecond=0)
            show = told.payload.get("show_id", show)
            if show is None:
                continue
            if what := COUNTS.get(told.type):
                sales[show, what] += 1
                demand[hour, show, what] += 1
            demand[hour, show, "seats"] += 0 if seats else len(_labels(told))
            sales[show, "revenue"] += _move(seats, told)
            back = _refunds(back, told)
            ends = (
                None if told.type in ENDS_THE_CLOCK else told.payload.get("hold_expires_at", ends)
            )
        sales[show, "refunded"] += sum(back.values())
        for label, (fence, state, _) in seats.items():
            sales[show, f"seats_{state}"] += 1
            free_at = datetime.fromisoformat(ends) if ends and state == "held" else None
            shown = state if state in ("held", "sold") else "free"
            claim = (fence, shown, booking, free_at)
            latest[show, label] = max(latest.get((show, label), claim), claim, key=lambda c: c[0])
    return {"sales": sales, "demand": demand, "timeline": texts, "availability": latest}


def _labels(told: Told) -> list[str]:
    seats = [seat["label"] for seat in told.payload.get("seats", [])]
    return [*seats, *told.payload.get("labels", [])]


def _move(seats: dict[str, Any], told: Told) -> int:
    """Claim, sell and give back; what the sale earned."""
    for one in told.payload.get("seats", []):
        seats[one["label"]] = [one["fence"], "held", one["amount"]]
    for label in set(told.payload.get("labels", [])) & set(seats):
        seats[label][1] = "returned" if seats[label][1] == "sold" else "free"
    if told.type != "BookingConfirmed":
        return 0
    sold = [seat for seat in seats.values() if seat[1] == "held"]
    for seat in sold:
        seat[1] = "sold"
    return sum(seat[2] for seat in sold)


def _refunds(back: dict[str, int], told: Told) -> dict[str, int]:
    if told.type == "RefundSettled" and "number" in told.payload:
        return {**back, told.payload["refund_id"]: told.payload["amount"]}
    if told.type == "RefundFailed":
        return {one: sum_ for one, sum_ in back.items() if one != told.payload["refund_id"]}
    return back
