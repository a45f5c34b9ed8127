"""The checker's own table of what may happen to a booking: written from the rules, not the code."""

from __future__ import annotations

OPEN = frozenset({"held", "expiring", "cancelling"})
# Seats are sold; what a refund that was asked for may still turn into one another.
SOLD = frozenset({"confirmed", "refund_pending"})
TERMINAL = frozenset({"confirmed", "expired", "cancelled", "refunded"})
# Late money may bring an expired booking back, but only by the event that says so: "reinstated"
# is no state of a row, it only leads to a confirmation.
LEADS_ON = frozenset({("confirmed", "refund_pending"), ("expired", "reinstated")})
EXISTS = OPEN | SOLD | TERMINAL
NOTHING: frozenset[str | None] = frozenset({None})

# Event: the states it may meet, and the state it leads to (None: it changes none).
TRANSITIONS: dict[str, tuple[frozenset[str | None], str | None]] = {
    "ReservationCreated": (NOTHING, "held"),
    "SeatLocked": (frozenset({"held", "reinstated"}), None),
    "HoldExtended": (frozenset({"held"}), None),
    "PaymentStarted": (frozenset({"held"}), None),
    "PaymentVerified": (EXISTS, None),
    "PaymentFailed": (EXISTS, None),
    "BookingExpiring": (frozenset({"held"}), "expiring"),
    "BookingCancelling": (frozenset({"held", "expiring"}), "cancelling"),
    "BookingConfirmed": (frozenset({"held", "expiring", "reinstated"}), "confirmed"),
    "LatePaymentAccepted": (frozenset({"expired"}), "reinstated"),
    "SeatsOffered": (frozenset({"expired"}), None),
    "OfferDeclined": (frozenset({"expired"}), None),
    "OfferLapsed": (frozenset({"expired"}), None),
    "BookingRefunding": (frozenset({"confirmed"}), "refund_pending"),
    "BookingRestored": (frozenset({"refund_pending"}), "confirmed"),
    "BookingRefunded": (frozenset({"refund_pending"}), "refunded"),
    "BookingExpired": (frozenset({"held", "expiring"}), "expired"),
    "BookingCancelled": (frozenset({"held", "cancelling"}), "cancelled"),
    "SeatReleased": (frozenset({"expired", "cancelled"}) | SOLD, None),
    "RefundReserved": (frozenset({"confirmed"}), None),
    "RefundAccepted": (SOLD, None),
    "RefundFailed": (SOLD, None),
    "RefundRequested": (EXISTS, None),
    "RefundSettled": (EXISTS, None),
    "LatePaymentRefunded": (EXISTS, None),
    "NotificationQueued": (EXISTS, None),
    "UserRegistered": (NOTHING, None),
}
