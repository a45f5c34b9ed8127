"""What those who run it can ask, and what keeps it from starting."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx2
import psycopg
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from api.app import create_app
from infra.postgres.database import Database
from infra.postgres.engine import create_engine
from infra.postgres.guards import require_guards
from infra.redis.client import create_redis
from infra.settings import Settings
from tests.conftest import WORKER
from tests.fixtures import servers
from tests.helpers.accounts import replaced_parts
from tests.helpers.eventually import eventually
from tests.helpers.relay import Relay

Client = httpx2.AsyncClient

NOWHERE = Settings(
    database_url=SecretStr("postgresql://x:x@127.0.0.1:1/x"),
    redis_url=SecretStr("redis://127.0.0.1:1/0"),
)


@dataclass
class TemporalService:
    """Temporal's client as the health check sees it."""

    is_there: bool

    @property
    def service_client(self) -> TemporalService:
        return self

    async def check_health(self) -> bool:
        if not self.is_there:
            raise RuntimeError("a lazy client says so when it cannot connect")
        return True


async def test_a_process_that_answers_is_alive(client: Client) -> None:
    answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_a_process_is_ready_when_all_it_needs_is_there(app: FastAPI, client: Client) -> None:
    with replaced_parts(app, temporal=TemporalService(is_there=True)):
        answer = await client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "checks": {"database": "ok", "redis": "ok", "temporal": "ok"},
    }


@pytest.mark.parametrize("away", ["database", "redis", "temporal"])
async def test_what_is_away_is_named(app: FastAPI, client: Client, away: str) -> None:
    database, redis = Database(NOWHERE), create_redis(NOWHERE)
    parts: dict[str, dict[str, object]] = {
        "database": {"database": database},
        "redis": {"redis": redis},
        "temporal": {"temporal": TemporalService(is_there=False)},
    }
    changes = {"temporal": TemporalService(is_there=True), **parts[away]}
    with replaced_parts(app, **changes):
        answer = await client.get("/readyz")
        alive = await client.get("/healthz")
    await database.close()
    await redis.aclose()
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    checks = answer.json()["checks"]
    assert checks.pop(away) == "unavailable"
    assert set(checks.values()) == {"ok"}
    assert alive.status_code == 200


async def test_a_database_that_hangs_keeps_no_answer_about_us_waiting(
    app: FastAPI, client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ending what was asked of it takes psycopg ten seconds."""
    monkeypatch.setattr("api.queries.health.CHECK_SECONDS", 0.2)
    async with Relay.to(settings.database_url.get_secret_value()) as line:
        url = type(settings.database_url)(line.url)
        silent = Database(settings.model_copy(update={"database_url": url}))
        async with silent.statements() as session:
            await session.one(text("SELECT 1"))
        line.speaks.clear()
        changes = {"database": silent, "temporal": TemporalService(is_there=True)}
        with replaced_parts(app, **changes):
            async with asyncio.timeout(5):
                answer = await client.get("/readyz")
                counted = await client.get("/metrics")
        line.speaks.set()

        async def has_all_back() -> bool:
            return "Connections in pool: 0" not in silent._engine.pool.status()

        await eventually(has_all_back, seconds=30)
        await silent.close()
    assert answer.status_code == 503
    assert answer.json()["checks"]["database"] == "unavailable"
    assert counted.status_code == 200


async def test_requests_are_counted_by_the_routes_template(client: Client) -> None:
    for path in ("/api/booking/x", "/nothing/here", "/nothing/there"):
        await client.get(path)
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    labels = 'method="GET",route="/api/booking/{booking_id}"'
    assert f'seathold_http_requests_total{{{labels},status="401"}}' in answer.text
    assert f"seathold_http_request_seconds_count{{{labels}}}" in answer.text
    assert 'route="unmatched",status="404"' in answer.text
    assert "/nothing" not in answer.text
    assert "process_resident_memory_bytes" in answer.text


@pytest.fixture
def elsewhere_settings(settings: Settings) -> Settings:
    """A database of its own, with a table of seat claims that nothing guards yet."""
    url = servers.make_database(os.environ[servers.DATABASE], f"seathold_guards_{WORKER}")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE seat_claims RENAME TO guarded")
        connection.execute("DROP INDEX seat_claims_show_label_key")
        connection.execute("CREATE TABLE seat_claims (LIKE guarded)")
    return servers.settings_for(url, settings.redis_url.get_secret_value())


@pytest.fixture
async def elsewhere(elsewhere_settings: Settings) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(elsewhere_settings)
    yield engine
    await engine.dispose()


@pytest.fixture
async def elsewhere_database(elsewhere_settings: Settings) -> AsyncIterator[Database]:
    database = Database(elsewhere_settings)
    yield database
    await database.close()


@pytest.mark.parametrize(
    "index",
    [
        None,
        "CREATE INDEX {name} ON seat_claims (show_id, label)",
        "CREATE UNIQUE INDEX {name} ON seat_claims (show_id)",
        "CREATE UNIQUE INDEX {name} ON seat_claims (show_id, label) WHERE state = 'held'",
        "CREATE UNIQUE INDEX another ON seat_claims (show_id, label)",
    ],
    ids=["missing", "not unique", "other columns", "partial", "another name"],
)
async def test_nothing_starts_without_the_index_that_guards_the_seats(
    elsewhere: AsyncEngine, elsewhere_database: Database, index: str | None
) -> None:
    if index is not None:
        async with elsewhere.begin() as connection:
            await connection.execute(text(index.format(name="seat_claims_show_label_key")))
    with pytest.raises(RuntimeError, match="seat_claims_show_label_key"):
        await require_guards(elsewhere_database)


async def test_nothing_starts_on_an_empty_database(
    elsewhere: AsyncEngine, elsewhere_database: Database
) -> None:
    async with elsewhere.begin() as connection:
        await connection.execute(text("DROP TABLE seat_claims"))
    with pytest.raises(RuntimeError, match="seathold migrate"):
        await require_guards(elsewhere_database)


async def test_an_index_that_was_never_finished_guards_nothing(
    elsewhere: AsyncEngine, elsewhere_database: Database
) -> None:
    """Doubled rows make a concurrent build fail and leave its index behind, invalid."""
    alone = elsewhere.execution_options(isolation_level="AUTOCOMMIT")
    async with alone.connect() as connection:
        await connection.execute(
            text(
                "INSERT INTO seat_claims (show_id, label, state, fence, updated_at)"
                " SELECT gen_random_uuid(), 'A1', 'free', 1, now() FROM generate_series(1, 2)"
            )
        )
        await connection.execute(
            text("UPDATE seat_claims SET show_id = (SELECT show_id FROM seat_claims LIMIT 1)")
        )
        with pytest.raises(IntegrityError):
            await connection.execute(
                text(
                    "CREATE UNIQUE INDEX CONCURRENTLY seat_claims_show_label_key"
                    " ON seat_claims (show_id, label)"
                )
            )
    with pytest.raises(RuntimeError, match="invalid"):
        await require_guards(elsewhere_database)


async def test_an_unguarded_api_does_not_start(elsewhere_settings: Settings) -> None:
    app = create_app(elsewhere_settings)
    with pytest.raises(RuntimeError, match="seat_claims_show_label_key"):
        async with app.router.lifespan_context(app):
            raise AssertionError("it started")


async def test_in_production_an_api_that_can_rewrite_the_past_does_not_start(
    settings: Settings, superuser_url: str
) -> None:
    owner = SecretStr(servers.as_owner(superuser_url))
    app = create_app(settings.model_copy(update={"env": "production", "database_url": owner}))
    with pytest.raises(RuntimeError, match="alter events"):
        async with app.router.lifespan_context(app):
            raise AssertionError("it started")


async def test_the_migrated_database_is_guarded(database: Database) -> None:
    await require_guards(database)


async def test_metrics_tell_how_far_projections_lag(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    """One that has everything: its place is after any event."""
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO projections (name, generation, state, xid, event_id)"
                " VALUES ('probe', 1, 'live', '9000000000000000000', 0)"
            )
        )
    told = (await client.get("/metrics")).text
    assert 'seathold_projection_lag_seconds{projection="probe"} 0.0' in told
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM projections WHERE name = 'probe'"))
    assert 'projection="probe"' not in (await client.get("/metrics")).text
