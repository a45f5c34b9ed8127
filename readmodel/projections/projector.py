"""Bring projections up to the newest events: a batch a turn, each at its own checkpoint."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text

from infra.postgres.database import Database, Session
from readmodel.projections.availability import Availability
from readmodel.projections.base import Projection
from readmodel.projections.demand import Demand
from readmodel.projections.facts import Batch, Place, read_batch
from readmodel.projections.listing import Listing
from readmodel.projections.sales import Sales
from readmodel.projections.timeline import Timeline

PROJECTIONS: tuple[Projection, ...] = (Listing(), Availability(), Timeline(), Sales(), Demand())
BATCH = 500

# Whoever has it works, and its death gives it up.
TURN_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended('projector', 2)) AS mine")
# A rebuild may stand there already, or what one that died has left.
ENSURE = text("""
INSERT INTO projections (name, generation, state)
SELECT wanted.name, coalesce(max(generation), 0) + 1, 'live'
FROM unnest(CAST(:names AS text[])) AS wanted (name) LEFT JOIN projections USING (name)
GROUP BY wanted.name HAVING count(*) FILTER (WHERE state = 'live') = 0
ON CONFLICT DO NOTHING
""")
LIVE = text("""
SELECT name, generation, CAST(xid::text AS bigint) AS xid, event_id
FROM projections WHERE state = 'live' ORDER BY xid, event_id, name
""")
# A commit that a crash takes along takes the rows along too: they are made again. So nobody waits
# for the disk.
UNHURRIED = text("SELECT set_config('synchronous_commit', 'off', true)")
# Only from the place that the batch was read after: what was done before is not done again.
ADVANCE = text("""
UPDATE projections
SET xid = CAST(CAST(CAST(:xid AS bigint) AS text) AS xid8), event_id = :id,
    updated_at = clock_timestamp()
WHERE name = :name AND generation = :generation AND state <> 'old'
  AND xid = CAST(CAST(CAST(:from_xid AS bigint) AS text) AS xid8) AND event_id = :from_id
""")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far one generation of a projection is."""

    name: str
    generation: int
    place: Place


class Projector:
    """Of any number of these, one works at a time; the others find nothing to do."""

    def __init__(
        self,
        database: Database,
        projections: Sequence[Projection] = PROJECTIONS,
        *,
        batch: int = BATCH,
    ) -> None:
        self._database = database
        self._projections: Mapping[str, Projection] = {one.name: one for one in projections}
        self._batch = batch
        self._is_ensured = False

    async def turn(self) -> int:
        """Bring each live projection one batch further.

        One that fails does not hold up the others; its error is raised when they are done.

        Returns:
            How many events the furthest behind of them took; 0 when another projector works.
        """
        if not self._is_ensured:
            async with self._database.statements() as session:
                await session.change(ENSURE, names=list(self._projections))
            self._is_ensured = True
        done = 0
        failures: list[BaseException] = []
        async with self._database.transaction() as watch:
            lock = await watch.one(TURN_LOCK)
            if lock is None or not lock.mine:
                return 0
            for place, checkpoints in (await self._live(watch)).items():
                batch = await read_batch(watch, place, self._batch)
                if batch is None:
                    continue
                done = max(done, len(batch.facts))
                for checkpoint in checkpoints:
                    [result] = await asyncio.gather(
                        self.advance(checkpoint, batch), return_exceptions=True
                    )
                    if isinstance(result, BaseException):
                        failures.append(result)
        if failures:
            raise failures[0]
        return done

    async def advance(self, checkpoint: Checkpoint, batch: Batch) -> bool:
        """Apply a batch that was read after ``checkpoint``; False when it is already in."""
        projection = self._projections[checkpoint.name]
        async with self._database.transaction() as session:
            session.later(UNHURRIED)
            moved = await session.change(
                ADVANCE,
                name=checkpoint.name,
                generation=checkpoint.generation,
                **batch.end._asdict(),
                from_xid=checkpoint.place.xid,
                from_id=checkpoint.place.id,
            )
            if moved:
                projection.apply(session, checkpoint.generation, batch)
        return moved == 1

    async def _live(self, session: Session) -> dict[Place, list[Checkpoint]]:
        """Those at the same place share one reading."""
        by_place: dict[Place, list[Checkpoint]] = defaultdict(list)
        found = [row for row in await session.all(LIVE) if row.name in self._projections]
        for row in found:
            place = Place(row.xid, row.event_id)
            by_place[place].append(Checkpoint(row.name, row.generation, place))
        # A rebuild may have taken the generation that one was to begin with.
        self._is_ensured = len(found) == len(self._projections)
        return by_place
