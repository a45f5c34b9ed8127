"""How far a hold can be stretched, and what its states and endings are."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.booking import (
    Booking,
    BookingState,
    CloseReason,
    checkout_expiry,
    extended_expiry,
)
from domain.limits import MIN_CHECKOUT_SECONDS
from domain.money import Money
from domain.payment_policy import end_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def hold(expires: float, maximum: float) -> Booking:
    """A hold that ends, and must end, so many seconds from now."""
    return Booking(
        id=UUID(int=1),
        user_id=UUID(int=2),
        show_id=UUID(int=3),
        state=BookingState.HELD,
        version=1,
        sequence=2,
        event_hash=b"",
        total=Money(2400, "EUR"),
        seat_count=2,
        hold_expires_at=NOW + expires * SECOND,
        hold_max_expires_at=NOW + maximum * SECOND,
        extensions_left=2,
        lapses=True,
        closing_since=None,
        close_reason=None,
        provider_payment_id=None,
        now=NOW,
    )


def seconds_from_now(moment: datetime) -> float:
    return (moment - NOW).total_seconds()


@pytest.mark.parametrize(
    ("expires", "maximum", "hold_seconds", "ends"),
    [
        (60, 1800, 600, 600),  # from now, not from the old end
        (60, 300, 600, 300),  # the maximum is the maximum
        (600, 1800, 60, 600),  # an extension takes nothing away
        (300, 300, 600, 300),
        (-5, 1800, 600, 600),
        (-5, -1, 600, -1),
    ],
)
def test_an_extension_counts_from_now_within_the_maximum(
    expires: float, maximum: float, hold_seconds: int, ends: float
) -> None:
    assert seconds_from_now(extended_expiry(hold(expires, maximum), hold_seconds)) == ends


@pytest.mark.parametrize(
    ("expires", "maximum", "ends"),
    [
        (10, 3600, MIN_CHECKOUT_SECONDS),
        (MIN_CHECKOUT_SECONDS, 3600, MIN_CHECKOUT_SECONDS),
        (MIN_CHECKOUT_SECONDS + 1, 3600, MIN_CHECKOUT_SECONDS + 1),
        (10, MIN_CHECKOUT_SECONDS - 1, MIN_CHECKOUT_SECONDS - 1),
    ],
)
def test_a_checkout_leaves_time_to_pay(expires: float, maximum: float, ends: float) -> None:
    assert seconds_from_now(checkout_expiry(hold(expires, maximum))) == ends


@given(st.integers(-10_000, 10_000), st.integers(0, 10_000), st.integers(0, 10_000))
def test_no_stretch_shortens_a_hold_or_passes_its_maximum(
    expires: int, spare: int, hold_seconds: int
) -> None:
    booking = hold(expires, expires + spare)
    for ends in (extended_expiry(booking, hold_seconds), checkout_expiry(booking)):
        assert booking.hold_expires_at <= ends <= booking.hold_max_expires_at


@given(st.integers(-1000, 1000), st.integers(0, 1000), st.integers(0, 1000))
def test_the_same_stretch_twice_at_one_moment_is_one(
    expires: int, spare: int, hold_seconds: int
) -> None:
    once = hold(expires, expires + spare)
    twice = replace(once, hold_expires_at=extended_expiry(once, hold_seconds))
    assert extended_expiry(twice, hold_seconds) == twice.hold_expires_at


@pytest.mark.parametrize(("left", "lapsed"), [(0.001, False), (0, True), (-0.001, True)])
def test_a_hold_lapses_at_its_end(left: float, lapsed: bool) -> None:
    booking = hold(left, 600)
    assert booking.seconds_left == left
    assert booking.has_lapsed is lapsed


@pytest.mark.parametrize("state", BookingState)
def test_open_and_closing_states(state: BookingState) -> None:
    assert state.is_open == (state in ("held", "expiring", "cancelling"))
    assert state.is_closing == (state in ("expiring", "cancelling"))


@pytest.mark.parametrize(
    ("why", "closing", "final"),
    [
        (CloseReason.LAPSED, BookingState.EXPIRING, BookingState.EXPIRED),
        (CloseReason.RELEASED, BookingState.EXPIRING, BookingState.EXPIRED),
        (CloseReason.FAILED, BookingState.EXPIRING, BookingState.EXPIRED),
        (CloseReason.CANCELLED, BookingState.CANCELLING, BookingState.CANCELLED),
    ],
)
def test_each_reason_leads_to_its_ending(
    why: CloseReason, closing: BookingState, final: BookingState
) -> None:
    assert (why.closing_state, end_of(why)) == (closing, final)
