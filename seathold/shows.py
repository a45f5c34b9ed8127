"""``seathold show``: cancel a show from the command line, and see how far that is."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from infra.postgres.database import Database
from infra.postgres.uow import PostgresUnitOfWork
from infra.redis.client import create_redis
from infra.redis.news import Newsroom
from infra.settings import Settings
from infra.temporal import connect
from infra.temporal_shows import TemporalShowProcess
from readmodel import catalogue, show_cancel
from seathold.who import account
from services.show_cancel import ShowDesk
from services.show_ports import CancelShow


async def cancel(settings: Settings, show_id: UUID, reason: str, *, dry_run: bool) -> str:
    """What came of it, or would, as JSON. Raises NotFound for an unknown show."""
    database = Database(settings, application_name="seathold-show")
    rate = settings.refunds_per_second
    process = TemporalShowProcess(await connect(settings, lazy=True), refunds_per_second=rate)
    desk = ShowDesk(PostgresUnitOfWork(database), process, refunds_per_second=rate)
    try:
        if dry_run:
            return _shown((await desk.plan(show_id)).as_json())
        await desk.cancel(CancelShow(show_id, reason, f"operator:{account()}", None))
        await _tell_readers(settings, database, show_id)
        return _shown(await _read(database, show_id))
    finally:
        await database.close()


async def cancellation(settings: Settings, show_id: UUID) -> str | None:
    """How far the cancellation is, as JSON; None when the show is not cancelled."""
    database = Database(settings, application_name="seathold-show")
    try:
        found = await _read(database, show_id)
    finally:
        await database.close()
    return _shown(found) if found is not None else None


async def _tell_readers(settings: Settings, database: Database, show_id: UUID) -> None:
    async with database.statements() as session:
        movie_id = await catalogue.movie_of_show(session, show_id)
    async with create_redis(settings) as redis:
        if movie_id is not None:
            await Newsroom(redis).show_changed(show_id, movie_id)


async def _read(database: Database, show_id: UUID) -> dict[str, Any] | None:
    async with database.statements() as session:
        return await show_cancel.read(session, show_id)


def _shown(found: dict[str, Any] | None) -> str:
    return json.dumps(found, indent=2)
