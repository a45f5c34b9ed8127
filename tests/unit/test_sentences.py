"""Each event of a booking is told in a sentence of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import infra.notify.render
from domain.events import EventType
from readmodel.sentences import MESSAGES, SENTENCES, sentence

# Those of an account or a show, which no timeline tells.
ELSEWHERE = ("User", "Email", "Password", "Profile", "SecondFactor", "ShowCancelled")


def test_every_event_of_a_booking_has_its_sentence() -> None:
    of_bookings = {one.value for one in EventType if not one.value.startswith(ELSEWHERE)}
    assert of_bookings - SENTENCES.keys() == set()
    assert SENTENCES.keys() - of_bookings == set()


def test_every_message_to_a_buyer_is_told_in_words() -> None:
    templates = Path(infra.notify.render.__file__).parent / "templates"
    of_bookings = {path.stem for path in templates.glob("*.sms")}
    assert MESSAGES.keys() == of_bookings
    told = sentence("NotificationQueued", {"template": "refund_accepted"})
    assert told == "A message about the refund under way was written."


def test_a_moment_is_told_as_everywhere() -> None:
    told = sentence("HoldExtended", {"hold_expires_at": "2026-11-30T12:33:42.347292+00:00"})
    assert told == "The hold was extended to 2026-11-30T12:33:42.347Z."


@pytest.mark.parametrize(
    ("event", "payload", "told"),
    [
        ("BookingExpired", {"why": "lapsed"}, "The hold ended without a payment: its time was up."),
        (
            "BookingCancelled",
            {"why": "cancelled", "note": "Change of plans."},
            "The booking was cancelled. Change of plans.",
        ),
        (
            "BookingExpired",
            {"why": "failed", "payment_uncertain": True},
            "The hold ended without a payment: the payment failed. "
            + "Whether money is on its way is not known yet.",
        ),
        ("SeatReleased", {"labels": ["A1", "A2"]}, "A1, A2 went back on sale."),
        ("SeatLocked", {"seats": [{"label": "A1"}, {"label": "A2"}]}, "A1, A2 went on hold."),
        (
            "HoldExtended",
            {"hold_expires_at": "2026-11-30T12:33:42+00:00", "reason": "A slow bank."},
            "The hold was extended to 2026-11-30T12:33:42.000Z. A slow bank.",
        ),
        ("RefundRequested", {"reason": "late"}, "The money is going back: late."),
        ("DisputeClosed", {}, "The dispute ended: (outcome is not on record)."),
        ("SomethingNew", {}, "SomethingNew."),
    ],
)
def test_why_and_which_seats_are_told(event: str, payload: dict[str, Any], told: str) -> None:
    assert sentence(event, payload) == told
