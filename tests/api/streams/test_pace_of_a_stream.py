"""At most one change a second, whoever else comes to the stream meanwhile."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from api.app import create_app
from api.streams import hub as hub_module
from infra.settings import Settings
from tests.factories import create_hall
from tests.helpers.catalogue import sell
from tests.helpers.live_api import Reader, close_all, live_api


async def test_readers_that_come_from_another_process_do_not_hurry_the_others(
    settings: Settings, engine: AsyncEngine, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may have seen more there, so that this process has to look at once."""
    monkeypatch.setattr(hub_module, "PACE_SECONDS", 2.0)
    hall = await create_hall(engine)
    async with live_api(create_app(settings)) as live:
        watching = await Reader.open(live.port, hall.show_id)
        await watching.next("snapshot")
        told = []
        for label in hall.labels[:3]:
            await sell(engine, hall.show_id, label, redis=redis)
            ahead = asyncio.create_task(
                Reader.open(live.port, hall.show_id, Last_Event_ID="999999999999999999")
            )
            await watching.next("delta")
            told.append(time.monotonic())
            # It is sent nothing older than what it may have seen.
            snapshot = await (await ahead).next("snapshot")
            assert label in snapshot.data["seats"]
        await close_all()
    apart = [later - earlier for earlier, later in pairwise(told)]
    assert min(apart) > hub_module.PACE_SECONDS * 0.9
