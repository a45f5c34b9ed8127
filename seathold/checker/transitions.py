"""The checker's own table of what may happen to a booking: written from the rules, not the code."""

from __future__ import annotations

OPEN = frozenset({"held", "expiring", "cancelling"})
# Seats are sold; what a refund that was asked for, or a dispute, may turn into one another.
SOLD = frozenset({"confirmed", "refund_pending", "disputed"})
TERMINAL = frozenset({"confirmed", "expired", "cancelled", "refunded", "charged_back"})
# Without money left to send back, a booking of a cancelled show is cancelled with it: see C3.
# Late money may bring an expired booking back, but only by the event that says so: "reinstated"
# is no state of a row, it only leads to a confirmation.
LEADS_ON = frozenset(
    {
        ("confirmed", "refund_pending"),
        ("confirmed", "disputed"),
        ("confirmed", "cancelled"),
        ("expired", "reinstated"),
    }
)
# What was sold may still go back on sale.
GIVES_UP = SOLD | {"charged_back"}
# Shown as `held`: its seats are final, its authorised money is being taken.
CONFIRMING = frozenset({"confirming"})
EXISTS = OPEN | CONFIRMING | SOLD | TERMINAL
NOTHING: frozenset[str | None] = frozenset({None})

# Event: the states it may meet, and the state it leads to (None: it changes none).
TRANSITIONS: dict[str, tuple[frozenset[str | None], str | None]] = {
    "ReservationCreated": (NOTHING, "held"),
    "SeatLocked": (frozenset({"held", "reinstated"}), None),
    "HoldExtended": (frozenset({"held"}), None),
    "PaymentStarted": (frozenset({"held"}), None),
    "PaymentAuthorised": (EXISTS, None),
    "PaymentVerified": (EXISTS, None),
    "PaymentFailed": (EXISTS, None),
    "CaptureRefused": (frozenset({"confirming"}), None),
    "VoidRequested": (EXISTS, None),
    "PaymentVoided": (EXISTS, None),
    "BookingConfirming": (frozenset({"held", "expiring"}), "confirming"),
    "BookingExpiring": (frozenset({"held"}) | CONFIRMING, "expiring"),
    "BookingCancelling": (frozenset({"held", "expiring"}), "cancelling"),
    "BookingConfirmed": (
        frozenset({"held", "expiring", "reinstated"}) | CONFIRMING,
        "confirmed",
    ),
    "BookingRefunding": (frozenset({"confirmed", "disputed"}), "refund_pending"),
    "BookingRestored": (frozenset({"refund_pending", "disputed"}), "confirmed"),
    "BookingRefunded": (frozenset({"refund_pending", "disputed"}), "refunded"),
    "DisputeOpened": (EXISTS, None),
    "DisputeClosed": (EXISTS, None),
    "BookingDisputed": (frozenset({"confirmed"}), "disputed"),
    "BookingChargedBack": (frozenset({"disputed"}), "charged_back"),
    "LatePaymentAccepted": (frozenset({"expired"}), "reinstated"),
    "SeatsOffered": (frozenset({"expired"}), None),
    "OfferDeclined": (frozenset({"expired"}), None),
    "OfferLapsed": (frozenset({"expired"}), None),
    "BookingExpired": (frozenset({"held", "expiring"}), "expired"),
    "BookingCancelled": (frozenset({"held", "cancelling", "confirmed"}), "cancelled"),
    "SeatReleased": (frozenset({"expired", "cancelled"}) | GIVES_UP, None),
    "RefundReserved": (frozenset({"confirmed"}), None),
    "RefundAccepted": (GIVES_UP, None),
    "RefundRetried": (EXISTS, None),
    "RefundFailed": (EXISTS, None),
    "RefundRequested": (EXISTS, None),
    "RefundSettled": (EXISTS, None),
    "LatePaymentRefunded": (EXISTS, None),
    "NotificationQueued": (EXISTS, None),
    "BookingCalledOff": (OPEN | {"confirmed"}, None),
    "ShowCancelled": (NOTHING, None),
    "UserRegistered": (NOTHING, None),
    "EmailVerified": (NOTHING, None),
    "PasswordChanged": (NOTHING, None),
    "PasswordReset": (NOTHING, None),
    "ProfileChanged": (NOTHING, None),
    "SecondFactorAdded": (NOTHING, None),
    "SecondFactorRemoved": (NOTHING, None),
    "UserBlocked": (NOTHING, None),
    "UserUnblocked": (NOTHING, None),
    "UserErased": (NOTHING, None),
}
