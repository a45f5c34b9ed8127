"""Projections of the clean town: as they were built, and then spoiled."""

from __future__ import annotations

from typing import LiteralString

import pytest

from infra.postgres.database import Database
from infra.settings import Settings
from readmodel.projections.lag import status
from readmodel.projections.projector import Projector
from tests.check.builders import Connection
from tests.check.conftest import Checker, settings_for
from tests.helpers.eventually import eventually

TOLD_TWICE = """
INSERT INTO projected_timeline SELECT generation, booking_id, 99, text FROM projected_timeline
WHERE sequence = 2
"""
# Each in a show of its own.
INVENTED = """
INSERT INTO projected_seats (generation, show_id, label, fence, state, booking_id)
SELECT generation, gen_random_uuid(), 'A' || n, 1, 'sold', gen_random_uuid()
FROM projections, generate_series(1, 9) AS n WHERE name = 'availability'
RETURNING show_id || ' ' || label
"""


@pytest.fixture
async def projected(settings: Settings, database_url: str, db: Connection) -> None:
    """The town with everything projected."""
    database = Database(settings_for(settings, database_url))
    projector = Projector(database)

    async def is_through() -> bool:
        while await projector.turn():
            pass
        async with database.statements() as session:
            return not any(one.events for one in await status(session))

    await eventually(is_through, seconds=30)
    await database.close()


async def test_what_the_projector_built_is_what_the_checker_expects(
    checker: Checker, projected: None
) -> None:
    checker.run()
    assert {"P1", "P2"} <= checker.with_status("ok"), checker.verdicts["P1"]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        ("UPDATE projected_listing SET sold = sold + 1", "listing of"),
        ("DELETE FROM projected_listing", "listing of"),
        ("UPDATE projected_seats SET state = 'held' WHERE state = 'sold'", "availability of"),
        ("DELETE FROM projected_seats", "availability of"),
        ("UPDATE projected_sales SET revenue = revenue - 1", "sales of"),
        ("UPDATE projected_sales SET lapsed = 0", "sales of"),
        ("UPDATE projected_demand SET bookings = bookings + 1", "demand of"),
        ("DELETE FROM projected_timeline WHERE sequence = 2", "does not tell no. 2, "),
        (TOLD_TWICE, "tells no. 99"),
        # One that was left out is one that the others have.
        ("UPDATE projections SET xid = '0', event_id = 0 WHERE name = 'sales'", "sales of"),
    ],
)
async def test_a_projection_that_says_something_else_is_caught(
    checker: Checker, projected: None, db: Connection, spoil: LiteralString, says: str
) -> None:
    assert db.execute(spoil).rowcount > 0
    checker.run()
    assert checker.exit_code == 1
    verdict = checker.verdicts["P1"]
    assert verdict["status"] == "BREACH"
    assert any(says in example for example in verdict["examples"]), verdict


async def test_all_that_differ_are_counted_and_the_first_of_them_told(
    checker: Checker, projected: None, db: Connection
) -> None:
    invented = db.execute(INVENTED).fetchall()
    db.execute("UPDATE projected_sales SET revenue = revenue - 1")
    checker.run()
    verdict = checker.verdicts["P1"]
    assert verdict["breaches"] == len(invented) + 1
    first = sorted(f"availability of {key}" for (key,) in invented)[:5]
    assert [example.partition(" says ")[0] for example in verdict["examples"]] == first


async def test_one_that_stays_behind_is_caught(
    checker: Checker, projected: None, db: Connection
) -> None:
    """Its checkpoint is right for what it has; only it has not gone on."""
    db.execute("UPDATE projections SET xid = '0', event_id = 0 WHERE name = 'demand'")
    db.execute("DELETE FROM projected_demand")
    checker.run()
    assert checker.verdicts["P1"]["status"] == "ok"
    assert checker.verdicts["P2"]["status"] == "BREACH"
    assert "demand does not have an event" in checker.verdicts["P2"]["examples"][0]
