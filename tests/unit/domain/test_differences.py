"""What differs between a provider's payment and ours, and how far back a run looks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from domain.money import Money
from domain.payment import (
    DisputeStatus,
    ProviderDispute,
    ProviderPayment,
    ProviderPaymentStatus,
    ProviderRefund,
)
from domain.reconcile import (
    Booked,
    BookedRefund,
    compare,
    is_under_way,
    listed,
    since_when,
    unasked,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ID = UUID(int=1)
S = ProviderPaymentStatus
THEIRS = ProviderPayment("pay_1", "ses_1", str(ID), S.CAPTURED, Money(2400, "EUR"), 2400, 0)
OURS = Booked(ID, ID, "pay_1", "captured", "EUR", 2400, 0, True, 0, 2400, 0)
GONE = {"status": S.REFUNDED, "refunded": 2400}
NO_MONEY = {"status": S.AUTHORISED, "captured": 0}
NONE_OF_OURS = {"status": "authorised", "captured": 0, "posted_captured": 0}
ONE_UNIT = {"captured": 1, "posted_captured": 1}


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
        ({"fee": 60}, {}, ["behind"]),
        ({"amount": Money(2400, "USD")}, {}, ["currency"]),
        ({}, NONE_OF_OURS, ["behind"]),
        ({}, {"is_decided": False}, ["undecided"]),
        (NO_MONEY, {**NONE_OF_OURS, "is_decided": False}, []),
        (NO_MONEY, {**NONE_OF_OURS, "status": "open"}, ["behind"]),
        ({"captured": 1}, {**ONE_UNIT, "is_decided": False}, ["undecided"]),
        ({}, {"posted_captured": 2399}, ["ledger"]),
        ({}, {"posted_refunded": 1}, ["ledger"]),
        (GONE, {}, ["behind", "refunds"]),
        (GONE, {"settled": 2400, "posted_refunded": 2400}, []),
        (GONE, {"told_refunded": 2400, "status": "refunded"}, ["refunds"]),
        ({"refunded": 400}, {}, ["behind", "refunds"]),
        ({"refunded": 400}, {"settled": 400, "posted_refunded": 400}, []),
        ({"refunded": 400}, {"settled": 500, "posted_refunded": 500}, ["refunds"]),
        ({}, {"settled": 2400, "posted_refunded": 2400}, ["refunds"]),
        ({}, {"unasked": 1, "told_refunded": 1}, ["refunds"]),
        ({"refunded": 400}, {"unasked": 400, "told_refunded": 400}, ["refunds"]),
        ({"status": S.FAILED, "captured": 0}, {"captured": 1, "posted_captured": 1}, ["captured"]),
    ],
)
def test_each_unit_is_compared(
    theirs: dict[str, Any], ours: dict[str, Any], told: list[str]
) -> None:
    assert list(compare(replace(THEIRS, **theirs), replace(OURS, **ours))) == told


@pytest.mark.parametrize(
    ("told", "known", "is_behind"),
    [
        ("inquiry", None, True),
        ("won", None, True),
        ("inquiry", "inquiry", False),
        ("open", "inquiry", True),
        ("lost", "inquiry", True),
        ("open", "open", False),
        # An older answer.
        ("inquiry", "open", False),
        ("won", "open", True),
        ("lost", "open", True),
        ("lost", "lost", False),
        ("open", "lost", False),
        # By an appeal: for a person.
        ("won", "lost", False),
    ],
)
def test_a_dispute_that_is_further_there_is_news(
    told: str, known: str | None, is_behind: bool
) -> None:
    dispute = ProviderDispute("dsp_1", DisputeStatus(told), Money(2400, "EUR"))
    on_record = [("dsp_0", "won")] + ([("dsp_1", known)] if known else [])
    found = compare(replace(THEIRS, disputes=(dispute,)), replace(OURS, disputes=on_record))
    assert list(found) == (["behind"] if is_behind else [])


@pytest.mark.parametrize("status", list(S))
def test_a_payment_that_we_do_not_have_matters_if_it_can_move_money(
    status: ProviderPaymentStatus,
) -> None:
    captured = 2400 if status in (S.CAPTURED, S.REFUNDED) else 0
    found = compare(replace(THEIRS, status=status, captured=captured), None)
    assert list(found) == ([] if status in (S.FAILED, S.VOIDED) else ["missing"])
    assert list(compare(replace(THEIRS, status=status), None)) == ["missing"], "it has our money"


def test_a_refund_is_known_by_the_key_of_any_of_its_tries() -> None:
    row = BookedRefund(ID, ID, ID, 1, "pending", 400, "EUR", None, [], "refund:b:1#2")
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


def test_a_refund_that_is_listed_without_its_key_is_known_by_its_id() -> None:
    row = BookedRefund(ID, ID, ID, 1, "pending", 400, "EUR", "ref_2", ["ref_1"], "refund:b:1#2")
    told = [ProviderRefund(id_, "pending") for id_ in ("ref_1", "ref_2", "ref_3")]
    assert [row.is_told_by(one) for one in told] == [True, True, False]
    assert [row.is_now(one) for one in told] == [False, True, False]
    assert not row.is_now(ProviderRefund("ref_3", "pending", key="refund:b:1#2"))


ROW = BookedRefund(ID, ID, ID, 1, "succeeded", 400, "EUR", "ref_1", [], "refund:b:1")
OURS_SENT = ProviderRefund("ref_1", "succeeded", Money(400, "EUR"), "refund:b:1")
BY_HAND = ProviderRefund("ref_9", "succeeded", Money(400, "EUR"))
OWED = replace(ROW, status="failed")
CAME_BACK = replace(OURS_SENT, status="failed")
WITHDRAWN = replace(OWED, reference=None, stands=False)


@pytest.mark.parametrize(
    ("known", "row", "told", "is_now"),
    [
        (0, ROW, [OURS_SENT], 0),
        (0, ROW, [BY_HAND], 400),
        (0, ROW, [OURS_SENT, BY_HAND], 400),
        (0, ROW, [OURS_SENT, replace(BY_HAND, status="pending")], 400),
        (400, ROW, [OURS_SENT, replace(BY_HAND, status="failed")], 0),
        (400, replace(ROW, status="pending", reference=None), [BY_HAND], 400),
        # By hand for the one that came back, or before it did: as it was known.
        (0, OWED, [CAME_BACK, BY_HAND], 0),
        (400, OWED, [CAME_BACK, BY_HAND], 400),
        (400, OWED, [CAME_BACK, replace(BY_HAND, status="failed")], 0),
        (0, OWED, [CAME_BACK, replace(BY_HAND, amount=Money(500, "EUR"))], 100),
        # Sent under our key after all, where we had taken it back, or twice.
        (0, WITHDRAWN, [OURS_SENT], 400),
        (0, ROW, [OURS_SENT, replace(OURS_SENT, reference="ref_2")], 400),
        (0, OWED, [OURS_SENT], 0),
        (0, OWED, [OURS_SENT, BY_HAND], 400),
        # Nothing is owed for what was taken back: it is something else.
        (0, WITHDRAWN, [BY_HAND], 400),
    ],
)
def test_what_went_back_unasked_is_what_the_list_says(
    known: int, row: BookedRefund, told: list[ProviderRefund], is_now: int
) -> None:
    assert unasked(known, [row], told) == is_now
    assert unasked(is_now, [row], told) == is_now, "the same list says the same again"


def test_each_of_several_refunds_is_asked_for_by_its_own_row() -> None:
    rows = [ROW, replace(ROW, reference="ref_2", idempotency_key="refund:b:2")]
    second = ProviderRefund("ref_2", "succeeded", Money(400, "EUR"), "refund:b:2")
    assert unasked(0, rows, [OURS_SENT, second]) == 0
    assert unasked(0, rows, [OURS_SENT, second, BY_HAND]) == 400


def test_what_failed_or_names_no_sum_did_not_go_back() -> None:
    failed, untold = replace(BY_HAND, status="failed"), replace(BY_HAND, amount=None)
    assert listed([OURS_SENT, BY_HAND, failed, untold]) == 800


@pytest.mark.parametrize(
    ("refunded", "row", "told", "it_is"),
    [
        (400, {}, [{}], True),
        (400, {"reference": None}, [{}], True),
        # Beside what has arrived.
        (800, {}, [{}, {"reference": "ref_9", "status": "succeeded"}], True),
        # It counts more than it lists, or nothing is on its way.
        (401, {}, [{}], False),
        (0, {}, [{}], False),
        (400, {"status": "succeeded"}, [{"status": "succeeded"}], False),
        (0, {}, [], False),
        # Ours has failed, or it is somebody else's.
        (400, {"status": "failed"}, [{}], False),
        (800, {}, [{}, {"reference": "ref_9", "key": None}], False),
    ],
)
def test_a_sum_may_count_what_is_under_way(
    refunded: int, row: dict[str, Any], told: list[dict[str, Any]], it_is: bool
) -> None:
    ours = replace(ROW, **{"status": "pending", **row})
    theirs = [replace(OURS_SENT, **{"status": "pending", **one}) for one in told]
    assert is_under_way(refunded, [ours], theirs) is it_is
