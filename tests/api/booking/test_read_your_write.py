"""Two API processes, one buyer: what one of them answered is never unknown to the other."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from api.app import create_app
from infra.redis.news import NewsFeed
from infra.settings import Settings
from tests.api.booking.conftest import Buyer
from tests.factories import Hall
from tests.helpers.accounts import client_of
from tests.sandbox.process import Sandbox

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture(params=["with news", "without news"])
async def twin(
    request: pytest.FixtureRequest,
    settings: Settings,
    engine: AsyncEngine,
    redis: Redis,
    provider: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[httpx2.AsyncClient]:
    """A second process; the harder case is that the news passes it by and it does not know."""
    if request.param == "without news":
        monkeypatch.setattr(NewsFeed, "_take", take_nothing_but_the_start)
    app: FastAPI = create_app(settings.model_copy(update={"sandbox_url": provider.url}))
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield client


def take_nothing_but_the_start(self: NewsFeed, message: dict[str, object]) -> None:
    self.is_live = self.is_live or message["type"] == "subscribe"


async def test_who_was_answered_reads_no_older_version_anywhere(
    ada: Buyer, hall: Hall, twin: httpx2.AsyncClient
) -> None:
    seats = f"/api/show/{hall.show_id}/availability"
    version = (await twin.get(seats)).json()["version"]
    for label in hall.labels[:2]:
        before = (await twin.get(seats)).json()["seats"]
        assert label not in before
        reserved = await ada.reserve(hall, label)
        assert reserved.status_code == 201, reserved.text
        booking = reserved.json()
        told = {"Read-After": reserved.headers["read-after"]}
        seen = (await twin.get(seats, headers=told)).json()
        assert seen["seats"] == {**before, label: "held"}
        assert seen["version"] > version
        version = seen["version"]
        shown = (await twin.get(f"/api/show/{hall.show_id}", headers=told)).json()
        assert shown["availability"]["available"] == len(hall.labels) - len(seen["seats"])
        path = f"/api/booking/{booking['id']}"
        read = (await twin.get(path, headers=ada.headers)).json()
        assert read["version"] >= booking["version"]
        cancelled = await twin.post(f"{path}/cancel", json={}, headers=ada.headers)
        assert cancelled.status_code == 200, cancelled.text
        told = {"Read-After": cancelled.headers["read-after"]}
        for client in (twin, ada.client):
            after = (await client.get(seats, headers=told)).json()
            assert label not in after["seats"]
            assert after["version"] > version
        version = after["version"]
        again = (await ada.get(path)).json()
        assert again["version"] >= cancelled.json()["version"]
