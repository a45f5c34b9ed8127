"""A case older than a day is told of once an hour, whoever looks, until somebody resolves it."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from domain import ids
from domain.case import CaseKind
from infra.postgres.case import PostgresWaitingCases
from infra.postgres.database import Database
from infra.postgres.uow import PostgresUnitOfWork
from loops.case_alert import CaseAlertLoop
from tests.factories import create_user


class Alerts:
    """A case that the test ages, and what is said of it."""

    def __init__(self, database: Database, engine: AsyncEngine, case_id: UUID) -> None:
        self.loop = CaseAlertLoop(PostgresWaitingCases(database))
        self.engine, self.case_id = engine, case_id

    async def alter(self, change: str, **values: Any) -> None:
        statement = text(f"UPDATE cases SET {change} WHERE id = :id")  # noqa: S608
        async with self.engine.begin() as connection:
            await connection.execute(statement, {"id": self.case_id, **values})

    async def said(self, passes: int = 1) -> list[Any]:
        """What so many passes at once say of the case."""
        with capture_logs() as logs:
            await asyncio.gather(*(self.loop.one_pass() for _ in range(passes)))
        return [line for line in logs if line.get("case_id") == str(self.case_id)]


async def open_case(database: Database, engine: AsyncEngine) -> Alerts:
    dedupe = uuid4().hex
    async with PostgresUnitOfWork(database).alone() as tx:
        tx.cases.open(CaseKind.DIFFERENCE, dedupe=dedupe, summary="Look at this.")
    return Alerts(database, engine, ids.case_id(dedupe))


async def test_once_an_hour_after_a_day(database: Database, engine: AsyncEngine) -> None:
    case = await open_case(database, engine)
    assert await case.said() == []
    await case.alter("opened_at = now() - interval '23 hours 59 minutes'")
    assert await case.said() == []
    await case.alter("opened_at = now() - interval '25 hours 1 minute'")
    [line] = await case.said(passes=4)
    assert (line["event"], line["log_level"]) == ("case_waits", "error")
    assert (line["kind"], line["status"], line["hours"]) == ("difference", "open", 25)
    assert await case.said() == []
    await case.alter("alerted_at = now() - interval '59 minutes'")
    assert await case.said() == []
    await case.alter("alerted_at = now() - interval '61 minutes'")
    assert len(await case.said(passes=4)) == 1


async def test_until_it_is_resolved(database: Database, engine: AsyncEngine) -> None:
    case = await open_case(database, engine)
    await case.alter("opened_at = now() - interval '2 days'")
    somebody = await create_user(engine)
    await case.alter("status = 'assigned', assignee = :somebody", somebody=somebody)
    assert [line["status"] for line in await case.said()] == ["assigned"]
    await case.alter(
        "status = 'resolved', resolution = 'x', resolved_at = now(), alerted_at = NULL"
    )
    assert await case.said() == []
