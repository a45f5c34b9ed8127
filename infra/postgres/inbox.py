"""The webhook inbox: a row is committed before the provider hears 2xx."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import text

from infra.postgres.database import Database

STORE = text("""
INSERT INTO webhook_inbox (provider, event_id, event_type, body, request_id, set_aside)
SELECT * FROM unnest(
    CAST(:provider AS text[]), CAST(:event_id AS text[]), CAST(:event_type AS text[]),
    CAST(:body AS bytea[]), CAST(:request_id AS text[]), CAST(:set_aside AS text[])
)
ON CONFLICT (provider, event_id) DO NOTHING
""")
MOST_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A verified event. With ``quarantine``, the reason, it becomes a case and is not acted on."""

    provider: str
    event_id: str
    event_type: str
    body: bytes
    request_id: str | None
    quarantine: str | None = None


@dataclass(slots=True, eq=False)
class _Batch:
    events: list[NewEvent] = field(default_factory=list)
    committed: asyncio.Task[None] | None = None


class InboxWriter:
    """Stores events for many at once: those that come during a commit share the next one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._filling: _Batch | None = None
        self._turn = asyncio.Lock()

    async def store(self, event: NewEvent) -> None:
        """Return when the event is committed, or was before; raise when it may not be."""
        batch = self._filling
        if batch is None:
            batch = self._filling = _Batch()
            batch.committed = asyncio.create_task(self._commit(batch))
        batch.events.append(event)
        if len(batch.events) == MOST_AT_ONCE:
            self._filling = None
        assert batch.committed is not None, "it was begun with its batch"
        # One who goes away must not take the others' events along.
        await asyncio.shield(batch.committed)

    async def _commit(self, batch: _Batch) -> None:
        async with self._turn:
            if self._filling is batch:
                self._filling = None
            await _store(self._database, batch.events)


async def _store(database: Database, events: Sequence[NewEvent]) -> None:
    # In one order everywhere: two who store the same events must not wait for one another.
    ordered = sorted(events, key=lambda event: (event.provider, event.event_id))
    async with database.statements() as session:
        await session.change(
            STORE,
            provider=[event.provider for event in ordered],
            event_id=[event.event_id for event in ordered],
            event_type=[event.event_type for event in ordered],
            body=[event.body for event in ordered],
            request_id=[event.request_id for event in ordered],
            set_aside=[event.quarantine for event in ordered],
        )
