"""``seathold projections``: how far each is, and building them anew."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from infra.postgres.database import Database
from infra.settings import Settings
from seathold import progress
from seathold import projections as command
from seathold.cli import app
from tests.projections.town import book, catch_up, rows


async def test_before_any_projector_there_is_nothing_to_list(own_settings: Settings) -> None:
    assert await command.listed(own_settings) == "No projector has run yet."


async def test_each_is_listed_with_its_checkpoint_and_its_lag(
    url: str, own_settings: Settings, own_database: Database
) -> None:
    book(url, uuid4(), "A1")
    await catch_up(own_database)
    [last] = await rows(
        own_database, "SELECT xid::text || '/' || id AS place FROM events ORDER BY id DESC LIMIT 1"
    )
    book(url, uuid4(), "A2")
    header, *lines = (await command.listed(own_settings)).splitlines()
    assert header.split() == [
        "name",
        "state",
        "generation",
        "checkpoint",
        "waiting",
        "lag_seconds",
    ]
    assert [line.split()[0] for line in lines] == sorted(command.NAMES)
    for line in lines:
        _, state, generation, checkpoint, waiting, lag = line.split()
        assert (state, generation, checkpoint, waiting) == ("live", "1", last.place, "2")
        # The town's bookings are made on a day to come.
        assert float(lag) >= 0


async def test_all_are_rebuilt_one_after_another(
    url: str, own_settings: Settings, own_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    book(url, uuid4(), "A1")
    await catch_up(own_database)
    said: list[str] = []
    heard: list[str] = []
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0)
    assert await command.rebuild(own_settings, command.NAMES, said.append, heard.append) == 0
    assert said == [f"{name}: rebuilt from 2 events." for name in command.NAMES]
    assert heard == ["... 2 of 2 events"] * len(command.NAMES)
    found = await rows(own_database, "SELECT state, generation FROM projections")
    assert {tuple(row) for row in found} == {("live", 2)}


async def test_one_that_is_being_rebuilt_is_told(
    own_settings: Settings, own_database: Database
) -> None:
    said: list[str] = []
    lock = "SELECT pg_advisory_lock(hashtextextended('rebuild:sales', 2))"
    async with own_database.statements() as other:
        await other.one(text(lock))
        assert await command.rebuild(own_settings, ["sales"], said.append, said.append) == 1
        await other.one(text("SELECT pg_advisory_unlock_all()"))
    assert said == ["sales is being rebuilt by another process."]


@pytest.mark.parametrize("name", ["everything", "projected_sales"])
def test_an_unknown_one_is_refused_with_the_names(name: str) -> None:
    result = CliRunner().invoke(app, ["projections", "rebuild", name])
    assert result.exit_code == 2
    assert "availability" in result.output
