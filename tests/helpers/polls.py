"""The schedule of polls read as words say it; the database's statement is held against this."""

from __future__ import annotations

from datetime import timedelta

from domain.polling import SCHEDULE


def next_poll(age: timedelta, *, uncertain: bool = False) -> timedelta | None:
    """How long after this poll the next one comes; None when it was the last.

    ``age`` is the time since checkout. ``uncertain``: the booking has ended and nobody could
    close its page (policy P0).
    """
    for step in SCHEDULE.steps:
        if age < step.until:
            return max(step.every, SCHEDULE.uncertain) if uncertain else step.every
    return None
