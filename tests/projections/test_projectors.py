"""Several projectors, one at work; what dies is taken over, what is done is not done again."""

from __future__ import annotations

import asyncio
import sys
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from infra.postgres.database import Database, Session
from readmodel.projections import projector as module
from readmodel.projections.facts import Batch, Place, read_batch
from readmodel.projections.lag import status
from readmodel.projections.projector import PROJECTIONS, Checkpoint, Projector
from readmodel.projections.rebuild import AlreadyRebuilding, Rebuild
from tests.helpers.horizon import horizon_passed
from tests.projections.town import book, catch_up, rows

# Stands where it has the lock and has applied a batch, and waits to be killed.
VICTIM = """
import asyncio, sys
from infra.postgres.database import Database
from readmodel.projections.projector import PROJECTIONS, Projector
from tests.fixtures.servers import settings_for

class Stuck:
    name, clear = PROJECTIONS[0].name, PROJECTIONS[0].clear

    def apply(self, session, generation, batch):
        PROJECTIONS[0].apply(session, generation, batch)
        print("applied", flush=True)
        sys.stdin.read()

database = Database(settings_for(sys.argv[1], "redis://127.0.0.1:1/0"))
asyncio.run(Projector(database, [Stuck()]).turn())
"""


async def held(database: Database, show_id: UUID) -> int:
    query = """SELECT held FROM projected_listing JOIN projections USING (generation)
               WHERE name = 'listing' AND state = 'live' AND show_id = :show_id"""
    found = await rows(database, query, show_id=show_id)
    return found[0].held if found else 0


async def test_a_projector_finds_nothing_to_do_while_another_works(
    url: str, own_database: Database
) -> None:
    show_id = uuid4()
    book(url, show_id, "A1")
    projector = Projector(own_database)
    async with own_database.transaction() as other:
        lock = await other.one(module.TURN_LOCK)
        assert lock is not None
        assert lock.mine
        assert await projector.turn() == 0
        assert await held(own_database, show_id) == 0
    await catch_up(own_database)
    assert await held(own_database, show_id) == 1


async def test_a_killed_projector_is_taken_over_and_its_batch_is_done_once(
    url: str, own_database: Database
) -> None:
    show_id = uuid4()
    book(url, show_id, "A1", "A2")
    await horizon_passed(own_database)
    victim = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        VICTIM,
        url,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert victim.stdout is not None
    assert await victim.stdout.readline() == b"applied\n"
    assert await Projector(own_database).turn() == 0
    victim.kill()
    await victim.wait()
    await catch_up(own_database)
    assert await held(own_database, show_id) == 2


async def test_a_batch_that_comes_again_changes_nothing(url: str, own_database: Database) -> None:
    show_id = uuid4()
    book(url, show_id, "A1")
    await catch_up(own_database)
    async with own_database.statements() as session:
        batch = await read_batch(session, Place(0, 0), 100)
    assert batch is not None
    for projection in PROJECTIONS:
        again = Checkpoint(projection.name, 1, Place(0, 0))
        assert not await Projector(own_database).advance(again, batch)
    assert await held(own_database, show_id) == 1


async def test_without_its_checkpoint_a_batch_that_comes_again_counts_twice(
    url: str, own_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    show_id = uuid4()
    book(url, show_id, "A1")
    await catch_up(own_database)
    anyhow = text(str(module.ADVANCE).partition("AND xid =")[0] + "AND :from_xid + :from_id >= 0")
    monkeypatch.setattr(module, "ADVANCE", anyhow)
    async with own_database.statements() as session:
        batch = await read_batch(session, Place(0, 0), 100)
    assert batch is not None
    assert await Projector(own_database).advance(Checkpoint("listing", 1, Place(0, 0)), batch)
    assert await held(own_database, show_id) == 2


class Poisoned:
    name, clear = PROJECTIONS[0].name, PROJECTIONS[0].clear

    def apply(self, session: Session, generation: int, batch: Batch) -> None:
        raise ValueError("cannot read this")


async def test_one_that_fails_does_not_hold_up_the_others(url: str, own_database: Database) -> None:
    show_id = uuid4()
    book(url, show_id, "A1")
    await horizon_passed(own_database)
    with pytest.raises(ValueError, match="cannot read this"):
        await Projector(own_database, [Poisoned(), *PROJECTIONS[1:]]).turn()
    async with own_database.statements() as session:
        waiting = {one.name: one.events for one in await status(session)}
    assert waiting == {
        "listing": 2,
        "availability": 0,
        "timeline": 0,
        "sales": 0,
        "demand": 0,
    }
    await catch_up(own_database)
    assert await held(own_database, show_id) == 1


async def test_a_rebuild_stands_beside_until_it_is_whole(url: str, own_database: Database) -> None:
    show_id = uuid4()
    book(url, show_id, "A1")
    book(url, show_id, "A2")
    await catch_up(own_database)
    await rows(own_database, "UPDATE projected_listing SET held = 99 RETURNING 1")
    rebuild = Rebuild(own_database, PROJECTIONS[0], batch=2)
    checkpoint, done = await rebuild.build(await rebuild.begin())
    assert done == 2
    assert not await rebuild.install(checkpoint), "it is behind the live one"
    assert await held(own_database, show_id) == 99
    # Selling goes on meanwhile.
    book(url, show_id, "A3")
    await catch_up(own_database)
    assert await held(own_database, show_id) == 100

    assert await Rebuild(own_database, PROJECTIONS[0], batch=2).run() == 6
    assert await held(own_database, show_id) == 3
    found = await rows(
        own_database, "SELECT generation, state FROM projections WHERE name='listing'"
    )
    assert [tuple(row) for row in found] == [(2, "live")]
    assert len(await rows(own_database, "SELECT 1 FROM projected_listing")) == 1
    book(url, show_id, "A4")
    await catch_up(own_database)
    assert await held(own_database, show_id) == 4


async def test_two_rebuilds_of_one_projection_do_not_meet(url: str, own_database: Database) -> None:
    async with own_database.statements() as other:
        await other.one(text("SELECT pg_advisory_lock(hashtextextended('rebuild:listing', 2))"))
        with pytest.raises(AlreadyRebuilding):
            await Rebuild(own_database, PROJECTIONS[0]).run()
        await other.one(text("SELECT pg_advisory_unlock_all()"))
    assert await Rebuild(own_database, PROJECTIONS[0]).run() == 0


async def test_a_rebuild_that_died_before_the_first_turn_keeps_no_projection_from_beginning(
    url: str, own_database: Database
) -> None:
    show_id = uuid4()
    book(url, show_id, "A1")
    await horizon_passed(own_database)
    killed = Rebuild(own_database, PROJECTIONS[0])
    await killed.build(await killed.begin())
    await catch_up(own_database)
    assert await held(own_database, show_id) == 1
    assert await Rebuild(own_database, PROJECTIONS[0]).run() == 2
    assert await held(own_database, show_id) == 1
    assert len(await rows(own_database, "SELECT 1 FROM projected_listing")) == 1


async def test_a_rebuild_whose_projection_begins_meanwhile_takes_its_place_all_the_same(
    url: str, own_database: Database
) -> None:
    show_id = uuid4()
    book(url, show_id, "A1")
    await horizon_passed(own_database)
    rebuild = Rebuild(own_database, PROJECTIONS[0])
    checkpoint, _ = await rebuild.build(await rebuild.begin())
    await catch_up(own_database)
    assert await rebuild.install(checkpoint)
    assert await held(own_database, show_id) == 1
