"""Moments as whole microseconds since 1970, the one form the sandbox stores."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = 1_000_000
MILLISECOND = 1_000


def now_us() -> int:
    """The wall clock in microseconds."""
    return time.time_ns() // 1_000


def from_datetime(moment: datetime) -> int:
    """Microseconds of an aware ``moment``, without the rounding of a float."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def to_datetime(moment_us: int) -> datetime:
    """The aware UTC datetime of a stored moment."""
    return EPOCH + timedelta(microseconds=moment_us)


def to_text(moment_us: int) -> str:
    """RFC 3339 in UTC with ``Z``."""
    return to_datetime(moment_us).isoformat().replace("+00:00", "Z")
