"""E: events. What is told in the streams is what the rows say, in a legal order, unforged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

from seathold.checker.streams import Fact, Stream
from seathold.checker.transitions import GIVES_UP, LEADS_ON, TERMINAL, TRANSITIONS
from seathold.checker.versions import NEWEST, newest
from seathold.checker.world import World

MISSING = object()
# The outcome is written with the hold, and after it no other: a repeat is answered by it.
ANSWERED_AMISS = """
SELECT asked.id, coalesce(outcome, 'undecided') AS outcome,
       coalesce(bookings.state, 'missing') AS state
FROM booking_requests AS asked LEFT JOIN bookings ON bookings.id = asked.id
WHERE (bookings.id IS NOT NULL) <> (coalesce(outcome, '') = 'held')
"""
CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def e1(stream: Stream) -> Iterator[str]:
    """E1 The events of a booking, folded, are its row, field by field."""
    if stream.row is None:
        if any(fact.event_type == "ReservationCreated" for fact in stream.facts):
            yield f"booking {stream.id} has events but no row"
        return
    if not stream.facts:
        yield f"booking {stream.id} has a row but no events"
        return
    for name, told in fold(stream.facts).items():
        stands = stream.row.get(name, MISSING)
        if name == "closing_since":
            told, stands = told is not None, stands is not None
        if stands != told:
            yield f"booking {stream.id}: {name} is {stands}, its events say {told}"


def e2(stream: Stream) -> Iterator[str]:
    """E2 Events are numbered 1 to n without a gap; the version counts the commands."""
    numbers = [fact.sequence for fact in stream.facts]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"stream {stream.id} is numbered {numbers}"
    if stream.row is None or not stream.facts:
        return
    versions = [1, *(fact.version for fact in stream.facts)]
    steps = [after - before for before, after in pairwise(versions)]
    if steps[0] != 1 or not set(steps) <= {0, 1} or versions[-1] != stream.row["version"]:
        yield f"booking {stream.id} is at {stream.row['version']}, its events at {versions[1:]}"


def e4(stream: Stream) -> Iterator[str]:
    """E4 Only legal transitions."""
    state: str | None = None
    for fact in stream.facts:
        if fact.event_type not in TRANSITIONS:
            yield f"stream {stream.id}: {fact.event_type} is no event"
            continue
        legal, to = TRANSITIONS[fact.event_type]
        if state not in legal:
            yield f"stream {stream.id}: {fact.event_type} in state {state} (no. {fact.sequence})"
        state = to or state


def e5(stream: Stream) -> Iterator[str]:
    """E5 Terminal states absorb: nothing leads out of cancelled, refunded or charged back, only an
    accepted late payment out of expired, and only a refund, a dispute or the show's cancellation
    out of confirmed.
    """
    state: str | None = None
    for fact in stream.facts:
        to = TRANSITIONS.get(fact.event_type, (None, None))[1]
        if to is not None and state in TERMINAL and (state, to) not in LEADS_ON:
            yield f"booking {stream.id} went from {state} to {to} (no. {fact.sequence})"
        state = to or state


def e6(stream: Stream) -> Iterator[str]:
    """E6 Times never go back within a stream."""
    for before, after in pairwise(stream.facts):
        if after.created_at < before.created_at:
            yield f"stream {stream.id}: no. {after.sequence} is of {after.created_at}, earlier"


def e7(stream: Stream) -> Iterator[str]:
    """E7 Each event carries the hash of the one before it and its own: nothing was rewritten."""
    previous = b""
    for fact in stream.facts:
        if fact.previous_hash != previous:
            yield f"stream {stream.id}: no. {fact.sequence} does not follow the one before it"
        if fact.hash != digest(fact):
            yield f"stream {stream.id}: no. {fact.sequence} is not what was hashed"
        previous = fact.hash
    if stream.facts and stream.row is not None and stream.row["event_hash"] != previous:
        yield f"booking {stream.id} names another last event than its stream has"


def e12(stream: Stream) -> Iterator[str]:
    """E12 Every event is of a version that is known here."""
    for fact in stream.facts:
        if not 1 <= fact.schema_version <= NEWEST.get(fact.event_type, 1):
            yield (
                f"stream {stream.id}: {fact.event_type} version {fact.schema_version}"
                f" (no. {fact.sequence})"
            )


def e8(world: World) -> Iterator[str]:
    """E8 The unique keys that make every command take effect once exist and are valid; a reserve is
    answered as held where there is its booking, and nowhere else.
    """
    yield from world.missing_index("idempotency_keys", "user_id", "route", "key_hash")
    yield from world.missing_index("booking_requests", "id")
    yield from world.missing_index("bookings", "id")
    yield from world.missing_index("events", "aggregate_id", "sequence")
    yield from world.missing_index("payments", "booking_id", "attempt")
    yield from world.missing_index("refunds", "idempotency_key")
    yield from world.found(ANSWERED_AMISS, "request {id} is {outcome}, its booking is {state}")


def digest(fact: Fact) -> bytes:
    """SHA-256 of the previous hash and the canonical JSON of what was told, and by whom."""
    told = [str(fact.aggregate_id), fact.sequence, fact.event_type, fact.schema_version]
    body = [*told, fact.payload, fact.actor, fact.request_id]
    return hashlib.sha256(fact.previous_hash + CANONICAL.encode(body).encode("ascii")).digest()


def fold(facts: list[Fact]) -> dict[str, Any]:
    """The row that a booking's events make; fields no event speaks of are left out."""
    row: dict[str, Any] = {
        "id": facts[0].aggregate_id,
        "sequence": len(facts),
        "event_hash": facts[-1].hash,
        "lapses": True,
        "payment_uncertain": False,
        "provider_payment_id": None,
        "confirming_payment_id": None,
        "close_reason": None,
        "closing_since": None,
    }
    for fact in facts:
        _apply(row, fact.event_type, newest(fact))
        if fact.event_type in ("BookingExpiring", "BookingCancelling"):
            row["closing_since"] = fact.created_at
        to = TRANSITIONS.get(fact.event_type, (None, None))[1]
        row["state"] = to or row.get("state")
    if row["state"] == "confirming":
        row["state"] = "held"  # told apart by the payment that its row names
    return row


def _apply(row: dict[str, Any], event_type: str, told: dict[str, Any]) -> None:
    match event_type:
        case "ReservationCreated":
            row |= {
                "user_id": UUID(told["user_id"]),
                "show_id": UUID(told["show_id"]),
                "currency": told["currency"],
                "total_amount": told["total_amount"],
                "hold_expires_at": _time(told["hold_expires_at"]),
                "hold_max_expires_at": _time(told["hold_max_expires_at"]),
                "extensions_left": told["extensions_left"],
            }
        case "SeatLocked":
            row["seat_count"] = len(told["seats"])
        case "SeatReleased" if row["state"] in GIVES_UP:
            row["seat_count"] -= len(told["labels"])
        case "HoldExtended":
            row["hold_expires_at"] = _time(told["hold_expires_at"])
            row["extensions_left"] = told["extensions_left"]
        case "PaymentStarted":
            row["hold_expires_at"], row["lapses"] = _time(told["hold_expires_at"]), False
        case "BookingConfirming":
            row["confirming_payment_id"] = UUID(told["provider_payment_id"])
        case "BookingConfirmed":
            paid_by = told["provider_payment_id"]
            row["provider_payment_id"] = UUID(paid_by) if paid_by else None
        case "BookingExpiring" | "BookingCancelling":
            row["close_reason"] = told["why"]
        case "BookingExpired" | "BookingCancelled":
            row["close_reason"] = told["why"]
            row["payment_uncertain"] = told["payment_uncertain"]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


STREAM_CHECKS = (e1, e2, e4, e5, e6, e7, e12)
CHECKS = (e8,)
