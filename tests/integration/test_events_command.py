"""``seathold events``: what is told as it happens, one stream, and chains that somebody broke."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner, Result

from domain import upcasters
from domain.money import Money
from infra.keys import KeyRing
from infra.opaque_tokens import OpaqueTokens
from infra.postgres.database import Database
from infra.postgres.engine import create_engine
from infra.postgres.users import PostgresAccounts
from readmodel import bookings
from seathold import events as command
from seathold import progress
from seathold.cli import app
from seathold.reading import connect
from services.session import NewSession
from services.user import NewUser
from tests.conftest import WORKER
from tests.factories import PRICE, create_hall
from tests.fixtures import servers
from tests.helpers.eventually import eventually
from tests.helpers.horizon import horizon_passed
from tests.helpers.till import Till

Connection = psycopg.Connection[tuple[object, ...]]
TOKENS = OpaqueTokens(KeyRing("a seed of this test alone"))


@dataclass
class Store:
    """An event store of its own, with one booking that was held, paid for and confirmed."""

    url: str
    database: Database
    booking: str
    by: Connection

    async def register(self) -> str:
        """One more stream of one event; its id."""
        name = uuid4()
        new = NewUser(name, f"{name}@example.test", "Ada", None, "x")
        accounts = PostgresAccounts(self.database, TOKENS, idle_seconds=60, seconds=60)
        await accounts.add(new, NewSession(uuid4(), str(name), None), request_id="req-1")
        return str(name)


@pytest.fixture
async def store(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    url = servers.make_database(os.environ[servers.DATABASE], f"seathold_events_{WORKER}")
    monkeypatch.setenv("SEATHOLD_DATABASE_URL", servers.as_app(url))
    database = Database(servers.settings_for(servers.as_app(url), "redis://127.0.0.1:1/0"))
    engine: AsyncEngine = create_engine(servers.settings_for(url, "redis://127.0.0.1:1/0"))
    till = Till(database, await create_hall(engine))
    input = await till.hold("A1", "A2")
    await till.confirm(input, await till.learn(input, "pay_1", Money(2 * PRICE, "EUR")))
    with psycopg.connect(url, autocommit=True) as by:
        # A forger who owns the server; the triggers are tested elsewhere.
        by.execute("SET session_replication_role = replica")
        yield Store(url, database, input.booking_id, by)
    await database.close()
    await engine.dispose()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["events", *arguments])


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_one_stream_is_shown_from_its_beginning(store: Store) -> None:
    shown = lines(run("show", store.booking, "--json"))
    assert [one["sequence"] for one in shown] == list(range(1, len(shown) + 1))
    assert [one["type"] for one in shown][:2] == ["ReservationCreated", "SeatLocked"]
    assert {one["aggregate_id"] for one in shown} == {store.booking}
    assert shown[0]["request_id"] == "test-request"
    assert shown[0]["actor"]
    words = run("show", store.booking).stdout.splitlines()
    assert len(words) == len(shown)
    assert f"SeatLocked by {shown[1]['actor']}" in words[1]


def test_a_stream_that_is_not_there_is_no_success(store: Store) -> None:
    for told in (run("show", str(uuid4())), run("verify", str(uuid4()))):
        assert told.exit_code == 1
        assert "There is no event of" in told.output


async def test_the_newest_events_are_told_oldest_first(store: Store) -> None:
    ada = await store.register()
    await horizon_passed(store.database)
    told = lines(run("tail", "-n", "2", "--json"))
    assert [one["aggregate_id"] for one in told] == [store.booking, ada]
    told = lines(run("tail", "--json", "--type", "SeatLocked"))
    assert [one["type"] for one in told] == ["SeatLocked"]
    told = lines(run("tail", "--json", "--aggregate", ada))
    assert [(one["type"], one["request_id"]) for one in told] == [("UserRegistered", "req-1")]
    assert run("tail", "-n", "0").stdout == ""


class Enough(Exception):
    pass


class Follower:
    """Follows in a thread until it has heard of ``wanted`` aggregates."""

    def __init__(self, store: Store, wanted: int) -> None:
        self.heard: list[str] = []
        self._wanted = wanted
        self._url = servers.as_app(store.url)

    def hear(self, line: str) -> None:
        self.heard.append(json.loads(line)["aggregate_id"])
        if len(self.heard) == self._wanted:
            raise Enough

    def follow(self) -> None:
        with pytest.raises(Enough):
            command.tail(
                self._url,
                self.hear,
                limit=1,
                follow=True,
                event_type="UserRegistered",
                aggregate=None,
                as_json=True,
            )


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "LOOK_AGAIN_SECONDS", 0.02)


async def test_a_follower_hears_what_was_committed_late(store: Store, quick: None) -> None:
    """A lower id whose transaction ends after a higher one is neither lost nor out of order."""
    first = await store.register()
    follower = Follower(store, wanted=3)
    following = asyncio.create_task(asyncio.to_thread(follower.follow))
    with psycopg.connect(servers.as_app(store.url)) as slow:
        early = uuid4()
        slow.execute(
            "INSERT INTO events (aggregate_id, sequence, event_type, payload, actor, version,"
            " previous_hash, hash) VALUES (%s, 1, 'UserRegistered', '{}', 'x', 1, '', '')",
            (early,),
        )
        late = await store.register()
        await asyncio.sleep(0.1)
        # Not heard while something older may still come.
        assert follower.heard in ([], [first])
    await asyncio.wait_for(following, 10)
    assert follower.heard == [first, str(early), late]


async def test_a_follower_does_not_look_through_again_what_it_does_not_want(
    store: Store, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rarer the wanted, the more it would read each time, and the longer it follows."""
    after: list[int] = []

    class Watched:
        """The connection, and after which event the next ones were asked for."""

        def __init__(self, db: Connection) -> None:
            self._db = db

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            self._db.close()

        def execute(self, query: str, values: dict[str, Any] | None = None) -> Any:
            if query == command.NEXT and values is not None:
                after.append(values["id"])
                if len(after) > 500:
                    raise Enough
            return self._db.execute(query.encode(), values)

    monkeypatch.setattr(command, "connect", lambda url: Watched(connect(url)))
    follower = Follower(store, wanted=2)
    first = await store.register()
    following = asyncio.create_task(asyncio.to_thread(follower.follow))

    async def is_following() -> bool:
        return bool(after)

    await eventually(is_following)
    unwanted = store.by.execute(
        "INSERT INTO events (aggregate_id, sequence, event_type, payload, actor, version,"
        " previous_hash, hash)"
        " VALUES (gen_random_uuid(), 1, 'ProfileChanged', '{}', 'x', 1, '', '') RETURNING id"
    ).fetchone()
    assert unwanted is not None

    async def is_passed() -> bool:
        return after[-1:] == [unwanted[0]]

    await eventually(is_passed, message="what it does not want is before it for ever")
    last = await store.register()
    await asyncio.wait_for(following, 10)
    assert follower.heard == [first, last]


def test_what_nobody_touched_is_whole(store: Store) -> None:
    one, whole = run("verify", store.booking), run("verify", "--all")
    assert (one.exit_code, whole.exit_code) == (0, 0)
    assert "1 aggregates: none broken" in one.stdout
    assert "none broken" in whole.stdout


FORGERIES = [
    ("UPDATE events SET payload = payload || '{\"x\": 1}' WHERE sequence = 3", "no. 3 "),
    ("UPDATE events SET actor = 'somebody' WHERE sequence = 2", "no. 2 "),
    ("UPDATE events SET request_id = 'another' WHERE sequence = 2", "no. 2 "),
    ("UPDATE events SET event_type = 'SeatReleased' WHERE sequence = 2", "no. 2 "),
    ("UPDATE events SET event_type = 'Nonsense' WHERE sequence = 2", "no. 2 "),
    ("UPDATE events SET schema_version = 2 WHERE sequence = 4", "no. 4 "),
    ("UPDATE events SET aggregate_id = gen_random_uuid() WHERE sequence = 1", "no. 1 "),
    ("DELETE FROM events WHERE sequence = 3", "no. 3 is missing"),
    ("DELETE FROM events WHERE sequence = 1", "no. 1 is missing"),
    (
        "DELETE FROM events WHERE sequence = (SELECT max(sequence) FROM events)",
        "as its last event",
    ),
    (
        "UPDATE events SET actor = 'somebody', hash = sha256('x') WHERE sequence = 3",
        "no. 4 ",
    ),
]


@pytest.mark.parametrize(("forgery", "named"), FORGERIES)
def test_what_was_forged_is_named(store: Store, forgery: str, named: str) -> None:
    store.by.execute(forgery.encode())
    told = run("verify", "--all")
    assert told.exit_code == 1
    assert named in told.stdout
    assert "none broken" not in told.stdout


def test_one_stream_is_judged_by_itself(store: Store) -> None:
    store.by.execute("UPDATE events SET actor = 'x' WHERE aggregate_id = %s", (store.booking,))
    assert run("verify", store.booking).exit_code == 1


def test_either_one_or_all_are_verified(store: Store) -> None:
    assert run("verify").exit_code == 2
    assert run("verify", store.booking, "--all").exit_code == 2


def test_many_streams_are_read_in_batches(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "BATCH", 3)
    assert run("verify", "--all").exit_code == 0
    store.by.execute("UPDATE events SET actor = 'x' WHERE sequence = 4")
    assert "no. 4 " in run("verify", "--all").stdout


def test_a_long_look_says_how_far_it_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "BATCH", 3)
    assert run("verify", "--all").stderr == ""
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0)
    count = int(run("verify", "--all").stdout.split()[0])
    assert run("verify", "--all").stderr.splitlines()[0] == f"... 3 of {count} events"


@pytest.fixture
def second_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of this release a seat is told by its place."""
    monkeypatch.setitem(
        upcasters.UPCASTERS,
        ("SeatLocked", 1),
        lambda told: {"labels": [f"seat {seat['label']}" for seat in told["seats"]]},
    )


async def test_a_row_of_an_older_version_reads_as_the_newest_and_stays_whole(
    store: Store, second_version: None
) -> None:
    async with store.database.statements() as session:
        told = await bookings.timeline(session, UUID(store.booking))
    assert "seat A1, seat A2 went on hold." in [one["text"] for one in told]
    assert "seat A1" in run("show", store.booking).stdout
    [stored] = [
        one for one in lines(run("show", store.booking, "--json")) if one["type"] == "SeatLocked"
    ]
    assert stored["schema_version"] == 1
    assert stored["payload"]["seats"]
    assert run("verify", "--all").exit_code == 0


async def test_a_row_of_a_later_release_breaks_no_timeline(store: Store) -> None:
    store.by.execute("UPDATE events SET schema_version = 9 WHERE sequence = 2")
    async with store.database.statements() as session:
        told = await bookings.timeline(session, UUID(store.booking))
    assert told[1]["text"] == "SeatLocked."
