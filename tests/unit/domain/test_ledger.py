"""Whatever the facts, their order and their number: the books balance."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import ledger
from domain.ids import SEATHOLD
from domain.ledger import Account, Posting, Subject
from domain.money import Money
from tests.helpers.books import Balance, balances_of

PRICE = Money(2400, "EUR")


def subject(name: str) -> Subject:
    booking, show = uuid5(SEATHOLD, "booking"), uuid5(SEATHOLD, "show")
    return Subject(booking, show, "sandbox", uuid5(SEATHOLD, name))


PAID, EXTRA = subject("paid"), subject("extra")
REFUND = uuid5(SEATHOLD, "refund")
FACTS: dict[str, Callable[[Subject, Money], Posting]] = {
    "authorised": ledger.authorised,
    "released": ledger.released,
    "captured": ledger.captured,
    "confirmed": ledger.confirmed,
    "requested": lambda of, amount: ledger.refund_requested(of, REFUND, amount),
    "of a sale": lambda of, amount: ledger.refund_requested(
        of, REFUND, amount, source=Account.REVENUE
    ),
    "settled": lambda of, amount: ledger.refund_settled(of, REFUND, amount),
    "failed": lambda of, amount: ledger.refund_failed(of, REFUND, amount),
    "withdrawn": lambda of, amount: ledger.refund_withdrawn(of, REFUND, amount),
    "fee": ledger.fee,
    "second fee": lambda of, amount: ledger.fee(of, amount, key="2"),
    "opened": lambda of, amount: ledger.dispute_opened(of, "dp_1", amount),
    "won": lambda of, amount: ledger.dispute_won(of, "dp_1", amount),
    "lost": lambda of, amount: ledger.dispute_lost(of, "dp_1", amount),
    "opened again": lambda of, amount: ledger.dispute_opened(of, "dp_2", amount),
    "won again": lambda of, amount: ledger.dispute_won(of, "dp_2", amount),
    "lost again": lambda of, amount: ledger.dispute_lost(of, "dp_2", amount),
}
amounts = st.builds(Money, st.integers(1, 10**12), st.sampled_from(["EUR", "JPY", "KWD"]))
postings = st.builds(
    lambda name, of, amount: FACTS[name](of, amount),
    st.sampled_from(sorted(FACTS)),
    st.sampled_from([PAID, EXTRA]),
    amounts,
)


@given(st.lists(postings))
def test_debits_equal_credits_in_every_currency(facts: list[Posting]) -> None:
    for balance in balances_of(facts):
        assert sum(balance.accounts.values()) == 0


@given(st.lists(postings, unique_by=lambda one: one.id), st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(facts: list[Posting], chance: random.Random) -> None:
    again = [*facts, *facts]
    chance.shuffle(again)
    assert balances_of(again) == balances_of(facts)


@given(amounts, st.lists(st.integers(1, 10**9), max_size=4))
def test_what_was_captured_is_somewhere(amount: Money, parts: list[int]) -> None:
    """Captured = revenue + undecided + due + gone back, whatever part went back."""
    facts = [ledger.captured(PAID, amount), ledger.confirmed(PAID, amount)]
    refunded, left = 0, amount.amount
    for number, part in enumerate(parts):
        back = Money(min(part, left), amount.currency)
        if back.amount:
            left -= back.amount
            id_ = uuid5(REFUND, str(number))
            facts.append(ledger.refund_requested(PAID, id_, back, source=Account.REVENUE))
            if number % 2:
                facts.append(ledger.refund_settled(PAID, id_, back))
                refunded += back.amount
    [balance] = balances_of(facts)
    owed = -balance.accounts[Account.REFUNDS_DUE]
    assert balance.accounts[Account.REVENUE] == -left
    assert balance.accounts[Account.PROVIDER] == amount.amount - refunded
    assert replace(balance, open_refunds=owed).is_settled
    assert not replace(balance, open_refunds=owed + 1).is_settled


SETTLED = {
    "paid": ["captured", "confirmed"],
    "late": ["captured", "requested", "settled"],
    "cancelled later": ["captured", "confirmed", "of a sale", "settled"],
    "a refund refused": ["captured", "confirmed", "of a sale", "withdrawn"],
    "authorised": ["authorised", "captured", "released", "confirmed"],
    "voided": ["authorised", "released"],
    "with a fee": ["captured", "confirmed", "fee", "second fee"],
    "dispute won": ["captured", "confirmed", "opened", "won"],
    "dispute lost": ["captured", "confirmed", "opened", "lost"],
}
UNSETTLED = {
    "authorised": ["authorised"],
    "undecided": ["captured"],
    "captured, not released": ["authorised", "captured", "confirmed"],
    "due, nothing under way": ["captured", "requested"],
    "a settled refund came back": ["captured", "requested", "settled", "failed"],
    "disputed": ["captured", "confirmed", "opened"],
    "confirmed and sent back": ["captured", "confirmed", "requested", "settled"],
}


def story(names: list[str]) -> Balance:
    [balance] = balances_of(FACTS[name](PAID, PRICE) for name in names)
    return balance


@pytest.mark.parametrize("names", SETTLED.values(), ids=SETTLED)
def test_settled(names: list[str]) -> None:
    assert story(names).is_settled


@pytest.mark.parametrize("names", UNSETTLED.values(), ids=UNSETTLED)
def test_not_settled(names: list[str]) -> None:
    assert not story(names).is_settled


def test_an_open_refund_settles_what_is_due_and_only_that() -> None:
    due = [ledger.captured(PAID, PRICE), ledger.refund_requested(PAID, REFUND, PRICE)]
    for sent, right in ((2400, True), (2399, False), (0, False)):
        [balance] = balances_of(due, {"EUR": sent})
        assert balance.is_settled is right
    other = balances_of(due, {"USD": 2400})
    assert [one.is_settled for one in other] == [False, False]


def test_ids_tell_facts_apart() -> None:
    made = Counter(FACTS[name](of, PRICE).id for name in FACTS for of in (PAID, EXTRA))
    # The refund is one and the same, whichever payment or account it is said to come from.
    refunds = {
        FACTS[name](PAID, PRICE).id for name in ("requested", "settled", "failed", "withdrawn")
    }
    assert {id_ for id_, count in made.items() if count > 1} == refunds
    assert ledger.captured(PAID, PRICE).id == UUID("db4efc61-0640-5831-9872-cc80c1ef4655")


def test_each_growth_of_a_capture_is_a_fact_of_its_own() -> None:
    half = Money(1200, "EUR")
    parts = [ledger.captured(PAID, half), ledger.captured(PAID, half, total=2400)]
    [balance] = balances_of(parts)
    assert balance.accounts[Account.PROVIDER] == 2400
    assert ledger.captured(PAID, PRICE) == ledger.captured(PAID, PRICE, total=2400)


@pytest.mark.parametrize("amount", [0, -1])
def test_a_posting_moves_something(amount: int) -> None:
    with pytest.raises(ValueError, match="more than nothing"):
        ledger.captured(PAID, Money(amount, "EUR"))


def test_a_posting_moves_it_elsewhere() -> None:
    with pytest.raises(ValueError, match="to itself"):
        ledger.refund_requested(PAID, REFUND, PRICE, source=Account.REFUNDS_DUE)
