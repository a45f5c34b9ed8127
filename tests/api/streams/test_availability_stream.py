"""The stream of a show's seats over real sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import httpx2
import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from api.app import create_app
from api.streams import hub as hub_module
from api.streams import watcher as watcher_module
from api.streams.availability import Crowds
from infra.redis.seat_claims import RedisSeatPreclaims
from infra.settings import Settings
from tests.factories import Hall, create_hall
from tests.helpers.catalogue import run
from tests.helpers.eventually import eventually
from tests.helpers.live_api import LiveApi, Reader, close_all, live_api


@pytest.fixture(scope="module")
async def live(settings: Settings, engine: AsyncEngine, redis: Redis) -> AsyncIterator[LiveApi]:
    async with live_api(create_app(settings)) as live:
        yield live


@pytest.fixture(autouse=True)
async def closed() -> AsyncIterator[None]:
    yield
    await close_all()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pace of the stream, so that a test need not wait for it."""
    monkeypatch.setattr(hub_module, "PACE_SECONDS", 0.05)


async def put(engine: AsyncEngine, redis: Redis | None, hall: Hall, label: str, state: str) -> None:
    """Let the seat change hands, and tell the readers if ``redis`` is there to do it."""
    await run(
        engine,
        "INSERT INTO seat_claims (show_id, label, state) VALUES (:show, :label, :state)"
        " ON CONFLICT (show_id, label) DO UPDATE SET state = :state, fence = seat_claims.fence + 1",
        show=hall.show_id,
        label=label,
        state=state,
    )
    if redis is not None:
        await RedisSeatPreclaims(redis).release(hall.show_id, [label], uuid4())


async def test_a_snapshot_then_what_changes(
    live: LiveApi, engine: AsyncEngine, redis: Redis, quick: None
) -> None:
    hall = await create_hall(engine)
    await put(engine, redis, hall, "A1", "sold")
    reader = await Reader.open(live.port, hall.show_id, X_Request_Id="mine")
    assert reader.status == 200
    assert reader.headers["content-type"] == "text/event-stream"
    assert reader.headers["cache-control"] == "no-store"
    assert reader.headers["x-request-id"] == "mine"
    assert reader.headers["x-content-type-options"] == "nosniff"
    retry = await reader.event()
    assert retry is not None
    assert 1000 <= int(retry.data["retry"]) <= 5000
    first = await reader.event()
    assert first is not None
    assert (first.kind, first.data["seats"]) == ("snapshot", {"A1": "sold"})
    assert first.data["show_id"] == str(hall.show_id)
    for label, state in (("A2", "sold"), ("A3", "blocked"), ("A1", "free")):
        await put(engine, redis, hall, label, state)
        delta = await reader.next("delta")
        shown = "available" if state == "free" else state
        assert delta.data == {"version": delta.id, "seats": {label: shown}}
    assert reader.seats == {"A2": "sold", "A3": "blocked"}
    await reader.close()

    async def is_over() -> bool:
        return live.streams == 0

    await eventually(is_over, message="a reader that left is still counted")


async def test_who_comes_back_is_told_what_it_missed(
    live: LiveApi, engine: AsyncEngine, redis: Redis, quick: None
) -> None:
    hall = await create_hall(engine)
    watching = await Reader.open(live.port, hall.show_id)
    start = await watching.next("snapshot")
    missed = []
    for label in hall.labels[:3]:
        await put(engine, redis, hall, label, "sold")
        missed.append(await watching.next("delta"))
    for after, lacks in ((start, missed), (missed[0], missed[1:])):
        back = await Reader.open(live.port, hall.show_id, Last_Event_ID=str(after.id))
        assert [await back.next("delta") for _ in lacks] == lacks
        await back.close()
    up_to_date = await Reader.open(live.port, hall.show_id, Last_Event_ID=str(watching.version))
    assert (await up_to_date.next("comment")).id is None
    for unknown in ("1", "999999999", "x", "-1", "9" * 40):
        lost = await Reader.open(live.port, hall.show_id, Last_Event_ID=unknown)
        assert (await lost.next("snapshot")).data["seats"] == watching.seats
        await lost.close()
    await put(engine, redis, hall, "A9", "sold")
    for reader in (watching, up_to_date):
        assert (await reader.next("delta")).data["seats"] == {"A9": "sold"}
        await reader.close()


async def test_changes_of_one_second_are_one_event(
    live: LiveApi, engine: AsyncEngine, redis: Redis
) -> None:
    hall = await create_hall(engine, seats=40)
    reader = await Reader.open(live.port, hall.show_id)
    await reader.next("snapshot")
    for label in hall.labels:
        await put(engine, redis, hall, label, "sold")
    began = time.monotonic()
    events = await reader.until(dict.fromkeys(hall.labels, "sold"))
    assert len(events) <= 2 + (time.monotonic() - began) / hub_module.PACE_SECONDS
    await reader.close()


async def test_without_news_postgresql_is_asked_all_the_same(
    live: LiveApi, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "POLL_SECONDS", 0.2)
    hall = await create_hall(engine)
    reader = await Reader.open(live.port, hall.show_id)
    await reader.next("snapshot")
    await put(engine, None, hall, "A1", "sold")
    await reader.until({"A1": "sold"})
    await reader.close()


async def test_with_redis_away_the_stream_goes_on(
    settings: Settings, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "DEAF_POLL_SECONDS", 0.2)
    away = settings.model_copy(
        update={"redis_url": type(settings.redis_url)("redis://127.0.0.1:1/0")}
    )
    hall = await create_hall(engine)
    async with live_api(create_app(away)) as live:
        reader = await Reader.open(live.port, hall.show_id)
        await reader.next("snapshot")
        await put(engine, None, hall, "A1", "sold")
        await reader.until({"A1": "sold"})
        await reader.close()


async def test_a_quiet_stream_beats(
    live: LiveApi, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hub_module.HEARTBEAT_SECONDS + hub_module.POLL_SECONDS <= 15, "the promise"
    monkeypatch.setattr(hub_module, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(hub_module, "HEARTBEAT_SECONDS", 0.1)
    hall = await create_hall(engine)
    reader = await Reader.open(live.port, hall.show_id)
    for _ in range(3):
        await reader.next("comment")
    await reader.close()


async def test_a_slow_reader_is_not_queued_for(
    live: LiveApi, engine: AsyncEngine, redis: Redis, quick: None
) -> None:
    """It reads nothing while much happens, and then where things are: not all that happened."""
    hall = await create_hall(engine, seats=5000)
    slow = await Reader.open(live.port, hall.show_id, receive_buffer=4096)
    await slow.next("snapshot")
    watching = await Reader.open(live.port, hall.show_id)
    await watching.next("snapshot")
    happened = await churn(live, engine, redis, hall, watching, more=5)
    events = 0
    while slow.version < watching.version:
        events += (await slow.event()).kind in ("snapshot", "delta")  # type: ignore[union-attr]
    assert slow.seats == watching.seats
    assert events < happened
    for reader in (slow, watching):
        await reader.close()


async def test_a_reader_that_takes_nothing_is_cut_off(
    live: LiveApi,
    engine: AsyncEngine,
    redis: Redis,
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watcher_module, "PATIENCE_SECONDS", 0.3)
    hall = await create_hall(engine, seats=5000)
    dead = await Reader.open(live.port, hall.show_id, receive_buffer=4096)
    watching = await Reader.open(live.port, hall.show_id)
    await watching.next("snapshot")
    assert live.streams == 2
    await churn(live, engine, redis, hall, watching)

    async def is_cut() -> bool:
        return live.streams == 1

    await eventually(is_cut, message="the dead reader is still there")
    await watching.close()
    await dead.close()


async def churn(
    live: LiveApi,
    engine: AsyncEngine,
    redis: Redis,
    hall: Hall,
    watching: Reader,
    *,
    more: int = 0,
) -> int:
    """Change all seats until who reads nothing is behind, and ``more`` often; how often it was."""
    streams = live.app.front.streams
    assert streams is not None
    [hub] = [hub for show, hub in streams._hubs.items() if show == hall.show_id]
    for number in range(1, 200):
        state = "sold" if number % 2 else "blocked"
        await run(
            engine,
            "INSERT INTO seat_claims (show_id, label, state)"
            " SELECT :show, label, :state FROM unnest(CAST(:labels AS text[])) AS label"
            " ON CONFLICT (show_id, label)"
            " DO UPDATE SET state = :state, fence = seat_claims.fence + 1",
            show=hall.show_id,
            labels=list(hall.labels),
            state=state,
        )
        await RedisSeatPreclaims(redis).release(hall.show_id, ["A1"], uuid4())
        await watching.until(dict.fromkeys(hall.labels, state))
        if any(watcher.is_behind for watcher in hub._watchers) or len(hub) == 1:
            if more == 0:
                return number
            more -= 1
    raise AssertionError("the reader's buffers were never full")


async def test_nothing_of_the_server_is_held_for_a_reader(
    live: LiveApi, engine: AsyncEngine
) -> None:
    """Neither its protocol nor a task: what a reader costs is its connection."""
    hall = await create_hall(engine)
    reader = await Reader.open(live.port, hall.show_id)
    await reader.next("snapshot")
    state = live.server.server_state

    async def is_let_go() -> bool:
        return not state.connections and not state.tasks and live.streams == 1

    await eventually(is_let_go, message="the server still holds the connection")
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{live.port}") as client:
        assert "\nseathold_streams_open 1.0\n" in (await client.get("/metrics")).text


async def test_who_talks_on_is_not_listened_to(
    live: LiveApi, engine: AsyncEngine, redis: Redis, quick: None
) -> None:
    hall = await create_hall(engine)
    reader = await Reader.open(live.port, hall.show_id)
    await reader.next("snapshot")
    reader._writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 1000)
    await reader._writer.drain()
    for label in hall.labels[:2]:
        await put(engine, redis, hall, label, "sold")
        assert label in (await reader.next("delta")).data["seats"]
    await reader.close()

    async def is_gone() -> bool:
        await put(engine, redis, hall, "A3", "sold")
        return live.streams == 0

    await eventually(is_gone, message="what is written to it does not tell that it has left")


async def test_who_leaves_before_it_begins_is_not_counted(
    live: LiveApi, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, has_left = asyncio.Event(), asyncio.Event()

    async def reach(hub: hub_module.Hub, version: int) -> None:
        asked.set()
        await has_left.wait()

    monkeypatch.setattr(hub_module.Hub, "reach", reach)
    hall = await create_hall(engine)
    opening = asyncio.create_task(Reader.open(live.port, hall.show_id))
    await asked.wait()
    await close_all()

    async def is_gone() -> bool:
        return not live.server.server_state.connections

    await eventually(is_gone)
    assert live.streams == 1, "counted from the start, so that the hub does not end"
    has_left.set()

    async def is_over() -> bool:
        return live.streams == 0

    await eventually(is_over, message="a reader that never began is still counted")
    await asyncio.gather(opening, return_exceptions=True)


async def test_an_address_may_have_so_many(settings: Settings, engine: AsyncEngine) -> None:
    hall = await create_hall(engine)
    async with live_api(create_app(settings)) as live:
        assert live.app.front.streams is not None
        live.app.front.streams._crowds = Crowds(2)
        two = [await Reader.open(live.port, hall.show_id) for _ in range(2)]
        refused = await Reader.open(live.port, hall.show_id)
        assert refused.status == 429
        assert int(refused.headers["retry-after"]) > 0
        await two[0].close()

        async def fits() -> bool:
            again = await Reader.open(live.port, hall.show_id)
            return again.status == 200

        await eventually(fits)


async def test_a_stopping_server_ends_its_streams(settings: Settings, engine: AsyncEngine) -> None:
    hall = await create_hall(engine)
    async with live_api(create_app(settings)) as live:
        reader = await Reader.open(live.port, hall.show_id)
        await reader.next("snapshot")
        live.server.should_exit = True
        async with asyncio.timeout(10):
            while await reader.event() is not None:
                pass


@pytest.mark.parametrize("show", [str(UUID(int=7)), "x", "-" * 36, "%00"])
async def test_no_show_no_stream(live: LiveApi, show: str) -> None:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{live.port}") as client:
        answer = await client.get(f"/api/show/{show}/availability/stream")
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"
