"""Each event of a booking is told in a sentence of its own."""

from __future__ import annotations

from domain.events import EventType
from readmodel.bookings import SENTENCES

# Those of an account or a show, which no timeline tells.
ELSEWHERE = ("User", "Email", "Password", "Profile", "SecondFactor", "ShowCancelled")


def test_every_event_of_a_booking_has_its_sentence() -> None:
    of_bookings = {one.value for one in EventType if not one.value.startswith(ELSEWHERE)}
    assert of_bookings - SENTENCES.keys() == set()
    assert SENTENCES.keys() - of_bookings == set()
