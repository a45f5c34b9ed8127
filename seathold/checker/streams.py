"""Event streams, one at a time beside the row they made; any number in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg.rows import dict_row, tuple_row

from seathold.checker.world import BATCH, Row

BOOKINGS = "SELECT * FROM bookings ORDER BY id"
EVENTS = """
SELECT aggregate_id, sequence, event_type, schema_version, payload, actor, request_id, version,
       previous_hash, hash, created_at
FROM events ORDER BY aggregate_id, sequence, id
"""


class Fact(NamedTuple):
    """One row of ``events``, a tuple because there are many: half a million fold in seconds."""

    aggregate_id: UUID
    sequence: int
    event_type: str
    schema_version: int
    payload: dict[str, Any]
    actor: str
    request_id: str | None
    version: int
    previous_hash: bytes
    hash: bytes
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Stream:
    """All that happened to one aggregate, and its booking's row when there is one."""

    id: UUID
    facts: list[Fact]
    row: Row | None


def streams(connection: psycopg.Connection[Row]) -> Iterator[Stream]:
    """Every aggregate that has events or a booking row, by id: both are read in that order."""
    with (
        connection.transaction(force_rollback=True),
        connection.cursor("check_bookings", row_factory=dict_row) as bookings,
        connection.cursor("check_events", row_factory=tuple_row) as events,
    ):
        # All of both is wanted: sorting it takes half as long as following an index through it.
        connection.execute("SET LOCAL enable_indexscan = off")
        bookings.itersize = events.itersize = BATCH
        rows = iter(bookings.execute(BOOKINGS))
        told = map(Fact._make, events.execute(EVENTS, binary=True))
        row = next(rows, None)
        for id_, facts in groupby(told, key=attrgetter("aggregate_id")):
            while row is not None and row["id"] < id_:
                yield Stream(row["id"], [], row)
                row = next(rows, None)
            if row is not None and row["id"] == id_:
                yield Stream(id_, list(facts), row)
                row = next(rows, None)
            else:
                yield Stream(id_, list(facts), None)
        while row is not None:
            yield Stream(row["id"], [], row)
            row = next(rows, None)
