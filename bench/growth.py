"""``make bench-growth``: what a hundred times the bookings do to a reserve and to two reads."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psycopg
import uvloop

from bench import report
from bench.buyers import PASSWORD, Crowd, Json
from bench.cpu import latency
from bench.saga import SETTINGS
from bench.wire import Wire
from infra.settings import Settings
from infra.temporal import connect
from seathold.stack import postgres, secrets
from seathold.stack.stack import Stack

FEW = 10_000
MANY = int(os.environ.get("BENCH_GROWTH_BOOKINGS", "1000000"))
FILL = (Path(__file__).parent / "growth.sql").read_text()
FILLED = ("bookings", "booking_seats", "seat_claims", "booking_requests", "payments", "events")
# Alternately, so that the machine's mood hits both.
ROUNDS, RESERVES, READS = 8, 15, 50
REST_SECONDS = 0.1
MOST = 1.2


@dataclass
class Side:
    """One stack with its bookings, and those who ask it."""

    info: Json
    crowd: Crowd
    api: httpx2.AsyncClient
    headers: dict[str, str]
    buyer: str
    movie: str

    async def reserve(self) -> float:
        # The API ends connections that rest, and each side rests while the other is asked.
        wire = await Wire.open(int(self.info["api_url"].rpartition(":")[2]))
        took = await self.crowd.reserve(wire)
        await wire.close()
        await asyncio.sleep(REST_SECONDS)
        return took

    async def user_bookings(self) -> float:
        return await self._get(f"/api/booking/user/{self.buyer}")

    async def shows_by_movie(self) -> float:
        return await self._get(f"/api/shows/{self.movie}")

    async def _get(self, path: str) -> float:
        began = time.perf_counter()
        answer = await self.api.get(path, headers=self.headers)
        took = time.perf_counter() - began
        answer.raise_for_status()
        return took


async def ready(folder: Path, info: Json, count: int) -> Side:
    """Fill one stack with ``count`` bookings."""
    os.environ["TEMPORAL_ADDRESS"] = info["temporal_address"]
    client = await connect(Settings())
    api = httpx2.AsyncClient(base_url=info["api_url"], timeout=60)
    body = {"email": "buyer@example.test", "name": "Ada", "password": PASSWORD}
    buyer = (await api.post("/api/auth/register", json=body)).json()["user"]["id"]
    began = time.perf_counter()
    await asyncio.to_thread(fill, superuser_url(folder, info), count, buyer)
    print(f"  {count} bookings written in {time.perf_counter() - began:.0f} s")
    with psycopg.connect(info["database_url"]) as connection:
        row = connection.execute("SELECT id FROM movies WHERE source_key = 'bulk 3'").fetchone()
    assert row is not None
    crowd = Crowd(info, client)
    await crowd.gather()
    login = {"email": body["email"], "password": PASSWORD}
    token = (await api.post("/api/auth/login", json=login)).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    return Side(info, crowd, api, headers, buyer, str(row[0]))


def superuser_url(folder: Path, info: Json) -> str:
    """Nobody else may leave out the triggers and write the times."""
    port = urlsplit(info["database_url"]).port
    assert port is not None
    return postgres.database_url(port, secrets.load(folder / "secrets.json").database_password)


def fill(url: str, count: int, buyer: str) -> None:
    """Write the bookings, then let PostgreSQL look at what it has."""
    with psycopg.connect(url, autocommit=True) as connection:
        while True:
            live = connection.execute("SELECT count(*) FROM projections WHERE state = 'live'")
            found = live.fetchone()
            if found is not None and found[0]:
                break
            time.sleep(0.2)
        cursor = psycopg.ClientCursor(connection)
        cursor.execute("BEGIN")
        cursor.execute(FILL.encode(), {"count": count, "buyer": buyer})
        cursor.execute("COMMIT")
        for table in FILLED:
            cursor.execute(f"VACUUM ANALYZE {table}".encode())
        cursor.execute("ANALYZE")
        cursor.execute("CHECKPOINT")


async def measure(stacks: dict[str, tuple[Path, Json]]) -> None:
    sides = {
        "few": await ready(*stacks["few"], FEW),
        "many": await ready(*stacks["many"], MANY),
    }
    took: dict[str, dict[str, list[float]]] = {
        name: {side: [] for side in sides}
        for name in ("reserve", "user_bookings", "shows_by_movie")
    }
    for turn in range(ROUNDS + 1):
        for name, of in took.items():
            for side, asked in sides.items():
                unit: Callable[[], Awaitable[float]] = getattr(asked, name)
                samples = [await unit() for _ in range(RESERVES if name == "reserve" else READS)]
                # The first round only warms up.
                of[side] += samples if turn else []
    figures = {
        name: {side: latency(samples) for side, samples in of.items()} for name, of in took.items()
    }
    ratios = {
        name: report.ratio(of["many"]["p50_ms"] / of["few"]["p50_ms"], MOST, "lower")
        for name, of in figures.items()
    }
    words = {
        name: f"{of['many']['p50_ms']} ms at {MANY} bookings, {of['few']['p50_ms']} ms at {FEW}"
        for name, of in figures.items()
    }
    told: dict[str, Any] = {"in_words": words, **figures}
    info = sides["few"].info
    os.environ["TEMPORAL_ADDRESS"] = info["temporal_address"]
    servers = await report.servers(info, await connect(Settings()))
    report.write("growth", ratios, told, servers)


def main() -> None:
    """Two stacks at once, of few and of many bookings, asked alternately."""
    print(f"bench-growth: two stacks, {FEW} and {MANY} bookings; about ten minutes …")
    with ExitStack() as stack:
        stacks = {}
        for name in ("few", "many"):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="seathold-bench-"))
            Path(folder).chmod(0o711)
            running = stack.enter_context(Stack(Path(folder), ports="auto", env=SETTINGS))
            stacks[name] = Path(folder), running.info
        uvloop.run(measure(stacks))
