"""Minor units as we count them and as Stripe does."""

from __future__ import annotations

import pytest

from domain.errors import Conflict, Unavailable
from domain.money import Money
from infra.gateways.stripe_answers import from_stripe, to_stripe


@pytest.mark.parametrize(
    ("ours", "stripes"),
    [
        (Money(2400, "EUR"), 2400),
        (Money(3000, "JPY"), 3000),
        (Money(5000, "KWD"), 5000),
        (Money(1500, "ISK"), 150_000),
        (Money(7000, "UGX"), 700_000),
        (Money(50_000, "MGA"), 500),
    ],
)
def test_money_is_counted_as_each_side_counts(ours: Money, stripes: int) -> None:
    assert to_stripe(ours) == stripes
    assert from_stripe(stripes, ours.currency.lower()) == ours


def test_a_fraction_that_one_side_cannot_count_is_refused() -> None:
    with pytest.raises(Conflict):
        to_stripe(Money(50_001, "MGA"))
    with pytest.raises(Unavailable):
        from_stripe(150_001, "isk")
