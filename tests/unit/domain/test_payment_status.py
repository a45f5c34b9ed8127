"""Payment statuses are a lattice: the same facts, in any order and number, end the same."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.payment import ProviderPaymentStatus
from domain.payment_status import PaymentStatus, rank, shown

S = PaymentStatus
# The policy's order, written out; the two ends of a page that took nothing lie inside it.
POLICY = (
    S.OPEN,
    S.PROCESSING,
    S.FAILED,
    S.AUTHORISED,
    S.CAPTURED,
    S.REFUND_PENDING,
    S.REFUNDED,
)
ENDS_WITHOUT_MONEY = {
    (S.PROCESSING, S.CANCELLED, S.AUTHORISED),
    (S.AUTHORISED, S.VOIDED, S.CAPTURED),
}

statuses = st.sampled_from(PaymentStatus)
histories = st.lists(statuses, min_size=1, max_size=8)


def later_of(one: PaymentStatus, other: PaymentStatus) -> PaymentStatus:
    """As the database joins two facts: the later raises the status, the earlier never lowers it."""
    return max(one, other, key=rank)


def end_of(facts: list[PaymentStatus]) -> PaymentStatus:
    return reduce(later_of, facts)


@pytest.mark.parametrize(("earlier", "later"), list(pairwise(POLICY)))
def test_the_order_is_the_policys(earlier: PaymentStatus, later: PaymentStatus) -> None:
    assert rank(earlier) < rank(later)
    assert later_of(earlier, later) is later


@pytest.mark.parametrize(("below", "end", "above"), sorted(ENDS_WITHOUT_MONEY))
def test_a_page_that_took_nothing_ends_below_money(
    below: PaymentStatus, end: PaymentStatus, above: PaymentStatus
) -> None:
    assert rank(below) < rank(end) < rank(above)


def test_every_status_has_a_rank_of_its_own() -> None:
    assert len({rank(status) for status in PaymentStatus}) == len(PaymentStatus)
    assert {*POLICY, S.CANCELLED, S.REFUSED, S.VOIDED} == set(PaymentStatus)


def test_clients_see_a_promise_that_was_let_go_as_a_page_that_ended() -> None:
    assert shown(S.REFUSED) == "failed"
    assert shown(S.VOIDED) == "cancelled"
    assert {shown(status) for status in PaymentStatus} == set(PaymentStatus) - {S.REFUSED, S.VOIDED}


@pytest.mark.parametrize("told", ProviderPaymentStatus)
def test_every_status_of_a_provider_is_in_the_order(told: ProviderPaymentStatus) -> None:
    assert PaymentStatus(told).value == told.value


@given(statuses, statuses)
def test_joining_is_commutative(one: PaymentStatus, other: PaymentStatus) -> None:
    assert later_of(one, other) is later_of(other, one)


@given(statuses, statuses, statuses)
def test_joining_is_associative(a: PaymentStatus, b: PaymentStatus, c: PaymentStatus) -> None:
    assert later_of(later_of(a, b), c) is later_of(a, later_of(b, c))


@given(statuses)
def test_joining_is_idempotent(status: PaymentStatus) -> None:
    assert later_of(status, status) is status


@given(histories, st.data())
def test_the_same_facts_in_any_order_and_number_end_the_same(
    facts: list[PaymentStatus], data: st.DataObject
) -> None:
    repeated = facts + data.draw(st.lists(st.sampled_from(facts)))
    assert end_of(data.draw(st.permutations(repeated))) is end_of(facts)


@given(histories, statuses)
def test_no_fact_ever_lowers_a_status(facts: list[PaymentStatus], late: PaymentStatus) -> None:
    assert rank(end_of([*facts, late])) >= rank(end_of(facts))
