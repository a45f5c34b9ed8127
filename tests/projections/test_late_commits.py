"""Ids are given out before a commit: who comes late must not be overlooked."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb
from sqlalchemy import TextClause, text

from infra.postgres.database import Database
from readmodel.projections import facts
from readmodel.projections.projector import Projector
from tests.helpers.horizon import horizon_passed

MADE = {
    "show_id": str(uuid4()),
    "currency": "EUR",
    "hold_expires_at": "2026-12-04T19:30:00+00:00",
}
APPEND = """
INSERT INTO events (aggregate_id, sequence, event_type, payload, actor, version, previous_hash,
                    hash)
VALUES (%s, 1, 'ReservationCreated', %s, 'test', 1, '', '') RETURNING id, xid::text::bigint
"""
# What one writes first: right as long as nobody commits late.
NAIVE = text("""
SELECT CAST(xid::text AS bigint) AS xid, id, aggregate_id, sequence, event_type, schema_version,
       payload, created_at
FROM events WHERE id > :id AND CAST(:xid AS bigint) >= 0 ORDER BY id LIMIT :limit
""")


class Writer:
    """A transaction that has its number, and writes and commits when it is told."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url)
        self.connection.execute("SELECT pg_current_xact_id()")
        self.booking_id = uuid4()

    def write(self) -> tuple[int, int]:
        row = self.connection.execute(APPEND, (self.booking_id, Jsonb(MADE))).fetchone()
        assert row is not None
        return row

    def commit(self) -> None:
        self.connection.commit()
        self.connection.close()


async def projected(database: Database) -> set[UUID]:
    async with database.statements() as session:
        found = await session.all(text("SELECT booking_id FROM projected_timeline"))
    return {row.booking_id for row in found}


async def turns(database: Database) -> None:
    projector = Projector(database)
    while await projector.turn():
        pass


async def scene(url: str, database: Database, *, numbers_cross: bool) -> tuple[set[UUID], set[Any]]:
    """One writes first and commits last; what was written, and what a projector made of it."""
    first, second = Writer(url), Writer(url)
    late, early = (second, first) if numbers_cross else (first, second)
    (late_id, late_xid), (early_id, early_xid) = late.write(), early.write()
    assert late_id < early_id
    assert (late_xid > early_xid) is numbers_cross
    early.commit()
    await turns(database)
    late.commit()
    await horizon_passed(database)
    await turns(database)
    return {late.booking_id, early.booking_id}, await projected(database)


@pytest.mark.parametrize("numbers_cross", [False, True])
async def test_an_event_that_commits_after_a_higher_id_is_not_lost(
    url: str, own_database: Database, numbers_cross: bool
) -> None:
    written, told = await scene(url, own_database, numbers_cross=numbers_cross)
    assert told == written


@pytest.mark.parametrize("numbers_cross", [False, True])
async def test_a_reader_by_id_alone_loses_it(
    url: str, own_database: Database, numbers_cross: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    naive: TextClause = NAIVE
    monkeypatch.setattr(facts, "AFTER", naive)
    written, told = await scene(url, own_database, numbers_cross=numbers_cross)
    assert len(written - told) == 1
