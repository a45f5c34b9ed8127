"""What crowds read is read from PostgreSQL once, and is never older than what its reader wrote."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis
from sqlalchemy import TextClause
from sqlalchemy.ext.asyncio import AsyncEngine

from api.app import create_app
from api.deps.state import AppState
from infra.postgres.database import Session
from infra.redis import shared_copies
from infra.redis.news import Newsroom
from infra.redis.shared_copies import Copy, Place, SharedCopies
from infra.settings import Settings
from readmodel import catalogue
from tests.factories import Hall, create_hall
from tests.helpers.accounts import client_of
from tests.helpers.catalogue import nothing_older, run, sell
from tests.helpers.eventually import eventually

CROWD = 1000


@pytest.fixture(scope="session")
async def twin(settings: Settings, engine: AsyncEngine, redis: Redis) -> AsyncIterator[FastAPI]:
    """A second API process, but for the process: nothing is shared but the servers."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def both(app: FastAPI, twin: FastAPI) -> AsyncIterator[list[httpx2.AsyncClient]]:
    async with client_of(app) as one, client_of(twin) as other:
        for each in (app, twin):
            await eventually(lambda each=each: is_live(each))  # type: ignore[misc]
        yield [one, other]


async def is_live(app: FastAPI) -> bool:
    parts: AppState = app.state.parts
    return parts.shelf.feed.is_live


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each catalogue statement is run, by its show's or film's id."""
    counts: Counter[str] = Counter()
    real = Session._run

    async def counted(self: Session, statement: TextClause, values: dict[str, Any]) -> Any:
        counts[str(values.get("id") or values.get("movie_id"))] += 1
        return await real(self, statement, values)

    monkeypatch.setattr(Session, "_run", counted)
    return counts


async def movie_of(engine: AsyncEngine, hall: Hall) -> UUID:
    async with engine.connect() as connection:
        found = await connection.scalar(catalogue.MOVIE_OF_SHOW, {"id": hall.show_id})
    assert isinstance(found, UUID)
    return found


async def crowd(both: list[httpx2.AsyncClient], path: str) -> set[bytes]:
    answers = await asyncio.gather(*(both[n % 2].get(path) for n in range(CROWD)))
    assert {answer.status_code for answer in answers} == {200}
    return {answer.content for answer in answers}


async def test_a_crowd_that_finds_nothing_kept_asks_postgresql_once(
    both: list[httpx2.AsyncClient], engine: AsyncEngine, asked: Counter[str]
) -> None:
    hall = await create_hall(engine)
    movie_id = await movie_of(engine, hall)
    asked.clear()
    assert len(await crowd(both, f"/api/shows/{movie_id}")) == 1
    assert asked[str(movie_id)] == 1
    assert len(await crowd(both, f"/api/show/{hall.show_id}")) == 1
    assert asked[str(hall.show_id)] == 1


async def test_without_the_shared_copies_every_process_asks(
    both: list[httpx2.AsyncClient],
    engine: AsyncEngine,
    asked: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control of the test above."""

    async def alone(self: SharedCopies, place: object, read: Any, is_good: object) -> Copy:
        content, seconds = await read()
        return Copy(content, seconds, 0)

    monkeypatch.setattr(SharedCopies, "fetch", alone)
    hall = await create_hall(engine)
    movie_id = await movie_of(engine, hall)
    asked.clear()
    await crowd(both, f"/api/shows/{movie_id}")
    assert asked[str(movie_id)] == 2


async def test_who_was_kept_busy_past_the_lease_takes_what_is_there(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that serves a crowd comes late back from its sleep; it need not read then."""
    monkeypatch.setattr(shared_copies, "LEASE_MS", 50)
    monkeypatch.setattr(shared_copies, "POLL_SECONDS", 0.3)
    place = Place(f"{{{uuid4()}}}:copy", "no stamp")
    await redis.set(place.key + ":lock", "another's", px=60_000)
    copies = SharedCopies(redis)
    look = copies._look

    async def then_it_is_stored(place: Place) -> Any:
        found = await look(place)
        await redis.set(place.key, b"\n60000\nread by another", px=60_000)
        return found

    async def read() -> tuple[bytes, float]:
        return b"read by itself", 60

    monkeypatch.setattr(copies, "_look", then_it_is_stored)
    found = await copies.fetch(place, read, lambda copy: True)
    assert found.content == b"read by another"


async def test_what_was_read_before_a_change_is_nobodys_copy(redis: Redis) -> None:
    """The change came during the read: who reads it has it, and nobody after him."""
    copies, id = SharedCopies(redis), uuid4()
    place = Place(f"{{{id}}}:copy", f"{{{id}}}:stamp")

    async def before() -> tuple[bytes, float]:
        await redis.set(place.stamp, "changed")
        return b"before", 60

    async def after() -> tuple[bytes, float]:
        return b"after", 60

    reads = (before, after, before)
    found = [await copies.fetch(place, read, lambda copy: True) for read in reads]
    assert [one.content for one in found] == [b"before", b"after", b"after"]


async def test_who_reads_past_his_lease_leaves_the_next_one_alone(redis: Redis) -> None:
    place = Place(f"{{{uuid4()}}}:copy", "no stamp")
    lock = place.key + ":lock"

    async def slowly() -> tuple[bytes, float]:
        await redis.set(lock, "another's", px=60_000)
        return b"late", 60

    found = await SharedCopies(redis).fetch(place, slowly, lambda copy: True)
    assert found.content == b"late"
    assert (await redis.get(place.key), await redis.get(lock)) == (None, b"another's")


async def test_a_read_that_failed_keeps_nobody_waiting(redis: Redis) -> None:
    place = Place(f"{{{uuid4()}}}:copy", "no stamp")

    async def broken() -> tuple[bytes, float]:
        raise LookupError

    with pytest.raises(LookupError):
        await SharedCopies(redis).fetch(place, broken, lambda copy: True)
    assert await redis.get(place.key + ":lock") is None


async def test_what_the_staff_changes_is_seen_at_once_everywhere(
    both: list[httpx2.AsyncClient], engine: AsyncEngine, redis: Redis, asked: Counter[str]
) -> None:
    hall = await create_hall(engine, price=1200)
    movie_id = await movie_of(engine, hall)
    paths = (f"/api/shows/{movie_id}", f"/api/show/{hall.show_id}")

    async def prices() -> set[int]:
        found = set()
        for client in both:
            of_movie, show = [(await client.get(path)).json() for path in paths]
            [listed] = of_movie["theatres"][0]["shows"]
            found |= {one["prices"]["standard"]["amount"] for one in (listed, show)}
        return found

    assert await prices() == {1200}
    await run(engine, "UPDATE prices SET amount = 900 WHERE show_id = :id", id=hall.show_id)
    assert await prices() == {1200}, "kept for five minutes"
    await Newsroom(redis).show_changed(hall.show_id, movie_id)

    async def is_new() -> bool:
        return await prices() == {900}

    await eventually(is_new, message="the old price is still told")


async def test_seats_that_change_hands_change_the_counts(
    both: list[httpx2.AsyncClient], engine: AsyncEngine, redis: Redis
) -> None:
    hall = await create_hall(engine, seats=10)
    path = f"/api/show/{hall.show_id}"

    async def counts() -> set[int]:
        return {(await client.get(path)).json()["availability"]["available"] for client in both}

    assert await counts() == {10}
    await sell(engine, hall.show_id, redis=redis)

    async def is_counted() -> bool:
        return await counts() == {9}

    await eventually(is_counted, message="the seat is still counted as available")


async def test_availability_is_read_anew_when_a_seat_is_marked(
    both: list[httpx2.AsyncClient], engine: AsyncEngine, redis: Redis
) -> None:
    hall = await create_hall(engine, seats=4)
    path = f"/api/show/{hall.show_id}/availability"
    for label in hall.labels:
        await sell(engine, hall.show_id, label, redis=redis)

        async def is_seen(label: str = label) -> bool:
            answers = [(await client.get(path)).json() for client in both]
            return all(label in answer["seats"] for answer in answers)

        await eventually(is_seen)


@pytest.mark.parametrize("tells", [True, False])
async def test_who_wrote_reads_what_he_wrote_in_every_process(
    both: list[httpx2.AsyncClient],
    engine: AsyncEngine,
    monkeypatch: pytest.MonkeyPatch,
    tells: bool,
) -> None:
    """No news comes in; without the header the copy of before is sent: the negative control."""
    hall = await create_hall(engine, seats=20)
    paths = [f"/api/show/{hall.show_id}", f"/api/show/{hall.show_id}/availability"]
    monkeypatch.setattr("api.hot.sources.SEATS_SECONDS", 60.0)
    stale = 0
    for number, label in enumerate(hall.labels[:6], start=1):
        for client in both:
            for path in paths:
                await client.get(path)
        await sell(engine, hall.show_id, label)
        headers = nothing_older() if tells else {}
        for client in both:
            show, seats = [(await client.get(path, headers=headers)).json() for path in paths]
            stale += show["availability"]["available"] != 20 - number
            stale += label not in seats["seats"]
    assert (stale == 0) is tells


async def test_with_redis_away_reads_go_on_and_are_seconds_old(
    settings: Settings, engine: AsyncEngine
) -> None:
    app = create_app(settings.model_copy(update={"redis_url": _nowhere(settings)}))
    hall = await create_hall(engine, seats=10)
    path = f"/api/show/{hall.show_id}"
    async with app.router.lifespan_context(app), client_of(app) as client:
        assert (await client.get(path)).json()["availability"]["available"] == 10
        await sell(engine, hall.show_id)

        async def is_seen() -> bool:
            return bool((await client.get(path)).json()["availability"]["available"] == 9)

        await eventually(is_seen)


def _nowhere(settings: Settings) -> Any:
    return type(settings.redis_url)("redis://127.0.0.1:1/0")


@pytest.mark.parametrize("path", ["/api/show/{id}", "/api/show/{id}/availability"])
async def test_the_ready_answer_is_the_one_that_the_framework_gives(
    both: list[httpx2.AsyncClient], engine: AsyncEngine, asked: Counter[str], path: str
) -> None:
    hall = await create_hall(engine, seats=300)
    await run(
        engine,
        "INSERT INTO seat_claims (show_id, label, state)"
        " SELECT :show, label, 'sold' FROM unnest(CAST(:labels AS text[])) AS label",
        show=hall.show_id,
        labels=list(hall.labels),
    )
    url = path.format(id=hall.show_id)
    sent = {"X-Request-Id": "mine", "Accept-Encoding": "gzip"}
    first = await both[0].get(url, headers=sent)
    asked.clear()
    again = await both[0].get(url, headers=sent)
    assert asked[str(hall.show_id)] == 0
    assert (again.status_code, again.content) == (200, first.content)
    assert sorted(again.headers.items()) == sorted(first.headers.items())
    assert again.headers["x-request-id"] == "mine"
    assert again.headers["x-content-type-options"] == "nosniff"
    assert again.headers["cache-control"].startswith("public, ")
    plain = await both[0].get(url, headers={"Accept-Encoding": "identity"})
    assert plain.json() == first.json()
    for tag in (plain.headers["etag"], first.headers["etag"]):
        packed = "gzip" if tag == first.headers["etag"] else "identity"
        kept = await both[0].get(url, headers={"If-None-Match": tag, "Accept-Encoding": packed})
        assert (kept.status_code, kept.content) == (304, b"")
        assert kept.headers["vary"] == "Accept-Encoding, Read-After"


async def test_made_up_addresses_do_not_keep_the_true_one_from_the_fast_way(
    both: list[httpx2.AsyncClient], app: FastAPI, engine: AsyncEngine
) -> None:
    """As pages add the time to an address so that no cache answers."""
    hall = await create_hall(engine)
    path = f"/api/show/{hall.show_id}"
    shelf = app.state.parts.shelf
    for number in range(20):
        await both[0].get(f"{path}?_={number}")
    await both[0].get(path)
    assert shelf.ready(path, 0) is not None
    urls = shelf._kept[f"show:{hall.show_id}"].urls
    assert len(urls) == 8
    assert [url for url in shelf._by_url if str(hall.show_id) in url] == urls


async def test_a_question_mark_in_the_path_asks_for_nothing_that_is_ready(
    both: list[httpx2.AsyncClient], engine: AsyncEngine
) -> None:
    hall = await create_hall(engine)
    movie_id = await movie_of(engine, hall)
    assert (await both[0].get(f"/api/shows/{movie_id}?city=Berlin")).status_code == 200
    assert (await both[0].get(f"/api/shows/{movie_id}%3Fcity=Berlin")).status_code == 404
