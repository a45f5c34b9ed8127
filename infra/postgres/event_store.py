"""Events as they are written: of users and shows, that have no row to count them, here.

A booking's events are written by the statement that changes its row, see ``booking``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text

from domain.events import ChainedEvent, Event, chain
from infra.postgres.database import Session

LAST_EVENT = text("""
SELECT sequence, hash FROM events WHERE aggregate_id = :id ORDER BY sequence DESC LIMIT 1
""")

APPEND = text("""
INSERT INTO events (aggregate_id, sequence, event_type, schema_version, payload, actor, request_id,
                    version, previous_hash, hash)
VALUES (:id, :sequence, :event_type, :schema_version, CAST(:payload AS jsonb), :actor, :request_id,
        :sequence, :previous_hash, :hash)
""")

EXTENSION = text("""
SELECT sequence FROM events
WHERE aggregate_id = :id AND event_type = 'HoldExtended'
  AND payload ->> 'extension_id' = :extension_id
""")


def append(
    session: Session,
    aggregate_id: UUID,
    event: Event,
    *,
    actor: str,
    request_id: str | None,
    sequence: int = 0,
    previous_hash: bytes = b"",
) -> None:
    """Add the event that follows ``sequence``, with the caller's transaction.

    The await that runs it raises psycopg's ``UniqueViolation`` when another took that place first.
    """
    [chained] = chain(
        aggregate_id,
        [event],
        sequence=sequence,
        previous_hash=previous_hash,
        actor=actor,
        request_id=request_id,
    )
    session.later(
        APPEND,
        changes=1,
        id=aggregate_id,
        sequence=chained.sequence,
        event_type=str(event.type),
        schema_version=chained.schema_version,
        payload=orjson.dumps(dict(event.payload)).decode(),
        actor=actor,
        request_id=request_id,
        previous_hash=chained.previous_hash,
        hash=chained.hash,
    )


async def append_next(
    session: Session, aggregate_id: UUID, event: Event, *, actor: str, request_id: str | None
) -> None:
    """Add an event after the last one; the caller's transaction has locked the aggregate's row."""
    last = await session.one(LAST_EVENT, id=aggregate_id)
    sequence, previous = (last.sequence, bytes(last.hash)) if last is not None else (0, b"")
    append(
        session,
        aggregate_id,
        event,
        actor=actor,
        request_id=request_id,
        sequence=sequence,
        previous_hash=previous,
    )


def as_columns(chained: Sequence[ChainedEvent]) -> dict[str, Any]:
    """The events as arrays, and where their stream ends after them."""
    return {
        "sequence": chained[-1].sequence,
        "event_hash": chained[-1].hash,
        "sequences": [one.sequence for one in chained],
        "event_types": [str(one.event.type) for one in chained],
        "schema_versions": [one.schema_version for one in chained],
        "payloads": [orjson.dumps(dict(one.event.payload)).decode() for one in chained],
        "previous_hashes": [one.previous_hash for one in chained],
        "hashes": [one.hash for one in chained],
    }
