"""The checker's own table of what may happen to a booking: written from the rules, not the code."""

from __future__ import annotations

OPEN = frozenset({"held", "expiring", "cancelling"})
# Seats are sold; what a refund that was asked for, or a dispute, may turn into one another.
SOLD = frozenset({"confirmed", "refund_pending", "disputed"})
TERMINAL = frozenset({"confirmed", "expired", "cancelled", "refunded", "charged_back"})
LEADS_ON = frozenset({("confirmed", "refund_pending"), ("confirmed", "disputed")})
# What was sold may still go back on sale.
GIVES_UP = SOLD | {"charged_back"}
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
    "BookingRefunding": (frozenset({"confirmed", "disputed"}), "refund_pending"),
    "BookingRestored": (frozenset({"refund_pending", "disputed"}), "confirmed"),
    "BookingRefunded": (frozenset({"refund_pending", "disputed"}), "refunded"),
    "DisputeOpened": (EXISTS, None),
    "DisputeClosed": (EXISTS, None),
    "BookingDisputed": (frozenset({"confirmed"}), "disputed"),
    "BookingChargedBack": (frozenset({"disputed"}), "charged_back"),
    "BookingExpired": (frozenset({"held", "expiring"}), "expired"),
    "BookingCancelled": (frozenset({"held", "cancelling"}), "cancelled"),
    "SeatReleased": (frozenset({"expired", "cancelled"}) | GIVES_UP, None),
    "RefundReserved": (frozenset({"confirmed"}), None),
    "RefundAccepted": (GIVES_UP, None),
    "RefundFailed": (GIVES_UP, None),
    "RefundRequested": (EXISTS, None),
    "RefundSettled": (EXISTS, None),
    "LatePaymentRefunded": (EXISTS, None),
    "NotificationQueued": (EXISTS, None),
    "UserRegistered": (NOTHING, None),
}
