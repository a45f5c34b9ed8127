"""``make bench-stream``: fifty thousand watchers of one show, and a change's way."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import psutil
import psycopg
import uvloop
from redis.asyncio import Redis
from temporalio.client import Client

from bench import report
from bench.cpu import Meter
from bench.flood import get, whole_answer
from infra.redis.seat_claims import RedisSeatPreclaims
from seathold.stack.ports import port_of, reserve
from seathold.stack.stack import Stack

Json: TypeAlias = dict[str, Any]
# A process may have fewer than 20,000 descriptors, so both sides are spread.
PROCESSES = 3
WATCHERS = int(os.environ.get("BENCH_WATCHERS", "50000"))
CHANGES = 10
AT_MOST_SECONDS = 420
SETTINGS = {"SEATHOLD_RATE_LIMIT_PER_MINUTE": "0", "SEATHOLD_LOG_LEVEL": "WARNING"}
A_SHOW = """
SELECT shows.id, array_agg(label ORDER BY position) FROM shows JOIN seats USING (seat_map_id)
WHERE starts_at > now() + interval '1 hour' AND status = 'on_sale'
GROUP BY shows.id ORDER BY shows.id LIMIT 1
"""
SELL = "INSERT INTO seat_claims (show_id, label, state) VALUES (%s, %s, 'sold')"


class Watchers:
    """One process of readers."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def hear(self, word: str) -> float:
        """The number that comes with the next line, which must begin with ``word``."""
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode().split()
        if line[:1] != [word]:
            raise RuntimeError(f"a watcher said {line} instead of {word}")
        return float(line[1]) if len(line) > 1 else 0.0

    async def end(self) -> int:
        """How many lost their stream."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return int(await self.hear("lost"))


def main() -> None:
    print(f"bench-stream: {WATCHERS} watchers on a stack of its own; about three minutes …")
    with tempfile.TemporaryDirectory(prefix="seathold-bench-") as folder:
        Path(folder).chmod(0o711)
        with Stack(Path(folder), ports="auto", env=SETTINGS) as stack:
            uvloop.run(_bounded(stack.info))


async def _bounded(info: Json) -> None:
    async with asyncio.timeout(AT_MOST_SECONDS), AsyncExitStack() as stack:
        await measure(info, stack)


async def measure(info: Json, stack: AsyncExitStack) -> None:
    show_id, labels = _a_show(info)
    apis = [await stack.enter_async_context(_api(info)) for _ in range(PROCESSES)]
    path = f"/api/show/{show_id}/availability/stream"
    pids = [pid for _, pid in apis]
    # What the first reader costs is not what a reader costs.
    for port, _ in apis:
        await whole_answer(port, get(f"/api/show/{show_id}/availability"))
    empty = _resident(pids)
    began = time.monotonic()
    watchers = [
        await stack.enter_async_context(_watchers(number, port, path))
        for number, (port, _) in enumerate(apis)
    ]
    for each in watchers:
        await each.hear("ready")
    opened_in = time.monotonic() - began
    meter = Meter({"api": pids})
    await meter.rest(5)
    held = _resident(pids)
    redis = Redis.from_url(info["redis_url"])
    changes = [await _change(info, redis, show_id, label, watchers, meter) for label in labels]
    await redis.aclose()
    lost = sum([await each.end() for each in watchers])
    await _report(info, changes, held - empty, lost, opened_in)


async def _change(
    info: Json,
    redis: Redis,
    show_id: UUID,
    label: str,
    watchers: Sequence[Watchers],
    meter: Meter,
) -> Json:
    """A seat is sold; when the last watcher had it, and what that cost."""
    meter.start()
    began = time.monotonic()
    async with await psycopg.AsyncConnection.connect(
        info["database_url"], autocommit=True
    ) as connection:
        await connection.execute(SELL, (show_id, label))
    # As after a sale: the marks are written, and with them the news.
    await RedisSeatPreclaims(redis).sell(show_id, [label], uuid4())
    told = [await each.hear("told") for each in watchers]
    await asyncio.sleep(1.5)
    return {"last_seconds": round(max(told) - began, 3), "cpu_seconds": meter.spent(1000)["api"]}


async def _report(
    info: Json, changes: list[Json], resident: int, lost: int, opened_in: float
) -> None:
    each_kib = resident / 1024 / WATCHERS
    last = max(change["last_seconds"] for change in changes)
    cpu = median(change["cpu_seconds"] for change in changes)
    ratios = {
        "lost": report.ratio(lost, 0, "lower"),
        "resident_kib_each": report.ratio(each_kib, 12, "lower"),
        "last_told_seconds": report.ratio(last, 3, "lower"),
        "cpu_seconds_a_change": report.ratio(cpu, 0.6, "lower"),
    }
    words = {
        "lost": f"{WATCHERS} watchers in {PROCESSES} API processes",
        "resident_kib_each": f"{resident / 1024**2:.0f} MiB more than without them",
        "last_told_seconds": f"the slowest of {len(changes)} changes",
        "cpu_seconds_a_change": f"all API processes together, median of {len(changes)}",
    }
    figures = {
        "in_words": words,
        "watchers": WATCHERS,
        "opened_in_seconds": round(opened_in, 1),
        "changes": changes,
    }
    client = await Client.connect(info["temporal_address"])
    report.write("stream", ratios, figures, await report.servers(info, client))


def _a_show(info: Json) -> tuple[UUID, list[str]]:
    with psycopg.connect(info["database_url"], autocommit=True) as connection:
        row = connection.execute(A_SHOW).fetchone()
    assert row is not None, "the seed has shows"
    return row[0], row[1][:CHANGES]


def _resident(pids: Sequence[int]) -> int:
    return sum(psutil.Process(pid).memory_info().rss for pid in pids)


@asynccontextmanager
async def _api(info: Json) -> AsyncIterator[tuple[int, int]]:
    """One more API process of the stack, on a port of its own; the port and the process id."""
    held = reserve(0, "auto", set())
    port = port_of(held)
    held.close()
    env = {
        **os.environ,
        **SETTINGS,
        "SEATHOLD_DATABASE_URL": info["database_url"],
        "SEATHOLD_REDIS_URL": info["redis_url"],
        "TEMPORAL_ADDRESS": info["temporal_address"],
        "SEATHOLD_SANDBOX_URL": info["sandbox_url"],
        "SEATHOLD_WEBHOOK_SECRET": info["webhook_secret"],
    }
    async with _process(["seathold", "api", "--port", str(port)], env) as process:
        while True:
            try:
                answer = await whole_answer(port, get("/healthz"))
            except OSError:
                await asyncio.sleep(0.1)
                continue
            assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
            break
        yield port, process.pid


@asynccontextmanager
async def _watchers(number: int, port: int, path: str) -> AsyncIterator[Watchers]:
    count = WATCHERS // PROCESSES + (number < WATCHERS % PROCESSES)
    source = f"127.0.1.{number + 1}"
    arguments = ["bench.watchers", source, str(port), path, str(count)]
    async with _process(arguments, os.environ) as process:
        yield Watchers(process)


@asynccontextmanager
async def _process(
    arguments: Sequence[str], env: Mapping[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", *arguments),
        env=dict(env),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
