"""``make bench-webhooks``: what storing a webhook costs beside storing its bare row."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import psutil
import uvloop
from sqlalchemy import text
from standardwebhooks import Webhook

from bench import report
from bench.cpu import Meter, latency
from bench.wire import CONNECTIONS, Wire, hammer
from infra.postgres.database import Database
from infra.settings import Settings
from infra.temporal import connect
from seathold.stack.stack import Stack

Json: TypeAlias = dict[str, Any]
ROUNDS = 4
EVENTS = 4000
ROUNDS_AT_HALF = 7
SECONDS_AT_HALF = 1.5
SETTINGS = {"SEATHOLD_RATE_LIMIT_PER_MINUTE": "0", "SEATHOLD_LOG_LEVEL": "WARNING"}
BARE = text("""
INSERT INTO webhook_inbox (provider, event_id, event_type, body, request_id, status, reason)
VALUES (:provider, :event_id, :event_type, :body, :request_id, 'pending', NULL)
""")
Send = Callable[[int], Awaitable[None]]


class Events:
    """Events as the sandbox makes them, each of its own; signed when they are asked for."""

    def __init__(self, secret: str) -> None:
        self._webhook = Webhook(secret)
        self._number = count()

    def row(self) -> tuple[str, bytes]:
        """The id and the body of one more."""
        number = next(self._number)
        data = {
            "payment_id": f"pay_{number:024x}",
            "session_id": f"ses_{number:024x}",
            "reference": "0b6b2c39-5b5b-4b1e-9d5a-1f0a7f3f8f11",
            "status": "captured",
            "amount": 2400,
            "currency": "EUR",
            "captured": 2400,
            "refunded": 0,
        }
        body = {"type": "payment.captured", "timestamp": "2026-01-01T00:00:00Z", "data": data}
        return f"evt_{os.getpid():x}_{number:016x}", orjson.dumps(body)

    def request(self) -> bytes:
        """A whole signed request."""
        (event_id, body), now = self.row(), datetime.now(UTC)
        head = (
            "POST /api/webhooks/sandbox HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"webhook-id: {event_id}\r\nwebhook-timestamp: {int(now.timestamp())}\r\n"
            f"webhook-signature: {self._webhook.sign(event_id, now, body.decode())}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class BareRows:
    """The least that storing it can be: one insert, one transaction, through the same pool."""

    def __init__(self, database: Database, events: Events) -> None:
        self._database = database
        self._events = events

    async def insert(self, event_id: str, body: bytes) -> None:
        async with self._database.statements() as session:
            await session.change(
                BARE,
                provider="sandbox",
                event_id=event_id,
                event_type="payment.captured",
                body=body,
                request_id="0b6b2c39-5b5b-4b1e-9d5a-1f0a7f3f8f11",
            )

    async def rate(self, rows: int) -> float:
        """Rows a second by as many at a time as ``hammer`` has connections."""
        wanted = [self._events.row() for _ in range(rows)]

        async def some(share: Sequence[tuple[str, bytes]]) -> None:
            for row in share:
                await self.insert(*row)

        began = time.perf_counter()
        await asyncio.gather(*(some(wanted[at::CONNECTIONS]) for at in range(CONNECTIONS)))
        return rows / (time.perf_counter() - began)


async def measure(info: Json) -> None:
    settings = Settings(_env_file=None, database_url=info["database_url"])
    database = Database(settings, application_name="bench")
    events = Events(info["webhook_secret"])
    bare, apis = BareRows(database, events), info["processes"]["api"]
    port = int(info["api_url"].rpartition(":")[2])
    await hammer(port, [events.request() for _ in range(EVENTS // 2)], status=204)
    await bare.rate(EVENTS // 2)
    runs = await _rates(port, events, bare, apis)
    best = {name: max(found, key=lambda run: run["per_second"]) for name, found in runs.items()}
    rate = best["webhooks"]["per_second"]
    at_half = await _at_half(port, events, bare, rate * len(apis) / 2)
    await database.close()
    ratios = {
        "stored_rate": report.ratio(rate / best["bare"]["per_second"], 0.5, "higher"),
        "p99_at_half_rate": report.ratio(
            at_half["webhooks"]["p99_ms"] / at_half["bare"]["p99_ms"], 5, "lower"
        ),
    }
    words = {
        "stored_rate": f"{rate}/s an API process, {best['bare']['per_second']}/s bare",
        "p99_at_half_rate": f"{at_half['webhooks']['p99_ms']} ms, {at_half['bare']['p99_ms']} ms"
        f" at {at_half['per_second']}/s",
    }
    figures = {
        "in_words": words,
        "best": best,
        "at_half_rate": at_half,
        "api_processes": len(apis),
        "runs": runs,
    }
    report.write("webhooks", ratios, figures, await report.servers(info, await connect(Settings())))


async def _rates(
    port: int, events: Events, bare: BareRows, apis: Sequence[int]
) -> dict[str, list[Json]]:
    """As many as go through, alternately, so that the machine's mood hits both."""
    runs: dict[str, list[Json]] = {"webhooks": [], "bare": []}
    for _ in range(ROUNDS):
        requests = [events.request() for _ in range(EVENTS)]
        meter = Meter({"api": apis})
        rate = await hammer(port, requests, status=204)
        spent = meter.spent(EVENTS)["api"]
        runs["webhooks"].append({"per_second": round(rate / len(apis), 1), "api_cpu_ms": spent})
        runs["bare"].append({"per_second": round(await bare.rate(EVENTS), 1)})
    return runs


async def _at_half(port: int, events: Events, bare: BareRows, per_second: float) -> Json:
    """Latencies at a fixed rate that waits for nobody, alternately.

    Of several rounds the middle one counts for each: a moment in which the machine stands still
    is not to decide.
    """
    rounds: dict[str, list[Json]] = {"webhooks": [], "bare": []}
    number = int(per_second * SECONDS_AT_HALF)
    wires: asyncio.Queue[Wire] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        wires.put_nowait(await Wire.open(port))
    for _ in range(ROUNDS_AT_HALF):
        requests = [events.request() for _ in range(number)]

        async def send(place: int, requests: Sequence[bytes] = requests) -> None:
            wire = await wires.get()
            status, _ = await wire.send(requests[place])
            wires.put_nowait(wire)
            if status != 204:
                raise RuntimeError(f"{status} instead of 204")

        rounds["webhooks"].append(latency(await _open_loop(number, per_second, send)))
        rows = [events.row() for _ in range(number)]

        async def insert(place: int, rows: Sequence[tuple[str, bytes]] = rows) -> None:
            await bare.insert(*rows[place])

        rounds["bare"].append(latency(await _open_loop(number, per_second, insert)))
    while not wires.empty():
        await wires.get_nowait().close()
    middle: Json = {
        name: sorted(found, key=lambda one: float(one["p99_ms"]))[len(found) // 2]
        for name, found in rounds.items()
    }
    return {**middle, "per_second": round(per_second, 1), "rounds": rounds}


async def _open_loop(number: int, per_second: float, send: Send) -> list[float]:
    """Start one whenever its time has come; each is measured from that time on."""
    clock = time.perf_counter
    began = clock() + 0.1

    async def one(place: int) -> float:
        due = began + place / per_second
        await asyncio.sleep(due - clock())
        await send(place)
        return clock() - due

    return list(await asyncio.gather(*(one(place) for place in range(number))))


@contextmanager
def _halted(pids: Sequence[int]) -> Iterator[None]:
    """Nobody works the inbox meanwhile: what is measured is storing."""
    roots = [psutil.Process(pid) for pid in pids]
    all_of_them = [*roots, *(child for root in roots for child in root.children(recursive=True))]
    for process in all_of_them:
        process.suspend()
    try:
        yield
    finally:
        for process in all_of_them:
            process.resume()


def main() -> None:
    """Start a stack, halt its workers, store webhooks and bare rows by turns; end it."""
    print("bench-webhooks: a stack of its own; about a minute …")
    with tempfile.TemporaryDirectory(prefix="seathold-bench-") as folder:
        Path(folder).chmod(0o711)
        with Stack(Path(folder), ports="auto", env=SETTINGS) as stack:
            os.environ["TEMPORAL_ADDRESS"] = stack.info["temporal_address"]
            with _halted(stack.info["processes"]["worker"]):
                uvloop.run(measure(stack.info))
