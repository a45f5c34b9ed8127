"""The checker's own table of what may happen to a booking: written from the rules, not the code."""

from __future__ import annotations

OPEN = frozenset({"held", "expiring", "cancelling"})
TERMINAL = frozenset({"confirmed", "expired", "cancelled"})
EXISTS = OPEN | TERMINAL
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
    "BookingExpired": (frozenset({"held", "expiring"}), "expired"),
    "BookingCancelled": (frozenset({"held", "cancelling"}), "cancelled"),
    "SeatReleased": (frozenset({"expired", "cancelled"}), None),
    "RefundRequested": (EXISTS, None),
    "RefundSettled": (EXISTS, None),
    "LatePaymentRefunded": (EXISTS, None),
    "NotificationQueued": (EXISTS, None),
    "UserRegistered": (NOTHING, None),
}
