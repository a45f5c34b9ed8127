"""Ids that a repeated step finds again: the same for the same, another for anything else."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ids import booking_id, payment_id, posting_id, provider_payment_id, refund_id, ticket_id

USER, OTHER = UUID(int=1), UUID(int=2)

Made = Callable[[], UUID]
MAKERS: list[tuple[Made, list[Made]]] = [
    (
        lambda: booking_id(USER, "POST /api/bookings", "key", b"body"),
        [
            lambda: booking_id(OTHER, "POST /api/bookings", "key", b"body"),
            lambda: booking_id(USER, "POST /api/other", "key", b"body"),
            lambda: booking_id(USER, "POST /api/bookings", "key2", b"body"),
            lambda: booking_id(USER, "POST /api/bookings", "key", b"another"),
        ],
    ),
    (lambda: payment_id(USER, 1), [lambda: payment_id(USER, 2), lambda: payment_id(OTHER, 1)]),
    (
        lambda: provider_payment_id("sandbox", "p1"),
        [lambda: provider_payment_id("stripe", "p1"), lambda: provider_payment_id("sandbox", "p2")],
    ),
    (
        lambda: refund_id(USER, "late"),
        [lambda: refund_id(USER, "duplicate"), lambda: refund_id(OTHER, "late")],
    ),
    (
        lambda: ticket_id(USER, "A1"),
        [lambda: ticket_id(USER, "A2"), lambda: ticket_id(OTHER, "A1")],
    ),
    (
        lambda: posting_id(USER, "fee"),
        [
            lambda: posting_id(USER, "fee", "2"),
            lambda: posting_id(USER, "captured"),
            lambda: posting_id(OTHER, "fee"),
        ],
    ),
]
NAMES = ["booking", "payment", "provider payment", "refund", "ticket", "posting"]


@pytest.mark.parametrize(("made", "others"), MAKERS, ids=NAMES)
def test_the_same_thing_has_the_same_id_and_every_other_another(
    made: Made, others: list[Made]
) -> None:
    assert made() == made()
    assert len({made(), *(other() for other in others)}) == len(others) + 1


def test_ids_of_different_kinds_never_meet() -> None:
    found = [payment_id(USER, 1), refund_id(USER, "1"), ticket_id(USER, "1"), posting_id(USER, "1")]
    assert len(set(found)) == len(found)


def test_ids_are_what_they_were_when_the_first_rows_were_written() -> None:
    """Committed: a change of them would let a repeated step do its work again."""
    assert str(payment_id(USER, 1)) == "6fe63bf4-e930-55c5-b9e9-1e8dfaa41130"
    assert str(booking_id(USER, "r", "k", b"b")) == "602a5db2-34ca-5cdd-a446-e14c95ed0485"


@given(st.text(min_size=1), st.text(min_size=1), st.integers(1, 1000))
def test_any_text_is_named(key: str, reference: str, attempt: int) -> None:
    made = [
        booking_id(USER, "r", key, key.encode()),
        payment_id(USER, attempt),
        provider_payment_id("sandbox", reference),
    ]
    assert all(one.version == 5 for one in made)
