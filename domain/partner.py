"""What partners are told, how long we keep trying, and when we stop."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from domain.events import EventType


class PartnerEventType(StrEnum):
    """What an endpoint may be told. ``endpoint.test`` comes only when it is asked for."""

    BOOKING_CONFIRMED = "booking.confirmed"
    BOOKING_EXPIRED = "booking.expired"
    BOOKING_CANCELLED = "booking.cancelled"
    BOOKING_REFUND_SETTLED = "booking.refund_settled"
    BOOKING_REFUNDED = "booking.refunded"
    BOOKING_DISPUTED = "booking.disputed"
    BOOKING_CHARGED_BACK = "booking.charged_back"
    SHOW_CANCELLED = "show.cancelled"


TEST_EVENT = "endpoint.test"

TOLD: Mapping[str, PartnerEventType] = {
    EventType.BOOKING_CONFIRMED: PartnerEventType.BOOKING_CONFIRMED,
    EventType.BOOKING_EXPIRED: PartnerEventType.BOOKING_EXPIRED,
    EventType.BOOKING_CANCELLED: PartnerEventType.BOOKING_CANCELLED,
    EventType.REFUND_SETTLED: PartnerEventType.BOOKING_REFUND_SETTLED,
    EventType.BOOKING_REFUNDED: PartnerEventType.BOOKING_REFUNDED,
    EventType.BOOKING_DISPUTED: PartnerEventType.BOOKING_DISPUTED,
    EventType.BOOKING_CHARGED_BACK: PartnerEventType.BOOKING_CHARGED_BACK,
    EventType.SHOW_CANCELLED: PartnerEventType.SHOW_CANCELLED,
}

DAY = 24 * 3600.0
# As Standard Webhooks advises: seconds first, then hours; the last try is made when time is up.
PAUSES_SECONDS = (5.0, 30.0, 120.0, 600.0, 1800.0, 2 * 3600.0, 5 * 3600.0, 8 * 3600.0)
JITTER = 0.2
GIVE_UP_SECONDS = 3 * DAY
# A receiver may ask for a longer pause, but not for one that eats the three days.
MAX_RETRY_AFTER_SECONDS = 6 * 3600.0
KEPT_SECONDS = 30 * DAY
MAX_ENDPOINTS = 10
OVERLAP_SECONDS = 24 * 3600
MAX_OVERLAP_SECONDS = 7 * 24 * 3600
# Of a thousand events each.
MAX_REPLAY_WINDOWS = 10


class EndpointState(StrEnum):
    ACTIVE = "active"
    DISABLED = "disabled"


class DisabledReason(StrEnum):
    """``failing``: for three days nothing was taken; ``gone``: it answered 410.

    ``no_access``: its account may not hear what partners are told, or not any more.
    """

    OWNER = "owner"
    FAILING = "failing"
    GONE = "gone"
    NO_ACCESS = "no_access"


class DeliveryState(StrEnum):
    """``skipped``: the endpoint was disabled. ``failed``: tried for three days."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    SKIPPED = "skipped"


def pause_seconds(
    attempts: int, age_seconds: float, *, chance: float, retry_after: float | None = None
) -> float | None:
    """How long to wait after try number ``attempts``; None when the three days are over.

    ``age_seconds`` is since the delivery was first due, ``chance`` in [0, 1) spreads the tries of
    many deliveries that failed together, ``retry_after`` is the receiver's own wish.
    """
    left = GIVE_UP_SECONDS - age_seconds
    if left <= 0:
        return None
    pause = PAUSES_SECONDS[min(attempts, len(PAUSES_SECONDS)) - 1]
    pause *= 1 - JITTER + 2 * JITTER * chance
    if retry_after is not None:
        pause = max(pause, min(retry_after, MAX_RETRY_AFTER_SECONDS))
    return min(pause, left)


def webhook_id(event_id: int) -> str:
    """The id that a receiver knows repeats by; ids sort as the events do, also as text."""
    return f"evt_{event_id:016d}"


@dataclass(frozen=True, slots=True)
class Fact:
    """A domain event as the feed reads it: ids alone are taken over, never a person's data."""

    event_type: str
    aggregate_id: str
    show_id: str | None
    refund_id: str | None


def told_of(fact: Fact) -> dict[str, str]:
    """The ``data`` of what partners are told."""
    if fact.event_type == EventType.SHOW_CANCELLED:
        return {"show_id": fact.aggregate_id}
    data = {"booking_id": fact.aggregate_id}
    if fact.show_id is not None:
        data["show_id"] = fact.show_id
    if fact.event_type == EventType.REFUND_SETTLED and fact.refund_id is not None:
        data["refund_id"] = fact.refund_id
    return data


def body_of(type_: str, at: datetime, data: Mapping[str, str]) -> str:
    """The JSON that is sent, as Standard Webhooks has it; kept, so that each try sends the same."""
    told = {"type": type_, "timestamp": instant(at), "data": dict(data)}
    return json.dumps(told, separators=(",", ":"), ensure_ascii=True)


def instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def choice(types: Sequence[str]) -> list[str]:
    """Each chosen type once, in the order of the list above."""
    return [one.value for one in PartnerEventType if one.value in set(types)]
