"""What became true, in the past tense, with versioned payloads; hashed into a chain a stream.

Payloads carry ids and amounts, never a person's data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from domain.upcasters import newest


class EventType(StrEnum):
    RESERVATION_CREATED = "ReservationCreated"
    SEAT_LOCKED = "SeatLocked"
    HOLD_EXTENDED = "HoldExtended"
    PAYMENT_STARTED = "PaymentStarted"
    PAYMENT_AUTHORISED = "PaymentAuthorised"
    PAYMENT_VERIFIED = "PaymentVerified"
    PAYMENT_FAILED = "PaymentFailed"
    CAPTURE_REFUSED = "CaptureRefused"
    VOID_REQUESTED = "VoidRequested"
    PAYMENT_VOIDED = "PaymentVoided"
    BOOKING_CONFIRMING = "BookingConfirming"
    BOOKING_EXPIRING = "BookingExpiring"
    BOOKING_CANCELLING = "BookingCancelling"
    BOOKING_CONFIRMED = "BookingConfirmed"
    BOOKING_EXPIRED = "BookingExpired"
    BOOKING_CANCELLED = "BookingCancelled"
    SEAT_RELEASED = "SeatReleased"
    REFUND_REQUESTED = "RefundRequested"
    REFUND_SETTLED = "RefundSettled"
    REFUND_RESERVED = "RefundReserved"
    REFUND_ACCEPTED = "RefundAccepted"
    REFUND_RETRIED = "RefundRetried"
    REFUND_FAILED = "RefundFailed"
    BOOKING_REFUNDING = "BookingRefunding"
    BOOKING_RESTORED = "BookingRestored"
    BOOKING_REFUNDED = "BookingRefunded"
    SHOW_CANCELLED = "ShowCancelled"
    BOOKING_CALLED_OFF = "BookingCalledOff"
    DISPUTE_OPENED = "DisputeOpened"
    DISPUTE_CLOSED = "DisputeClosed"
    BOOKING_DISPUTED = "BookingDisputed"
    BOOKING_CHARGED_BACK = "BookingChargedBack"
    LATE_PAYMENT_ACCEPTED = "LatePaymentAccepted"
    SEATS_OFFERED = "SeatsOffered"
    OFFER_DECLINED = "OfferDeclined"
    OFFER_LAPSED = "OfferLapsed"
    LATE_PAYMENT_REFUNDED = "LatePaymentRefunded"
    NOTIFICATION_QUEUED = "NotificationQueued"
    USER_REGISTERED = "UserRegistered"
    EMAIL_VERIFIED = "EmailVerified"
    PASSWORD_CHANGED = "PasswordChanged"
    PASSWORD_RESET = "PasswordReset"
    PROFILE_CHANGED = "ProfileChanged"
    SECOND_FACTOR_ADDED = "SecondFactorAdded"
    SECOND_FACTOR_REMOVED = "SecondFactorRemoved"
    USER_BLOCKED = "UserBlocked"
    USER_UNBLOCKED = "UserUnblocked"
    USER_ERASED = "UserErased"


@dataclass(frozen=True, slots=True)
class Event:
    """One fact. ``payload`` must survive a round trip through JSON unchanged."""

    type: EventType
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChainedEvent:
    """An event with its place in its aggregate's stream; ``sequence`` counts from 1."""

    event: Event
    sequence: int
    schema_version: int
    previous_hash: bytes
    hash: bytes


def chain(
    aggregate_id: UUID,
    events: list[Event],
    *,
    sequence: int,
    previous_hash: bytes,
    actor: str,
    request_id: str | None,
) -> list[ChainedEvent]:
    """Number ``events`` after ``sequence`` and hash each over the one before it (SHA-256).

    Who did it, and by which request, is hashed too: that is what a forger would change.
    """
    chained: list[ChainedEvent] = []
    for event in events:
        sequence += 1
        version = newest(event.type)
        digest = event_hash(
            previous_hash, aggregate_id, sequence, event, version, actor, request_id
        )
        chained.append(ChainedEvent(event, sequence, version, previous_hash, digest))
        previous_hash = digest
    return chained


def event_hash(
    previous: bytes,
    aggregate_id: UUID,
    sequence: int,
    event: Event,
    schema_version: int,
    actor: str,
    request_id: str | None,
) -> bytes:
    """SHA-256 of the hash before it and the canonical JSON of what is told."""
    told = [str(aggregate_id), sequence, event.type, schema_version, dict(event.payload)]
    body = json.dumps(
        [*told, actor, request_id],
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
    )
    return hashlib.sha256(previous + body.encode()).digest()
