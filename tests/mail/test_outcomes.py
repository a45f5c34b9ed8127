"""What follows from a try that failed."""

from __future__ import annotations

import pytest

from services.notification import (
    LONGEST_PAUSE_SECONDS,
    MAX_ATTEMPTS,
    Ambiguous,
    Delivery,
    KeyKnown,
    NotSent,
    Refused,
    SendError,
    after,
)


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(1, 2), (2, 4), (3, 8), (7, 128), (8, 256), (9, 300), (279, 300)]
)
def test_the_pauses_grow_to_their_limit(attempt: int, seconds: float) -> None:
    outcome = after(NotSent("down"), Delivery(1, "email", attempt, 0))
    assert (outcome.state, outcome.wait_seconds) == ("pending", seconds)
    assert seconds <= LONGEST_PAUSE_SECONDS


@pytest.mark.parametrize("channel", ["email", "sms"])
def test_a_refusal_is_the_end_and_says_why(channel: str) -> None:
    outcome = after(Refused("550 5.1.1"), Delivery(1, channel, 1, 0))
    assert (outcome.state, outcome.reason) == ("failed", "refused: 550 5.1.1")


def test_a_key_that_is_known_settles_a_doubt_and_nothing_else() -> None:
    known = KeyKnown("422")
    sent = after(known, Delivery(1, "sms", 2, 1))
    assert (sent.state, sent.ambiguous, sent.wait_seconds) == ("sent", False, None)
    assert sent.reason == "taken at a try whose outcome was unknown: 422"
    assert after(known, Delivery(1, "sms", 1, 0)).state == "failed"
    assert after(Refused("422"), Delivery(1, "sms", 2, 1)).state == "failed"


def test_a_mail_is_tried_once_more_after_doubt_and_never_again() -> None:
    first = after(Ambiguous("cut"), Delivery(1, "email", 1, 0))
    second = after(Ambiguous("cut"), Delivery(1, "email", 2, 1))
    assert (first.state, first.ambiguous) == ("pending", True)
    assert (second.state, second.ambiguous, second.wait_seconds) == ("failed", True, None)
    assert second.reason == "outcome unknown 2 times: cut"


def test_a_failure_without_doubt_leaves_the_extra_try_open() -> None:
    outcome = after(NotSent("down"), Delivery(1, "email", 2, 1))
    assert (outcome.state, outcome.ambiguous) == ("pending", False)


def test_an_sms_may_be_repeated_after_doubt_for_it_has_a_key() -> None:
    outcome = after(Ambiguous("hung"), Delivery(1, "sms", 5, 4))
    assert (outcome.state, outcome.ambiguous) == ("pending", True)


@pytest.mark.parametrize("error", [NotSent("down"), Ambiguous("hung")])
def test_the_last_try_ends_in_failure(error: SendError) -> None:
    outcome = after(error, Delivery(1, "sms", MAX_ATTEMPTS, 0))
    assert outcome.state == "failed"
    assert outcome.reason == f"gave up after {MAX_ATTEMPTS} tries: {error}"
