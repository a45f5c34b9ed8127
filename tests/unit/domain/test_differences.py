"""What differs between a provider's payment and ours, and how far back a run looks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from domain.money import Money
from domain.payment import ProviderPayment, ProviderPaymentStatus, ProviderRefund
from domain.reconcile import Booked, BookedRefund, compare, since_when

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ID = UUID(int=1)
S = ProviderPaymentStatus
THEIRS = ProviderPayment("pay_1", "ses_1", str(ID), S.CAPTURED, Money(2400, "EUR"), 2400, 0)
OURS = Booked(ID, ID, ID, "pay_1", "captured", "EUR", 2400, 0, True, 0, 2400, 0)
GONE = {"status": S.REFUNDED, "refunded": 2400}


@pytest.mark.parametrize(
    ("watermark", "since"),
    [
        (None, NOW - timedelta(hours=72)),
        (NOW - timedelta(minutes=5), NOW - timedelta(minutes=20)),
        (NOW - timedelta(days=20), NOW - timedelta(days=20, minutes=15)),
        (NOW - timedelta(days=40), NOW - timedelta(days=30)),
    ],
)
def test_a_run_looks_back_to_the_last_one_and_a_little_more(
    watermark: datetime | None, since: datetime
) -> None:
    assert since_when(NOW, watermark) == since


@pytest.mark.parametrize(
    ("theirs", "ours", "told"),
    [
        ({}, {}, []),
        ({"captured": 2500}, {}, ["behind"]),
        ({"captured": 2300}, {}, ["captured"]),
        ({"amount": Money(2400, "USD")}, {}, ["currency"]),
        ({}, {"status": "authorised", "captured": 0, "posted_captured": 0}, ["behind"]),
        ({}, {"is_decided": False}, ["undecided"]),
        ({}, {"posted_captured": 2399}, ["ledger"]),
        ({}, {"posted_refunded": 1}, ["ledger"]),
        (GONE, {}, ["behind", "refunds"]),
        (GONE, {"settled": 2400, "posted_refunded": 2400}, []),
        (GONE, {"told_refunded": 2400, "status": "refunded"}, ["refunds"]),
        ({"refunded": 400}, {"settled": 400, "posted_refunded": 400}, []),
        ({"refunded": 400}, {"settled": 500, "posted_refunded": 500}, ["refunds"]),
        ({}, {"settled": 2400, "posted_refunded": 2400}, ["refunds"]),
        ({"status": S.FAILED, "captured": 0}, {"captured": 1, "posted_captured": 1}, ["captured"]),
    ],
)
def test_each_unit_is_compared(
    theirs: dict[str, Any], ours: dict[str, Any], told: list[str]
) -> None:
    assert list(compare(replace(THEIRS, **theirs), replace(OURS, **ours))) == told


@pytest.mark.parametrize("status", list(S))
def test_a_payment_that_we_do_not_have_matters_if_it_can_move_money(
    status: ProviderPaymentStatus,
) -> None:
    captured = 2400 if status in (S.CAPTURED, S.REFUNDED) else 0
    found = compare(replace(THEIRS, status=status, captured=captured), None)
    assert list(found) == ([] if status in (S.FAILED, S.VOIDED) else ["missing"])


def test_a_refund_is_known_by_its_id_or_by_the_key_of_any_of_its_tries() -> None:
    row = BookedRefund(ID, ID, ID, 1, "pending", 400, "EUR", None, ["ref_1"], "refund:b:1#2")
    first = ProviderRefund("ref_1", "failed", key="refund:b:1")
    now = ProviderRefund("ref_2", "pending", key="refund:b:1#2")
    other = ProviderRefund("ref_3", "pending", key="refund:b:11")
    nobodys = ProviderRefund("ref_4", "succeeded")
    assert [row.is_told_by(one) for one in (first, now, other, nobodys)] == [
        True,
        True,
        False,
        False,
    ]
    assert [row.is_now(one) for one in (first, now)] == [False, True]
    accepted = replace(row, reference="ref_2")
    assert [accepted.is_now(one) for one in (first, now)] == [False, True]
