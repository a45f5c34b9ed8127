"""What happened to a booking, in plain words: one sentence for each kind of event."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from readmodel.instants import stamp

SENTENCES = {
    "ReservationCreated": "The booking was made.",
    "SeatLocked": "{labels} went on hold.",
    "HoldExtended": "The hold was extended to {hold_expires_at}.",
    "PaymentStarted": "A pay page was opened with {provider}.",
    "PaymentAuthorised": "The buyer's bank promised the money.",
    "PaymentVoided": "The promised money was let go; nothing was taken.",
    "VoidRequested": "The promised money is not wanted: {reason}.",
    "BookingConfirming": "The seats are final; the promised money is being taken.",
    "PaymentVerified": "The provider confirmed a payment.",
    "PaymentFailed": "A payment failed.",
    "CaptureRefused": "The authorised money could not be taken.",
    "BookingCalledOff": "The show is cancelled.",
    "BookingExpiring": "The hold is ending; the pay page is being closed.",
    "BookingCancelling": "The booking was cancelled; the pay page is being closed.",
    "BookingConfirmed": "The booking is confirmed; the seats are sold.",
    "BookingExpired": "The hold ended without a payment.",
    "BookingCancelled": "The booking was cancelled.",
    "SeatReleased": "{labels} went back on sale.",
    "RefundRequested": "The money is going back: {reason}.",
    "RefundSettled": "The money was sent back.",
    "RefundReserved": "A refund was asked for.",
    "RefundAccepted": "The provider is sending the money back.",
    "RefundRetried": "The bank could not credit the refund; it is sent again.",
    "RefundFailed": "The refund failed.",
    "BookingRefunding": "The whole booking is being refunded.",
    "BookingRestored": "The booking stands again.",
    "BookingRefunded": "The booking was refunded; it holds no seat any more.",
    "DisputeOpened": "The buyer's bank disputes a payment.",
    "DisputeClosed": "The dispute ended: {outcome}.",
    "BookingDisputed": "The tickets stay valid until the dispute ends; no refunds meanwhile.",
    "BookingChargedBack": "The bank took the money back; the tickets are void.",
    "LatePaymentAccepted": "The payment came late; the seats could still be had.",
    "SeatsOffered": "The payment came late and its seats were gone; {labels} were offered.",
    "OfferDeclined": "The offered seats were declined.",
    "OfferLapsed": "Nobody answered the offer in time.",
    "LatePaymentRefunded": "A payment that came too late was sent back whole.",
    "NotificationQueued": "A message about {template} was written.",
}
MESSAGES = {
    "charged_back": "the money that the bank took back",
    "confirmation": "the tickets",
    "lapse": "the end of the hold",
    "offer": "the other seats on offer",
    "payment_failed": "the failed payment",
    "refund": "the money sent back",
    "refund_accepted": "the refund under way",
    "refund_failed": "the failed refund",
    "show_cancelled": "the cancelled show",
    "void": "the promised money let go",
}


# Why a hold ended, by the reason that its event names. A cancellation says it in its note.
WHY = {
    "lapsed": "its time was up",
    "released": "the staff released it",
    "failed": "the payment failed",
}
ENDINGS = ("BookingExpiring", "BookingExpired", "BookingCancelling", "BookingCancelled")


class _Told(dict[str, Any]):
    def __missing__(self, name: str) -> str:
        """What an event does not say must not keep the others from being told."""
        return f"({name} is not on record)"


def sentence(event_type: str, payload: Mapping[str, Any]) -> str:
    """What happened and, where the event says so, why."""
    told = SENTENCES.get(event_type)
    if told is None:
        return f"{event_type}."
    labels = payload.get("labels") or [seat["label"] for seat in payload.get("seats", [])]
    words = told.format_map(_Told(payload, labels=", ".join(labels), **_shown(payload)))
    if event_type == "HoldExtended" and payload.get("reason"):
        return f"{words} {payload['reason']}"
    return _with_why(words, payload) if event_type in ENDINGS else words


def _shown(payload: Mapping[str, Any]) -> dict[str, str]:
    """What reads otherwise than it is kept."""
    shown: dict[str, str] = {}
    if (until := payload.get("hold_expires_at")) is not None:
        shown["hold_expires_at"] = stamp(datetime.fromisoformat(until))
    if (template := payload.get("template")) is not None:
        shown["template"] = MESSAGES.get(template, template)
    return shown


def _with_why(words: str, told: Mapping[str, Any]) -> str:
    if (why := WHY.get(told.get("why", ""))) is not None:
        words = f"{words.removesuffix('.')}: {why}."
    if told.get("note"):
        words = f"{words} {told['note']}"
    if told.get("payment_uncertain"):
        words = f"{words} Whether money is on its way is not known yet."
    return words
