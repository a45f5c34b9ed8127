"""Every timeout and retry policy of every step, by name; no default of the SDK is inherited."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio.common import RetryPolicy

from contracts.booking import PAYMENT_QUEUE
from domain.limits import CASE_SECONDS, REFUND_RETRIES

# A step on our own database: milliseconds; three quick tries bridge a lost connection. Longer
# would keep the workflow task open past its heartbeat.
LOCAL_STEP: dict[str, Any] = {
    "start_to_close_timeout": timedelta(seconds=2),
    "schedule_to_close_timeout": timedelta(seconds=5),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(milliseconds=50),
        backoff_coefficient=4.0,
        maximum_attempts=3,
    ),
}

UNTIL_DONE = RetryPolicy(
    initial_interval=timedelta(milliseconds=500),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=15),
    maximum_attempts=0,
)

# The same step when it must not be given up: it waits out a database that is away.
DURABLE_STEP: dict[str, Any] = {
    "task_queue": PAYMENT_QUEUE,
    "start_to_close_timeout": timedelta(seconds=10),
    "retry_policy": UNTIL_DONE,
}

# One question to the provider; not knowing is an answer, so the workflow asks again itself.
ASK_PROVIDER: dict[str, Any] = {
    "task_queue": PAYMENT_QUEUE,
    "start_to_close_timeout": timedelta(seconds=15),
    "retry_policy": UNTIL_DONE,
}

# The seats are final: the money is asked for until the provider says yes or no.
CAPTURE: dict[str, Any] = {
    "task_queue": PAYMENT_QUEUE,
    "start_to_close_timeout": timedelta(seconds=20),
    "retry_policy": UNTIL_DONE,
}

# Money goes back whatever happens: an hour between tries at most, and never given up.
REFUND: dict[str, Any] = {
    "task_queue": PAYMENT_QUEUE,
    "start_to_close_timeout": timedelta(seconds=20),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(seconds=1),
        backoff_coefficient=2.0,
        maximum_interval=timedelta(hours=1),
        maximum_attempts=0,
    ),
}

# P8: a refund that failed at the provider is sent again so long after each failure. All of it is
# over, and a person has the case, within a day.
REFUND_RETRY_WAITS: tuple[timedelta, ...] = (
    timedelta(minutes=10),
    timedelta(minutes=50),
    timedelta(hours=3),
    timedelta(hours=6),
    timedelta(hours=12),
)
assert len(REFUND_RETRY_WAITS) == REFUND_RETRIES
assert sum(REFUND_RETRY_WAITS, timedelta()) < timedelta(seconds=CASE_SECONDS)

# One provider's books against ours: pages of a list, hours of them after a long absence. The
# activity tells of each page, so a dead worker is noticed, and the next one goes on from there.
RECONCILE: dict[str, Any] = {
    "task_queue": PAYMENT_QUEUE,
    "start_to_close_timeout": timedelta(hours=1),
    "heartbeat_timeout": timedelta(seconds=60),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(seconds=5),
        backoff_coefficient=2.0,
        maximum_interval=timedelta(minutes=1),
        maximum_attempts=5,
    ),
}

# Some bookings of a cancelled show: a transaction and a call to Temporal for each.
SHOW_STEP: dict[str, Any] = {
    "task_queue": PAYMENT_QUEUE,
    "start_to_close_timeout": timedelta(seconds=60),
    "retry_policy": UNTIL_DONE,
}
