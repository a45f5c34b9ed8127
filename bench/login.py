"""``make bench-login``: what log-ins from everywhere do to the reserves of those who are in."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import psycopg
import uvloop

from bench import report
from bench.buyers import PASSWORD, Json
from bench.cpu import latency
from bench.wire import Wire
from infra.settings import Settings
from infra.temporal import connect
from seathold.stack.stack import Stack

RESERVES_PER_SECOND = 10
SECONDS = 20
ROUNDS = 3
BUYERS = 60
ADDRESSES = 200
# Nobody at this door waits as long as it says.
REFUSED_PAUSE_SECONDS = 1.0
SETTINGS = {
    # The limiter is on, and believes us when we say that each log-in comes from elsewhere.
    "SEATHOLD_RATE_LIMIT_PER_MINUTE": "100",
    "SEATHOLD_TRUSTED_PROXIES": "127.0.0.0/8",
    "SEATHOLD_MAX_LAPSED_HOLDS": "0",
    "SEATHOLD_MAX_CANCELLED_HOLDS_PER_SHOW": "0",
    "SEATHOLD_MAX_LIVE_HOLDS_PER_USER": "100000",
    "SEATHOLD_MAX_SEATS_PER_USER_SHOW": "100000",
    "SEATHOLD_LOG_LEVEL": "WARNING",
}
FREE_SEATS = """
SELECT shows.id::text, array_agg(seats.label ORDER BY seats.position)
FROM shows JOIN seats ON seats.seat_map_id = shows.seat_map_id
WHERE shows.status = 'on_sale' AND now() BETWEEN sales_open_at AND sales_close_at
GROUP BY shows.id ORDER BY shows.id LIMIT 40
"""


def request(path: str, address: str, body: Any, token: str = "") -> bytes:
    """A whole request, as a proxy passes it on."""
    content = orjson.dumps(body)
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"X-Forwarded-For: {address}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        *([f"Authorization: Bearer {token}"] if token else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content


class Buyers:
    """People who are logged in, each with an address; ``wish`` asks for two seats nobody has."""

    def __init__(self, port: int, pairs: Iterator[tuple[str, list[str]]]) -> None:
        self._port = port
        self._pairs = pairs
        self._turn = 0
        self._known: list[tuple[str, str]] = []

    async def gather(self) -> None:
        wire = await Wire.open(self._port)
        for number in range(BUYERS):
            address = f"192.0.2.{number + 1}"
            body = {"email": f"{uuid.uuid4().hex}@example.test", "name": "Ada"}
            asked = request("/api/auth/register", address, {**body, "password": PASSWORD})
            status, answer = await wire.send(asked)
            if status != 201:
                raise RuntimeError(answer.decode())
            self._known.append((address, orjson.loads(answer)["access_token"]))
        await wire.close()

    def wish(self) -> bytes:
        show_id, labels = next(self._pairs)
        self._turn += 1
        address, token = self._known[self._turn % len(self._known)]
        body = {"show_id": show_id, "seats": labels}
        return request("/api/booking/reserve", address, body, token)


async def reserves(port: int, buyers: Buyers) -> list[float]:
    """At a steady rate that waits for nobody; each is measured from when its time has come."""
    wires: asyncio.Queue[Wire] = asyncio.Queue()
    for _ in range(32):
        wires.put_nowait(await Wire.open(port))
    began = time.perf_counter() + 0.1

    async def one(place: int) -> float:
        due = began + place / RESERVES_PER_SECOND
        await asyncio.sleep(max(0, due - time.perf_counter()))
        wire = await wires.get()
        status, answer = await wire.send(buyers.wish())
        wires.put_nowait(wire)
        if status not in (201, 202):
            raise RuntimeError(f"{status}: {answer.decode()}")
        return time.perf_counter() - due

    took = await asyncio.gather(*(one(n) for n in range(RESERVES_PER_SECOND * SECONDS)))
    while not wires.empty():
        await wires.get_nowait().close()
    return list(took)


async def log_in(port: int, address: str, answered: Counter[int]) -> None:
    """As fast as the limiter lets one address: the next as soon as the last is answered."""
    wire = await Wire.open(port)
    try:
        while True:
            body = {"email": f"{uuid.uuid4().hex}@example.test", "password": "wrong"}
            status, _ = await wire.send(request("/api/auth/login", address, body))
            answered[status] += 1
            if status == 429:
                await asyncio.sleep(REFUSED_PAUSE_SECONDS)
    finally:
        await wire.close()


async def crowded(port: int, buyers: Buyers, answered: Counter[int]) -> list[float]:
    crowd = [
        asyncio.create_task(log_in(port, f"198.18.{n // 200}.{n % 200 + 1}", answered))
        for n in range(ADDRESSES)
    ]
    try:
        return await reserves(port, buyers)
    finally:
        for task in crowd:
            task.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)
        await nobody_waits(port)


async def nobody_waits(port: int) -> None:
    """First come, first served: when this one is answered, none of the crowd is left."""
    wire = await Wire.open(port)
    body = {"email": f"{uuid.uuid4().hex}@example.test", "password": "wrong"}
    status, answer = await wire.send(request("/api/auth/login", "198.51.100.1", body))
    if status != 401:
        raise RuntimeError(f"{status}: {answer.decode()}")
    await wire.close()


async def measure(info: Json) -> None:
    port = int(info["api_url"].rpartition(":")[2])
    buyers = Buyers(port, iter(_pairs(info["database_url"])))
    await buyers.gather()
    await reserves(port, buyers)
    took: dict[str, list[float]] = {"alone": [], "beside_logins": []}
    answered: Counter[int] = Counter()
    for _ in range(ROUNDS):
        took["alone"] += await reserves(port, buyers)
        took["beside_logins"] += await crowded(port, buyers, answered)
    found = {name: latency(samples) for name, samples in took.items()}
    alone, beside = (found[name]["p99_ms"] for name in took)
    per_second = {
        status: round(count / (ROUNDS * SECONDS), 1) for status, count in answered.items()
    }
    figures = {
        "in_words": {
            "reserve_p99": f"{beside} ms beside {per_second.get(401, 0)} log-ins/s judged and"
            f" {per_second.get(429, 0)}/s refused, {alone} ms alone"
        },
        "reserves": found,
        "logins_per_second": {str(status): rate for status, rate in per_second.items()},
        "addresses": ADDRESSES,
        "samples_each": len(took["alone"]),
    }
    ratios = {"reserve_p99": report.ratio(beside / alone, 1.5, "lower")}
    report.write("login", ratios, figures, await report.servers(info, await connect(Settings())))


def _pairs(database_url: str) -> list[tuple[str, list[str]]]:
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(FREE_SEATS).fetchall()
    return [
        (show_id, labels[at : at + 2])
        for show_id, labels in rows
        for at in range(0, len(labels) - 1, 2)
    ]


def main() -> None:
    """Start a stack with its limits on; reserve alone and beside a crowd at the door; end it."""
    print("bench-login: a stack of its own; about three minutes …")
    with tempfile.TemporaryDirectory(prefix="seathold-bench-") as folder:
        Path(folder).chmod(0o711)
        with Stack(Path(folder), ports="auto", env=SETTINGS) as stack:
            os.environ["TEMPORAL_ADDRESS"] = stack.info["temporal_address"]
            uvloop.run(measure(stack.info))
