"""``seathold projections``: how far each one is, and building them anew."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text

from infra.postgres.database import Database
from infra.settings import Settings
from readmodel.projections.lag import Status, status
from readmodel.projections.projector import PROJECTIONS
from readmodel.projections.rebuild import AlreadyRebuilding, rebuild_by_name
from seathold.progress import HOW_MANY, Progress, Say

NAMES = [one.name for one in PROJECTIONS]
HEADER = ("name", "state", "generation", "checkpoint", "waiting", "lag_seconds")


async def listed(settings: Settings) -> str:
    """A table: the checkpoint is the place (xid, id) of the last event that is in it."""
    database = Database(settings, application_name="seathold-projections")
    try:
        async with database.statements() as session:
            rows = [_cells(one) for one in await status(session)]
    finally:
        await database.close()
    if not rows:
        return "No projector has run yet."
    widths = [max(map(len, column)) for column in zip(HEADER, *rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (HEADER, *rows)
    )


async def rebuild(settings: Settings, names: Sequence[str], say: Say, whisper: Say) -> int:
    """Rebuild one after another; 1 when another process is rebuilding one of them.

    ``whisper`` hears now and then how far it is.
    """
    database = Database(settings, application_name="seathold-rebuild")
    code = 0
    try:
        async with database.statements() as session:
            counted = await session.one(text(HOW_MANY))
        for name in names:
            progress = Progress(counted.events if counted else 0, whisper)
            try:
                count = await rebuild_by_name(database, name, progress.add)
                say(f"{name}: rebuilt from {count} events.")
            except AlreadyRebuilding as error:
                say(str(error))
                code = 1
    finally:
        await database.close()
    return code


def _cells(one: Status) -> tuple[str, ...]:
    return (
        one.name,
        one.state,
        str(one.generation),
        f"{one.xid}/{one.event_id}",
        str(one.events),
        f"{one.seconds:.1f}",
    )
