"""The schedule of polls: 30 s after checkout, then 30 s, 2 and 5 minutes apart, for a week."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.polling import SCHEDULE, PollStep
from tests.helpers.polls import next_poll

AGES = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=30))


def polls_within(age: timedelta, *, uncertain: bool = False) -> list[timedelta]:
    """The ages at which a page is read, the first time after it was opened."""
    at, found = SCHEDULE.first, []
    while at <= age:
        found.append(at)
        wait = next_poll(at, uncertain=uncertain)
        if wait is None:
            break
        at += wait
    return found


def test_the_first_quarter_of_an_hour() -> None:
    minutes = [at / timedelta(minutes=1) for at in polls_within(timedelta(minutes=27))]
    assert minutes == [0.5, 1, 1.5, 2, 2.5, 3, 5, 7, 9, 11, 13, 15, 20, 25]


def test_a_hold_of_ten_minutes_costs_ten_polls_at_most() -> None:
    assert len(polls_within(timedelta(minutes=10))) <= 10


def test_a_page_that_nobody_could_close_is_read_every_hour_for_a_week() -> None:
    polls = polls_within(timedelta(days=30), uncertain=True)
    assert len(polls) == 7 * 24 + 1
    assert {b - a for a, b in itertools.pairwise(polls)} == {timedelta(hours=1)}


@given(AGES, AGES)
def test_it_only_gets_slower_and_ends(one: timedelta, other: timedelta) -> None:
    sooner, later = next_poll(min(one, other)), next_poll(max(one, other))
    assert later is None or (sooner is not None and sooner <= later)
    assert (next_poll(one) is None) == (one >= timedelta(days=7))


@pytest.mark.parametrize(
    "steps",
    [
        (),
        (PollStep(timedelta(hours=1), timedelta(minutes=1)),),
        (PollStep(timedelta(days=7), timedelta(0)),),
        (
            PollStep(timedelta(hours=1), timedelta(minutes=5)),
            PollStep(timedelta(days=7), timedelta(minutes=1)),
        ),
    ],
)
def test_a_schedule_that_stops_or_quickens_is_refused(steps: tuple[PollStep, ...]) -> None:
    with pytest.raises(ValueError, match="each step"):
        replace(SCHEDULE, steps=steps)
