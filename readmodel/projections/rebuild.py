"""Build a projection anew beside the live one, in batches, then put it in its place at once."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import text

from infra.postgres.database import Database, Session
from readmodel.projections.base import Projection
from readmodel.projections.facts import Place, read_batch
from readmodel.projections.projector import PROJECTIONS, Checkpoint, Projector

BATCH = 1000

Told = Callable[[int], None]

# Kept by the connection: a rebuild that dies gives it up.
LOCK = text("SELECT pg_try_advisory_lock(hashtextextended('rebuild:' || :name, 2)) AS mine")
UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended('rebuild:' || :name, 2))")
LEFT_OVER = text("""
SELECT generation FROM projections WHERE name = :name AND state <> 'live' ORDER BY generation
""")
BEGIN_BUILDING = text("""
INSERT INTO projections (name, generation, state)
SELECT :name, coalesce(max(generation), 0) + 1, 'building' FROM projections WHERE name = :name
RETURNING generation
""")
# A rebuild whose lock went with its connection may still be at it: it adds nothing to what is given
# up, and does not install it.
GIVE_UP = text("UPDATE projections SET state = 'old' WHERE name = :name AND state = 'building'")
# The live one is locked first, so that it does not move on in between.
LOCK_LIVE = text("SELECT 1 FROM projections WHERE name = :name AND state = 'live' FOR UPDATE")
HAS_CAUGHT_UP = text("""
SELECT (made.xid, made.event_id) >= (live.xid, live.event_id) AS caught_up
FROM projections AS made LEFT JOIN projections AS live
  ON live.name = made.name AND live.state = 'live'
WHERE made.name = :name AND made.generation = :generation AND made.state = 'building'
""")
RETIRE = text("UPDATE projections SET state = 'old' WHERE name = :name AND state = 'live'")
INSTALL = text("""
UPDATE projections SET state = 'live' WHERE name = :name AND generation = :generation
""")
FORGET = text("DELETE FROM projections WHERE name = :name AND generation = :generation")


class AlreadyRebuilding(Exception):
    """Another process is at it."""


class Rebuild:
    """One projection; ``batch`` events in each transaction."""

    def __init__(self, database: Database, projection: Projection, *, batch: int = BATCH) -> None:
        self._database = database
        self._projection = projection
        self._projector = Projector(database, (projection,))
        self._batch = batch

    async def run(self, told: Told = lambda _: None) -> int:
        """Rebuild while the live one is read and goes on; how many events are in the new one.

        What a rebuild that died left behind is cleared away first. ``told`` hears after each batch
        how many events that was.

        Raises:
            AlreadyRebuilding: one of the same projection is under way.
        """
        name = self._projection.name
        async with self._database.statements() as guard:
            lock = await guard.one(LOCK, name=name)
            if lock is None or not lock.mine:
                raise AlreadyRebuilding(f"{name} is being rebuilt by another process.")
            try:
                await self.clear_left_over()
                checkpoint = await self.begin()
                total = 0
                while True:
                    checkpoint, done = await self.build(checkpoint)
                    total += done
                    told(done)
                    if done < self._batch and await self.install(checkpoint):
                        break
                await self.clear_left_over()
            finally:
                await guard.one(UNLOCK, name=name)
        return total

    async def begin(self) -> Checkpoint:
        async with self._database.statements() as session:
            row = await session.one(BEGIN_BUILDING, name=self._projection.name)
        assert row is not None, "it returns what it wrote"
        return Checkpoint(self._projection.name, row.generation, Place(0, 0))

    async def build(self, checkpoint: Checkpoint) -> tuple[Checkpoint, int]:
        """One batch further; where it is then, and how many events that were."""
        async with self._database.statements() as session:
            batch = await read_batch(session, checkpoint.place, self._batch)
        if batch is None:
            return checkpoint, 0
        if not await self._projector.advance(checkpoint, batch):
            raise AlreadyRebuilding(f"{checkpoint.name} was changed by somebody else.")
        there = Checkpoint(checkpoint.name, checkpoint.generation, batch.end)
        return there, len(batch.facts)

    async def install(self, checkpoint: Checkpoint) -> bool:
        """Put it in the live one's place, unless that is further by now: then nothing changes.

        Raises:
            AlreadyRebuilding: another process has taken this one for left over.
        """
        asked = {"name": checkpoint.name, "generation": checkpoint.generation}
        async with self._database.transaction() as session:
            session.later(LOCK_LIVE, name=checkpoint.name)
            row = await session.one(HAS_CAUGHT_UP, **asked)
            if row is None:
                raise AlreadyRebuilding(f"{checkpoint.name} was changed by somebody else.")
            if row.caught_up is False:
                return False
            session.later(RETIRE, name=checkpoint.name)
            session.later(INSTALL, changes=1, **asked)
        return True

    async def clear_left_over(self) -> None:
        """Delete the rows of every generation but the live one, in batches."""
        name = self._projection.name
        async with self._database.statements() as session:
            await session.change(GIVE_UP, name=name)
            for row in await session.all(LEFT_OVER, name=name):
                await self._clear(session, row.generation)
                await session.change(FORGET, name=name, generation=row.generation)

    async def _clear(self, session: Session, generation: int) -> None:
        while await session.change(self._projection.clear, generation=generation):
            pass


async def rebuild_by_name(database: Database, name: str, told: Told) -> int:
    """As ``Rebuild.run``; raises KeyError for an unknown name."""
    known = {one.name: one for one in PROJECTIONS}
    return await Rebuild(database, known[name]).run(told)
