"""How long we keep telling a partner who does not listen, and what is told."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events import EventType
from domain.partner import (
    GIVE_UP_SECONDS,
    JITTER,
    MAX_RETRY_AFTER_SECONDS,
    PAUSES_SECONDS,
    TOLD,
    DeliveryState,
    DisabledReason,
    Fact,
    PartnerEventType,
    body_of,
    pause_seconds,
    told_of,
    webhook_id,
)
from services.partner_delivery import Taken, Tried, after

AT = datetime(2026, 11, 24, 9, 15, tzinfo=UTC)


def taken(**changes: object) -> Taken:
    brief: dict[str, object] = {
        "id": uuid4(),
        "endpoint_id": uuid4(),
        "number": 1,
        "attempts": 1,
        "age_seconds": 0.0,
        "failing_seconds": None,
        "url": "https://partner.example/",
        "secrets": (b"",),
        "webhook_id": webhook_id(1),
        "body": "{}",
    }
    return Taken(**{**brief, **changes})  # type: ignore[arg-type]


@given(chance=st.floats(0, 1, exclude_max=True))
def test_tries_end_after_three_days_and_the_last_is_made_when_they_are_over(chance: float) -> None:
    age, attempts = 0.0, 1
    pauses: list[float] = []
    while (pause := pause_seconds(attempts, age, chance=chance)) is not None:
        pauses.append(pause)
        age, attempts = age + pause, attempts + 1
    assert age == pytest.approx(GIVE_UP_SECONDS)
    assert 12 <= attempts <= 25
    assert pauses[0] <= 6
    assert all(
        step * (1 - JITTER) <= pause <= step * (1 + JITTER)
        for step, pause in zip(PAUSES_SECONDS, pauses, strict=False)
    )


def test_jitter_spreads_what_failed_together() -> None:
    pauses = {pause_seconds(6, 0, chance=part / 10) for part in range(10)}
    assert len(pauses) == 10


def test_a_receiver_may_ask_for_a_longer_pause_within_reason() -> None:
    assert pause_seconds(1, 0, chance=0.5, retry_after=900) == 900
    assert pause_seconds(1, 0, chance=0.5, retry_after=0) == 5
    assert pause_seconds(1, 0, chance=0.5, retry_after=1e9) == MAX_RETRY_AFTER_SECONDS


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 404, 429, 500, 503])
def test_what_is_no_success_is_tried_again(status: int) -> None:
    outcome = after(taken(), Tried(status), chance=0.5)
    assert outcome.state is DeliveryState.PENDING
    assert outcome.reason == f"answered {status}"
    assert outcome.disable is None


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_a_success(status: int) -> None:
    assert after(taken(), Tried(status), chance=0.5).state is DeliveryState.DELIVERED


def test_410_disables_at_once() -> None:
    outcome = after(taken(), Tried(410), chance=0.5)
    assert (outcome.state, outcome.disable) == (DeliveryState.FAILED, DisabledReason.GONE)


def test_an_endpoint_that_took_nothing_for_three_days_is_disabled() -> None:
    failing = taken(failing_seconds=GIVE_UP_SECONDS)
    assert after(failing, Tried(500), chance=0.5).disable is DisabledReason.FAILING
    almost = taken(failing_seconds=GIVE_UP_SECONDS - 1)
    assert after(almost, Tried(500), chance=0.5).disable is None


def test_one_poisoned_event_fails_alone() -> None:
    old = taken(age_seconds=GIVE_UP_SECONDS)
    outcome = after(old, Tried(None, "no answer"), chance=0.5)
    assert (outcome.state, outcome.disable) == (DeliveryState.FAILED, None)


@pytest.mark.parametrize("event_type", TOLD)
def test_what_is_told_is_ids(event_type: EventType) -> None:
    of_a_booking = {"booking_id": "a", "show_id": "s"}
    expected = {
        EventType.SHOW_CANCELLED: {"show_id": "a"},
        EventType.REFUND_SETTLED: {**of_a_booking, "refund_id": "r"},
    }
    told = told_of(Fact(event_type, "a", "s", "r"))
    assert told == expected.get(event_type, of_a_booking)


def test_an_id_that_is_not_known_is_not_told() -> None:
    assert told_of(Fact(EventType.REFUND_SETTLED, "a", None, None)) == {"booking_id": "a"}


def test_every_type_that_may_be_chosen_can_happen() -> None:
    assert set(TOLD.values()) == set(PartnerEventType)


def test_a_body_is_as_standard_webhooks_has_it() -> None:
    body = body_of("booking.confirmed", AT, {"booking_id": "b"})
    assert body == (
        '{"type":"booking.confirmed","timestamp":"2026-11-24T09:15:00.000Z",'
        '"data":{"booking_id":"b"}}'
    )


@given(st.lists(st.integers(0, 10**15), min_size=2, max_size=2))
def test_ids_sort_as_the_events_do(numbers: list[int]) -> None:
    assert (numbers[0] < numbers[1]) == (webhook_id(numbers[0]) < webhook_id(numbers[1]))
