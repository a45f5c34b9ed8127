"""A rebuild whose lock went with its connection, and the next one, which takes it for dead."""

from __future__ import annotations

from uuid import uuid4

import pytest

from infra.postgres.database import Database, Session
from readmodel.projections.projector import PROJECTIONS, Checkpoint
from readmodel.projections.rebuild import AlreadyRebuilding, Rebuild
from tests.projections.town import book, catch_up, rows

LISTED = """SELECT held FROM projected_listing JOIN projections USING (generation)
            WHERE name = 'listing' AND state = 'live'"""


class Meeting(Rebuild):
    """Clears away what another has built, who comes to its end just then."""

    other: Rebuild
    checkpoint: Checkpoint

    async def _clear(self, session: Session, generation: int) -> None:
        await super()._clear(session, generation)
        if generation == self.checkpoint.generation:
            with pytest.raises(AlreadyRebuilding):
                await self.other.install(self.checkpoint)


async def test_what_another_clears_away_is_not_installed(url: str, own_database: Database) -> None:
    book(url, uuid4(), "A1")
    await catch_up(own_database)
    lost = Rebuild(own_database, PROJECTIONS[0])
    next_one = Meeting(own_database, PROJECTIONS[0])
    next_one.other, (next_one.checkpoint, _) = lost, await lost.build(await lost.begin())
    await next_one.clear_left_over()
    assert [row.held for row in await rows(own_database, LISTED)] == [1]
    # Before, it asked again and again whether it had caught up.
    with pytest.raises(AlreadyRebuilding):
        await lost.install(next_one.checkpoint)
    assert await Rebuild(own_database, PROJECTIONS[0]).run() == 2
    assert [row.held for row in await rows(own_database, LISTED)] == [1]
    assert len(await rows(own_database, "SELECT 1 FROM projections WHERE name = 'listing'")) == 1
