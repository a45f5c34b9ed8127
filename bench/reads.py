"""``make bench-reads``: what crowds read beside a bare route of the same bytes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import psycopg
import uvloop
from temporalio.client import Client

from bench import report
from bench.cpu import Meter
from bench.flood import flood, get, whole_answer
from seathold.stack.ports import port_of, reserve
from seathold.stack.stack import Stack

Json: TypeAlias = dict[str, Any]
ROUNDS = 5
SECONDS = 3.0
WARM_SECONDS = 1.0
CROWD = 1000
SOLD = 60
SETTINGS = {"SEATHOLD_RATE_LIMIT_PER_MINUTE": "0", "SEATHOLD_LOG_LEVEL": "WARNING"}
# The server adds these itself, there as here.
OF_THE_SERVER = ("date", "content-length")

BUSY_MOVIE = """
SELECT movie_id, min(id::text)::uuid AS show_id FROM shows
WHERE starts_at > now() AND status = 'on_sale'
GROUP BY movie_id ORDER BY count(*) DESC, movie_id LIMIT 1 OFFSET %s
"""
SELL = """
INSERT INTO seat_claims (show_id, label, state)
SELECT shows.id, label, 'sold' FROM shows JOIN seats USING (seat_map_id)
WHERE shows.id = %s ORDER BY position LIMIT %s
"""
# Nothing but the worker's loops looks a film up in an idle stack; a refill does so once.
LOOKUPS = """
SELECT seq_scan + coalesce(idx_scan, 0) FROM pg_stat_user_tables WHERE relname = 'movies'
"""


def main() -> None:
    print("bench-reads: two stacks of its own; about two minutes …")
    with _stack(api_workers=1) as stack:
        rates, versions = uvloop.run(_rates(stack.info))
    with _stack(api_workers=2) as stack:
        lookups = uvloop.run(_cold(stack.info))
    ratios, words = {}, {}
    for name, runs in rates.items():
        ours, bare = (max(runs[side], key=lambda run: run["per_second"]) for side in runs)
        ratios[name] = report.ratio(ours["per_second"] / bare["per_second"], 0.7, "higher")
        words[name] = (
            f"{ours['per_second']}/s ({ours['cpu_us']} µs of CPU) an API process,"
            f" {bare['per_second']}/s ({bare['cpu_us']} µs) bare"
        )
    ratios["cold_statements"] = report.ratio(lookups, 1, "lower")
    words["cold_statements"] = f"{CROWD} readers at once, two API processes, nothing kept"
    figures = {"in_words": words, "runs": rates}
    report.write("reads", ratios, figures, versions)


@contextmanager
def _stack(*, api_workers: int) -> Iterator[Stack]:
    env = {**SETTINGS, "SEATHOLD_API_WORKERS": str(api_workers)}
    with tempfile.TemporaryDirectory(prefix="seathold-bench-") as folder:
        Path(folder).chmod(0o711)
        with Stack(Path(folder), ports="auto", env=env) as stack:
            yield stack


async def _rates(info: Json) -> tuple[dict[str, dict[str, list[Json]]], Mapping[str, str]]:
    """By address and side, a run of each round; by turns, so that the machine's mood hits both."""
    movie_id, show_id = _busy(info, 0)
    with psycopg.connect(info["database_url"], autocommit=True) as connection:
        connection.execute(SELL, (show_id, SOLD))
    paths = {
        "availability": f"/api/show/{show_id}/availability",
        "shows_by_movie": f"/api/shows/{movie_id}",
    }
    port, [pid] = int(info["api_url"].rpartition(":")[2]), info["processes"]["api"]
    found: dict[str, dict[str, list[Json]]] = {}
    for name, path in paths.items():
        answer = await whole_answer(port, get(path))
        with _baseline(path, answer) as (bare_port, bare_pid):
            sides = {"ours": (port, pid), "bare": (bare_port, bare_pid)}
            runs: dict[str, list[Json]] = {side: [] for side in sides}
            for side_port, _ in sides.values():
                await flood(side_port, path, WARM_SECONDS)
            for _ in range(ROUNDS):
                for side, (side_port, side_pid) in sides.items():
                    runs[side].append(await _run(side_port, side_pid, path))
            found[name] = runs
    return found, await report.servers(info, await Client.connect(info["temporal_address"]))


async def _run(port: int, pid: int, path: str) -> Json:
    meter = Meter({"server": [pid]})
    answers, elapsed = await flood(port, path, SECONDS)
    spent = meter.spent(answers)["server"]
    return {"per_second": round(answers / elapsed), "cpu_us": round(spent * 1000, 1)}


@contextmanager
def _baseline(path: str, answer: bytes) -> Iterator[tuple[int, int]]:
    """A bare app that sends this very answer; its port and process."""
    head, _, body = answer.partition(b"\r\n\r\n")
    fields = [line.partition(": ")[::2] for line in head.decode().split("\r\n")[1:]]
    headers = {name: value for name, value in fields if name not in OF_THE_SERVER}
    held = reserve(0, "auto", set())
    port = port_of(held)
    held.close()
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.baselines.read_app"],
        stdin=subprocess.PIPE,
        env={**os.environ, "BENCH_PORT": str(port)},
    )
    assert process.stdin is not None
    process.stdin.write(orjson.dumps({"path": path, "body": body.decode(), "headers": headers}))
    process.stdin.close()
    try:
        _wait_for(f"http://127.0.0.1:{port}{path}")
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=2).close()
            return
        time.sleep(0.05)
    raise RuntimeError("the baseline did not start")


async def _cold(info: Json) -> int:
    """How often PostgreSQL is asked when a crowd wants a film that nobody has asked for yet."""
    movie_id, _ = _busy(info, 1)
    port = int(info["api_url"].rpartition(":")[2])
    request = get(f"/api/shows/{movie_id}")
    with _asleep(info["processes"]["worker"]):
        return await _lookups_of_a_crowd(info, port, request)


@contextmanager
def _asleep(pids: Sequence[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def _lookups_of_a_crowd(info: Json, port: int, request: bytes) -> int:
    before = await _settled_lookups(info)
    # Only now: who connects and says nothing for ten seconds is sent away.
    wires = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CROWD)]
    for _, writer in wires:
        writer.write(request)
    heads = [await reader.readuntil(b"\r\n\r\n") for reader, _ in wires]
    for _, writer in wires:
        writer.close()
    refused = [head for head in heads if not head.startswith(b"HTTP/1.1 200")]
    if refused:
        raise RuntimeError(f"{len(refused)} were refused: {refused[0][:100]!r}")
    return await _settled_lookups(info) - before


async def _settled_lookups(info: Json) -> int:
    """PostgreSQL's sessions tell what they did when they have been idle for ten seconds."""
    await asyncio.sleep(12)
    with psycopg.connect(info["database_url"], autocommit=True) as connection:
        row = connection.execute(LOOKUPS).fetchone()
    assert row is not None
    return int(row[0])


def _busy(info: Json, place: int) -> Sequence[Any]:
    with psycopg.connect(info["database_url"], autocommit=True) as connection:
        row = connection.execute(BUSY_MOVIE, (place,)).fetchone()
    assert row is not None, "the seed has films that play"
    return row
