"""A connection for looking at what is on record: through it nothing can be changed."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

Connection = psycopg.Connection[Any]

# Times are shown in UTC.
OPTIONS = "-c default_transaction_read_only=on -c timezone=UTC"


def connect(url: str) -> Connection:
    return psycopg.connect(
        url, autocommit=True, options=OPTIONS, connect_timeout=5, row_factory=namedtuple_row
    )
