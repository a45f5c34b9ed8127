"""The checker's own table of what may happen to a booking: written from the rules, not the code."""

from __future__ import annotations

OPEN = frozenset({"held", "expiring", "cancelling"})
# Seats are sold; what a refund that was asked for may still turn into one another.
SOLD = frozenset({"confirmed", "refund_pending"})
TERMINAL = frozenset({"confirmed", "expired", "cancelled", "refunded"})
# Without money left to send back, a booking of a cancelled show is cancelled with it: see C3.
LEADS_ON = frozenset({("confirmed", "refund_pending"), ("confirmed", "cancelled")})
EXISTS = OPEN | SOLD | TERMINAL
NOTHING: frozenset[str | None] = frozenset({None})

# Event: the states it may meet, and the state it leads to (None: it changes none).
TRANSITIONS: dict[str, tuple[frozenset[str | None], str | None]] = {
    "ReservationCreated": (NOTHING, "held"),
    "SeatLocked": (frozenset({"held"}), None),
    "HoldExtended": (frozenset({"held"}), None),
    "PaymentStarted": (frozenset({"held"}), None),
    "PaymentVerified": (EXISTS, None),
    "PaymentFailed": (EXISTS, None),
    "BookingExpiring": (frozenset({"held"}), "expiring"),
    "BookingCancelling": (frozenset({"held", "expiring"}), "cancelling"),
    "BookingConfirmed": (frozenset({"held", "expiring"}), "confirmed"),
    "BookingRefunding": (frozenset({"confirmed"}), "refund_pending"),
    "BookingRestored": (frozenset({"refund_pending"}), "confirmed"),
    "BookingRefunded": (frozenset({"refund_pending"}), "refunded"),
    "BookingExpired": (frozenset({"held", "expiring"}), "expired"),
    "BookingCancelled": (frozenset({"held", "cancelling", "confirmed"}), "cancelled"),
    "SeatReleased": (frozenset({"expired", "cancelled"}) | SOLD, None),
    "RefundReserved": (frozenset({"confirmed"}), None),
    "RefundAccepted": (SOLD, None),
    "RefundFailed": (SOLD, None),
    "RefundRequested": (EXISTS, None),
    "RefundSettled": (EXISTS, None),
    "LatePaymentRefunded": (EXISTS, None),
    "NotificationQueued": (EXISTS, None),
    "BookingCalledOff": (OPEN | {"confirmed"}, None),
    "ShowCancelled": (NOTHING, None),
    "UserRegistered": (NOTHING, None),
}
