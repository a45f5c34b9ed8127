"""The decision table: every cell written out here, in the policy's words, and compared."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.booking import BookingState
from domain.money import Money
from domain.payment import Verdict
from domain.payment_policy import (
    Decision,
    MoneyBack,
    PaymentFact,
    PaymentMode,
    Step,
    capture_fact,
    decide,
)
from tests.helpers.policy_cells import STATES

FACTS = {
    "exact capture": PaymentFact.EXACT,
    "duplicate capture": PaymentFact.DUPLICATE,
    "wrong amount or currency": PaymentFact.WRONG_SUM,
    "cancel confirmed": PaymentFact.CANCEL_CONFIRMED,
    "dispute": PaymentFact.DISPUTE,
}
# "late" is P2: it depends on the seats and on the window, see LATE below.
TABLE = """
HELD         | confirm         | return extra | return wrong        | back to HELD | review
PAYING       | confirm         | return extra | return wrong        | back to HELD | review
EXPIRING     | confirm         | return extra | wrong, then EXPIRED | expire       | review
EXPIRED      | late            | return extra | return wrong        | nothing      | dispute payment
CANCELLING   | return unwanted | return extra | return wrong        | cancel       | dispute payment
CANCELLED    | return unwanted | return extra | return wrong        | cancel       | dispute payment
CONFIRMED    | nothing         | return extra | return wrong        | review       | dispute ticket
REFUNDED     | return extra    | return extra | return wrong        | nothing      | evidence
CHARGED_BACK | return extra    | return extra | return wrong        | nothing      | evidence
"""
LATE = {
    ("seats free", "inside W"): "reinstate",
    ("seats free", "outside W"): "return late",
    ("seats taken", "inside W"): "return late",
    ("seats taken", "outside W"): "return late",
}
BACK = {"capture mode": MoneyBack.REFUND, "authorise mode": MoneyBack.VOID}


def returned(verdict: Verdict, *, alert: bool = False) -> Decision:
    return Decision(Step.SEND_BACK, verdict=verdict, back=MoneyBack.REFUND, alert=alert)


WORDS = {
    "nothing": Decision(Step.NOTHING),
    "confirm": Decision(Step.CONFIRM, becomes=BookingState.CONFIRMED, verdict=Verdict.CONFIRMS),
    "reinstate": Decision(Step.REINSTATE, becomes=BookingState.CONFIRMED, verdict=Verdict.CONFIRMS),
    "return late": returned(Verdict.LATE),
    "return extra": returned(Verdict.DUPLICATE),
    "return unwanted": returned(Verdict.CANCELLED),
    "return wrong": returned(Verdict.MISMATCH, alert=True),
    "wrong, then EXPIRED": replace(
        returned(Verdict.MISMATCH, alert=True), becomes=BookingState.EXPIRED
    ),
    "back to HELD": Decision(Step.BACK_TO_HELD, becomes=BookingState.HELD),
    "expire": Decision(Step.EXPIRE, becomes=BookingState.EXPIRED),
    "cancel": Decision(Step.CANCEL, becomes=BookingState.CANCELLED),
    "review": Decision(Step.REVIEW),
    "dispute payment": Decision(Step.DISPUTE),
    "dispute ticket": Decision(Step.DISPUTE, becomes=BookingState.DISPUTED),
    "evidence": Decision(Step.EVIDENCE),
}


def written(table: str) -> dict[tuple[str, str], str]:
    rows = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]
    return {
        (state, fact): word
        for state, *words in rows
        for fact, word in zip(FACTS, words, strict=True)
    }


EXPECTED = written(TABLE)
CELLS = list(product(STATES, FACTS, ("seats free", "seats taken"), ("inside W", "outside W"), BACK))

states = st.sampled_from(BookingState)
facts = st.sampled_from(PaymentFact)
modes = st.sampled_from(PaymentMode)
sums = st.builds(Money, st.integers(0, 3), st.sampled_from(["EUR", "USD"]))


def decided(state: BookingState, fact: str, seats: str, window: str, mode: str) -> Decision:
    return decide(
        state,
        FACTS[fact],
        seats_free=seats == "seats free",
        in_window=window == "inside W",
        mode=PaymentMode.CAPTURE if mode == "capture mode" else PaymentMode.AUTHORISE,
    )


def test_the_table_has_360_cells() -> None:
    assert len(set(CELLS)) == len(CELLS) == 360
    assert set(EXPECTED) == {(state, fact) for state, fact, *_ in CELLS}


@pytest.mark.parametrize(("state", "fact", "seats", "window", "mode"), CELLS)
def test_a_cell(state: str, fact: str, seats: str, window: str, mode: str) -> None:
    word = EXPECTED[state, fact]
    if word == "late":
        # P2: a late promise is let go, whatever is free: nothing has been taken from the buyer.
        word = LATE[seats, window] if mode == "capture mode" else "return late"
    expected = WORDS[word]
    if expected.step is Step.SEND_BACK:
        expected = replace(expected, back=BACK[mode])
    assert decided(STATES[state], fact, seats, window, mode) == expected


@pytest.mark.parametrize(
    ("state", "behaves_as"),
    [
        (BookingState.DISPUTED, BookingState.REFUNDED),
        (BookingState.REFUND_PENDING, BookingState.REFUNDED),
        (BookingState.REJECTED, BookingState.CANCELLED),
    ],
)
def test_a_state_the_table_does_not_name_behaves_as_one_it_does(
    state: BookingState, behaves_as: BookingState
) -> None:
    for _, *cell in CELLS:
        assert decided(state, *cell) == decided(behaves_as, *cell)


def test_a_pending_booking_keeps_every_fact_for_later() -> None:
    assert {decided(BookingState.PENDING, *cell) for _, *cell in CELLS} == {Decision(Step.KEEP)}


@given(states, sums, sums, st.booleans(), st.booleans(), st.booleans(), modes)
def test_money_is_never_kept_without_a_seat(
    state: BookingState,
    expected: Money,
    paid: Money,
    has_confirming: bool,
    seats_free: bool,
    in_window: bool,
    mode: PaymentMode,
) -> None:
    """A new payment confirms, or goes back whole, or waits for a booking without outcome."""
    fact = capture_fact(state, expected=expected, paid=paid, has_confirming=has_confirming)
    decision = decide(state, fact, seats_free=seats_free, in_window=in_window, mode=mode)
    if state is BookingState.PENDING:
        assert decision.step is Step.KEEP
    elif decision.step is Step.SEND_BACK:
        assert decision.back is BACK[f"{mode} mode"]
        assert decision.verdict not in (None, Verdict.CONFIRMS)
    else:
        assert decision.step in (Step.CONFIRM, Step.REINSTATE)
        assert decision.verdict is Verdict.CONFIRMS
        assert paid == expected
        assert not has_confirming


@given(states, facts, st.booleans(), st.booleans(), modes)
def test_nothing_but_a_capture_moves_money(
    state: BookingState, fact: PaymentFact, seats_free: bool, in_window: bool, mode: PaymentMode
) -> None:
    decision = decide(state, fact, seats_free=seats_free, in_window=in_window, mode=mode)
    if fact in (PaymentFact.CANCEL_CONFIRMED, PaymentFact.DISPUTE):
        assert decision.verdict is None
        assert decision.back is None


@pytest.mark.parametrize("state", BookingState)
def test_a_dispute_of_money_that_went_back_never_pays_twice(state: BookingState) -> None:
    before = decide(state, PaymentFact.DISPUTE)
    after = decide(state, PaymentFact.DISPUTE, refund_settled=True)
    assert after == (Decision(Step.EVIDENCE) if before.step is Step.DISPUTE else before)


@pytest.mark.parametrize("seats_free", [False, True])
@pytest.mark.parametrize("in_window", [False, True])
@pytest.mark.parametrize("mode", PaymentMode)
def test_of_two_late_payments_at_most_the_first_is_reinstated(
    mode: PaymentMode, in_window: bool, seats_free: bool
) -> None:
    first = decide(
        BookingState.EXPIRED,
        PaymentFact.EXACT,
        seats_free=seats_free,
        in_window=in_window,
        mode=mode,
    )
    state = first.becomes or BookingState.EXPIRED
    second = decide(
        state, PaymentFact.DUPLICATE, seats_free=seats_free, in_window=in_window, mode=mode
    )
    is_taken = mode is PaymentMode.CAPTURE
    assert (first.step is Step.REINSTATE) == (is_taken and seats_free and in_window)
    assert second.verdict is Verdict.DUPLICATE
    assert second.back is not None


def test_late_money_goes_back_while_nobody_looked_for_the_seats() -> None:
    assert decide(BookingState.EXPIRED, PaymentFact.EXACT).verdict is Verdict.LATE
