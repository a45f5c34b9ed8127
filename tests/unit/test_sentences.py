"""Each event of a booking is told in a sentence of its own."""

from __future__ import annotations

from pathlib import Path

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
