"""A booking as its events tell it: seats, revenue, and what went back of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from domain.events import EventType as E
from domain.history import Fact, History, histories, history_of

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
END, LATER = AT + timedelta(minutes=10), AT + timedelta(minutes=20)
BOOKING, SHOW, PAYMENT = UUID(int=1), UUID(int=2), str(UUID(int=3))
Told = tuple[E, dict[str, Any]]

MADE: Told = (
    E.RESERVATION_CREATED,
    {"show_id": str(SHOW), "currency": "EUR", "hold_expires_at": END.isoformat()},
)
LONGER = {"hold_expires_at": LATER.isoformat()}
CONFIRMED: Told = (E.BOOKING_CONFIRMED, {"provider_payment_id": PAYMENT})


def seats(*labels: str, fence: int = 1) -> dict[str, Any]:
    return {"seats": [{"label": label, "fence": fence, "amount": 1200} for label in labels]}


LOCKED: Told = (E.SEAT_LOCKED, seats("A1", "A2"))


def facts(*told: Told, of: UUID = BOOKING) -> list[Fact]:
    return [Fact(n, n, of, n, type_, payload, AT) for n, (type_, payload) in enumerate(told, 1)]


def history(*told: Told) -> History:
    found = history_of(facts(MADE, LOCKED, *told))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("told", "ends"),
    [
        ([], END),
        ([(E.HOLD_EXTENDED, LONGER)], LATER),
        # The buyer may be paying: only its workflow ends it.
        ([(E.PAYMENT_STARTED, LONGER)], None),
        ([CONFIRMED], None),
    ],
)
def test_the_clock_ends_a_hold_that_has_no_pay_page(
    told: list[Told], ends: datetime | None
) -> None:
    assert history(*told).ends_by_clock_at == ends


def test_seats_given_back_unsold_are_free_and_sold_ones_returned() -> None:
    lapsed = history((E.SEAT_RELEASED, {"labels": ["A1", "A2"]}))
    assert (lapsed.count("free"), lapsed.count("returned"), lapsed.revenue) == (2, 0, 0)
    refunded = history(CONFIRMED, (E.SEAT_RELEASED, {"labels": ["A2", "Z9"]}))
    assert (refunded.count("sold"), refunded.count("returned"), refunded.revenue) == (1, 1, 2400)


def test_late_money_for_other_seats_wants_no_more_seats() -> None:
    late = history(
        (E.SEAT_RELEASED, {"labels": ["A1", "A2"]}),
        (E.SEATS_OFFERED, seats("B1", "B2", "B3", fence=2)),
        CONFIRMED,
    )
    assert (late.wanted, late.count("free"), late.count("sold")) == (2, 2, 3)


def test_only_what_went_back_of_the_revenue_counts() -> None:
    sent = {"refund_id": "r1", "number": 1, "amount": 1200}
    unwanted = {"refund_id": "r2", "amount": 2400}
    told = [(E.REFUND_SETTLED, sent), (E.REFUND_SETTLED, unwanted)]
    assert history(CONFIRMED, *told).refunded == 1200
    assert history(CONFIRMED, *told, (E.REFUND_FAILED, sent)).refunded == 0


@pytest.mark.parametrize(
    ("outcome", "payment", "lost"),
    [("lost", PAYMENT, 2400), ("won", PAYMENT, 0), ("lost", str(UUID(int=4)), 0)],
)
def test_a_lost_dispute_of_what_paid_for_it_is_charged_back(
    outcome: str, payment: str, lost: int
) -> None:
    told = {"outcome": outcome, "provider_payment_id": payment, "dispute_id": "d", "amount": 2400}
    assert history(CONFIRMED, (E.DISPUTE_CLOSED, told)).charged_back == lost


def test_what_is_no_booking_or_has_no_beginning_yet_is_left_out() -> None:
    other = facts((E.SHOW_CANCELLED, {}), of=SHOW)
    unbegun = facts(LOCKED, CONFIRMED, of=UUID(int=5))
    assert list(histories([*facts(MADE, LOCKED), *other, *unbegun])) == [BOOKING]
