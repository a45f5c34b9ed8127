"""What becomes of captured money, for every state, amount and currency."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.booking import BookingState
from domain.money import Money
from domain.payment import Verdict
from domain.payment_policy import capture_fact, decide

PRICE = Money(2400, "EUR")
WRONG = (
    Money(2399, "EUR"),
    Money(2401, "EUR"),
    Money(0, "EUR"),
    Money(-2400, "EUR"),
    Money(2400, "USD"),
    Money(2400, "eur"),
)
# Written out, so that a state added later must be decided here too.
FIRST_RIGHT_PAYMENT = {
    BookingState.HELD: Verdict.CONFIRMS,
    BookingState.EXPIRING: Verdict.CONFIRMS,
    BookingState.CONFIRMED: Verdict.DUPLICATE,
    BookingState.EXPIRED: Verdict.LATE,
    BookingState.CANCELLING: Verdict.CANCELLED,
    BookingState.CANCELLED: Verdict.CANCELLED,
    BookingState.REJECTED: Verdict.CANCELLED,
    BookingState.REFUND_PENDING: Verdict.DUPLICATE,
    BookingState.REFUNDED: Verdict.DUPLICATE,
    BookingState.DISPUTED: Verdict.DUPLICATE,
    BookingState.CHARGED_BACK: Verdict.DUPLICATE,
}
# A pending booking has no row yet: its money waits, without a verdict.
DECIDED = [state for state in BookingState if state is not BookingState.PENDING]

states = st.sampled_from(DECIDED)
money = st.builds(Money, st.integers(), st.sampled_from(["EUR", "USD", "JPY"]))


def judge(
    state: BookingState,
    paid: Money = PRICE,
    *,
    expected: Money = PRICE,
    has_confirming: bool = False,
) -> Verdict | None:
    fact = capture_fact(state, expected=expected, paid=paid, has_confirming=has_confirming)
    return decide(state, fact).verdict


@pytest.mark.parametrize("state", DECIDED)
def test_the_first_right_payment_is_judged_by_the_state(state: BookingState) -> None:
    assert judge(state) is FIRST_RIGHT_PAYMENT[state]


@pytest.mark.parametrize("state", DECIDED)
def test_a_second_right_payment_is_a_duplicate_in_every_state(state: BookingState) -> None:
    assert judge(state, has_confirming=True) is Verdict.DUPLICATE


@pytest.mark.parametrize("has_confirming", [False, True])
@pytest.mark.parametrize("paid", WRONG, ids=lambda paid: f"{paid.amount}{paid.currency}")
@pytest.mark.parametrize("state", DECIDED)
def test_a_wrong_sum_is_a_mismatch_whatever_else(
    state: BookingState, paid: Money, has_confirming: bool
) -> None:
    assert judge(state, paid, has_confirming=has_confirming) is Verdict.MISMATCH


@pytest.mark.parametrize("has_confirming", [False, True])
@pytest.mark.parametrize("paid", [PRICE, *WRONG], ids=lambda paid: f"{paid.amount}{paid.currency}")
def test_a_pending_booking_gives_no_verdict(paid: Money, has_confirming: bool) -> None:
    assert judge(BookingState.PENDING, paid, has_confirming=has_confirming) is None


@given(states, money, money, st.booleans())
def test_nothing_but_the_whole_price_ever_confirms(
    state: BookingState, expected: Money, paid: Money, has_confirming: bool
) -> None:
    verdict = judge(state, paid, expected=expected, has_confirming=has_confirming)
    may_confirm = not has_confirming and state in (BookingState.HELD, BookingState.EXPIRING)
    assert (verdict is Verdict.CONFIRMS) == (paid == expected and may_confirm)
