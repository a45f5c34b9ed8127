"""What a refund gives back: by time, by seat, and never more than is left."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.booking import BookingState
from domain.errors import Conflict, Invalid
from domain.money import Money
from domain.refund import (
    BRACKETS,
    Bracket,
    Purse,
    RefundPart,
    SoldSeat,
    Standing,
    parse_brackets,
    parts_of,
    percent_now,
    quote,
    quote_sum,
    split,
    state_of,
)

SHOW = datetime(2026, 12, 4, 18, 30, tzinfo=UTC)
HOURS = st.floats(min_value=-48, max_value=96, allow_nan=False)
AMOUNTS = st.lists(st.integers(0, 10_000), min_size=1, max_size=6)
PURSES = st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 20_000)), max_size=4)


def standing(
    amounts: list[int],
    purses: list[tuple[int, int]],
    hours: float = 48,
    parts: tuple[RefundPart, ...] = (),
    released: tuple[str, ...] = (),
    currency: str = "EUR",
) -> Standing:
    seats = [(f"A{number}", amount) for number, amount in enumerate(amounts, 1)]
    return Standing(
        state=BookingState.CONFIRMED,
        currency=currency,
        starts_at=SHOW,
        now=SHOW - timedelta(hours=hours),
        seats=tuple(SoldSeat(label, amount, label in released) for label, amount in seats),
        purses=tuple(Purse(UUID(int=n), "sandbox", *money) for n, money in enumerate(purses)),
        parts=parts,
    )


def part(
    status: str, *seats: str, number: int = 1, accepted: bool = True, tries: int = 0
) -> RefundPart:
    reference = "ref" if accepted else None
    return RefundPart(
        UUID(int=9),
        UUID(int=0),
        number,
        1,
        status,
        seats,
        100,
        reference,
        "sandbox",
        "pay",
        "key",
        None,
        tries,
    )


@pytest.mark.parametrize(
    ("hours", "percent"), [(24.001, 100), (24, 100), (23.999, 50), (2, 50), (1.999, 0), (-1, 0)]
)
def test_the_share_falls_with_the_time_before_the_show(hours: float, percent: int) -> None:
    told, until = percent_now(SHOW, SHOW - timedelta(hours=hours))
    assert told == percent
    assert (until is None) == (percent == 0)
    if until is not None:
        assert percent_now(SHOW, until)[0] == percent
        assert percent_now(SHOW, until + timedelta(microseconds=1))[0] < percent


def test_brackets_are_read_as_people_write_them() -> None:
    assert parse_brackets("24h:100,2h:50") == BRACKETS
    assert parse_brackets(" 3d:100, 90m:50 ,0h:0 ") == (
        Bracket(timedelta(days=3), 100),
        Bracket(timedelta(minutes=90), 50),
        Bracket(timedelta(0), 0),
    )


def test_a_bracket_that_gives_nothing_back_has_no_end() -> None:
    brackets = parse_brackets("72h:100,24h:50,0h:0")
    hours = (72, 71, 24, 23, -1)
    told = [percent_now(SHOW, SHOW - timedelta(hours=at), brackets) for at in hours]
    assert [percent for percent, _ in told] == [100, 50, 50, 0, 0]
    assert [until for _, until in told[3:]] == [None, None]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "'' is no bracket"),
        ("24h", "'24h' is no bracket"),
        ("24:100", "'24:100' is no bracket"),
        ("24h:100,", "'' is no bracket"),
        ("-1h:100", "'-1h:100' is no bracket"),
        ("24h:101", "more than 100 percent"),
        ("24h:100,24h:50", "closer to the show"),
        ("2h:50,24h:100", "closer to the show"),
        ("24h:50,2h:100", "give back less"),
        ("24h:50,2h:50", "give back less"),
        (",".join(f"{99 - at}h:{99 - at}" for at in range(21)), "at most 20"),
    ],
)
def test_brackets_that_cannot_be_meant_are_refused_by_name(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_brackets(text)


@given(AMOUNTS, PURSES, HOURS, HOURS)
def test_waiting_never_gives_more(
    amounts: list[int], purses: list[tuple[int, int]], one: float, other: float
) -> None:
    sooner, later = (
        quote(standing(amounts, purses, hours), None).amount.amount
        for hours in (max(one, other), min(one, other))
    )
    assert later <= sooner


@given(AMOUNTS, PURSES, HOURS)
def test_never_more_than_is_left_nor_than_the_price(
    amounts: list[int], purses: list[tuple[int, int]], hours: float
) -> None:
    found = quote(standing(amounts, purses, hours), None).amount.amount
    left = sum(max(0, captured - promised) for captured, promised in purses)
    assert 0 <= found <= min(left, sum(amounts))
    taken = split(found, standing(amounts, purses).purses)
    assert sum(amount for _, amount in taken) == found
    assert all(0 < amount <= purse.left for purse, amount in taken)


@given(AMOUNTS, st.integers(0, 30_000), HOURS)
def test_seat_by_seat_gives_no_more_than_the_whole(
    amounts: list[int], captured: int, hours: float
) -> None:
    whole = quote(standing(amounts, [(captured, 0)], hours), None).amount.amount
    given_back = 0
    for number in range(1, len(amounts) + 1):
        now = standing(amounts, [(captured, given_back)], hours)
        given_back += quote(now, [f"A{number}"]).amount.amount
    assert given_back <= whole


def test_the_whole_goes_back_and_of_a_part_each_seat_is_rounded_down() -> None:
    assert quote(standing([1200, 3], [(1203, 0)]), None).amount == Money(1203, "EUR")
    assert quote(standing([3, 3], [(6, 0)], hours=3), None).amount == Money(2, "EUR")


@pytest.mark.parametrize(
    ("currency", "back"), [("KWD", 5000), ("EUR", 5010), ("JPY", 5010), ("CLF", 5010)]
)
def test_each_seat_is_rounded_down_to_what_a_card_can_be_paid(currency: str, back: int) -> None:
    told = quote(standing([5010, 5010], [(10_020, 0)], hours=3, currency=currency), None)
    assert told.amount == Money(back, currency)


def test_of_thousandths_staff_name_tens_or_all_that_is_left() -> None:
    here = standing([5010], [(5010, 2001)], currency="KWD")
    for amount in (2500, 3009):
        assert quote_sum(here, Money(amount, "KWD"), None).amount == Money(amount, "KWD")
    with pytest.raises(Invalid, match="Of KWD only tens"):
        quote_sum(here, Money(2505, "KWD"), None)


def test_a_seat_is_given_up_once_and_must_be_the_bookings() -> None:
    here = standing([100] * 3, [(300, 0)], parts=(part("pending", "A1"),), released=("A2",))
    assert quote(here, None).seats == ("A3",)
    for label in ("A1", "A2"):
        with pytest.raises(Conflict) as refused:
            quote(here, [label])
        assert (refused.value.code, refused.value.data) == ("seat_refunded", {"seats": [label]})
    for labels, code, named in (
        (["A3", "B1"], "unknown_seat", ["B1"]),
        (["A2", "A3", "A3"], "duplicate_seat", ["A3"]),
    ):
        with pytest.raises(Invalid) as invalid:
            quote(here, labels)
        assert (invalid.value.code, invalid.value.data) == (code, {"seats": named})


def test_a_sum_of_staff_is_bounded_by_what_is_left() -> None:
    here = standing([100, 100], [(200, 150)], hours=-5)
    assert quote_sum(here, Money(50, "EUR"), None).seats == ()
    assert quote_sum(here, Money(50, "EUR"), ["A2"]).seats == ("A2",)
    with pytest.raises(Conflict) as refused:
        quote_sum(here, Money(51, "EUR"), None)
    assert refused.value.code == "exceeds_captured"
    assert refused.value.data["left"] == {"amount": 50, "currency": "EUR"}
    with pytest.raises(Invalid):
        quote_sum(here, Money(50, "USD"), None)


def test_payments_are_emptied_in_their_order() -> None:
    purses = standing([1], [(100, 20), (50, 50), (200, 0)]).purses
    assert [(purse.id.int, amount) for purse, amount in split(130, purses)] == [(0, 80), (2, 50)]
    with pytest.raises(ValueError, match="1 more"):
        split(281, purses)


def test_each_payment_that_a_refund_is_taken_out_of_has_a_part_and_a_key_of_its_own() -> None:
    booking, request = UUID(int=7), UUID(int=8)
    before = (part("succeeded", number=2), part("failed", accepted=False))
    here = standing([100, 100], [(150, 0), (9, 9), (60, 0)], parts=before)
    told = quote(here, None)
    made = parts_of(booking, here, told, request)
    assert [(one.number, one.part, one.amount) for one in made] == [(3, 1, 150), (3, 2, 50)]
    assert [one.provider_payment_id.int for one in made] == [0, 2]
    assert [one.seats for one in made] == [("A1", "A2"), ()], "given up once"
    assert [one.key for one in made] == [f"refund:{booking}:3", f"refund:{booking}:3:2"]
    assert len({one.id for one in made}) == 2
    assert {(one.status, one.reference, one.request_key) for one in made} == {
        ("pending", None, request)
    }
    assert replace(here, parts=(*before, *made)).of(3) == tuple(made)
    assert parts_of(booking, here, told, request) == made, "a repeat finds the same"


def test_a_quote_is_told_to_the_millisecond() -> None:
    here = standing([100], [(100, 0)])
    told = quote(replace(here, starts_at=SHOW + timedelta(microseconds=999_999)), None).as_json()
    assert told == {
        "amount": {"amount": 100, "currency": "EUR"},
        "percent": 100,
        "seats": ["A1"],
        "expires_at": "2026-12-03T18:30:00.999Z",
    }
    assert quote_sum(here, Money(1, "EUR"), None).as_json()["expires_at"] is None


@pytest.mark.parametrize(
    ("parts", "released", "state"),
    [
        ((), (), BookingState.CONFIRMED),
        ((part("pending", "A1"),), (), BookingState.CONFIRMED),
        ((part("pending", "A1", "A2", accepted=False),), (), BookingState.REFUND_PENDING),
        ((part("pending", "A1", "A2"),), ("A1", "A2"), BookingState.REFUND_PENDING),
        ((part("succeeded", "A1", "A2"),), ("A1", "A2"), BookingState.REFUNDED),
        ((part("failed", "A1", "A2"),), ("A1", "A2"), BookingState.REFUND_PENDING),
        ((part("failed", "A1", "A2", accepted=False),), (), BookingState.CONFIRMED),
        # Its last try was refused, one before it was not: the seats are gone.
        (
            (part("failed", "A1", "A2", accepted=False, tries=1),),
            ("A1", "A2"),
            BookingState.REFUND_PENDING,
        ),
        (
            (part("failed", "A1", accepted=False), part("succeeded", "A1", "A2", number=2)),
            ("A1", "A2"),
            BookingState.REFUNDED,
        ),
        (
            (part("pending", "A1"), part("succeeded", "A2", number=2)),
            ("A1", "A2"),
            BookingState.REFUND_PENDING,
        ),
    ],
)
def test_the_state_follows_from_seats_and_money(
    parts: tuple[RefundPart, ...], released: tuple[str, ...], state: BookingState
) -> None:
    assert state_of(standing([100, 100], [(200, 0)], parts=parts, released=released)) is state
