"""``make bench-saga``: what a booking costs beside the least Temporal can do, in one run."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench import report
from bench.buyers import Bare, Crowd, Json
from bench.cpu import Meter, latency
from bench.wire import Wire, hammer, post
from domain.user import Role
from infra.settings import Settings
from infra.temporal import connect
from infra.tokens import TokenSigner
from seathold.stack import ports
from seathold.stack.stack import Stack

CONCURRENCY = (10, 25, 50, 100)
# A second round, if there is time: the best is not to depend on one moment of the machine.
ROUNDS = 2
NO_ROUND_AFTER_SECONDS = 240
# Enough that what a level costs once, such as plans of statements, does not show.
UNITS = {"bare_task": 300, "bare_update": 150, "booking": 300}
LONE = 60
LONE_REST_SECONDS = 0.5
REFUSED = 6400
REFUSED_ROUNDS = 3
AGAIN = 200
SETTINGS = {
    "SEATHOLD_RATE_LIMIT_PER_MINUTE": "0",
    "SEATHOLD_MAX_LIVE_HOLDS_PER_USER": "100000",
    "SEATHOLD_MAX_SEATS_PER_USER_SHOW": "100000",
    "SEATHOLD_LOG_LEVEL": "WARNING",
}
FIVE = ("api", "worker", "temporal", "postgres", "redis")
Unit = Callable[[], Awaitable[float]]


async def measure(info: Json, worker_pid: int, least_app: Json, signer: TokenSigner) -> None:
    client = await connect(Settings())
    crowd, bare = Crowd(info, client), Bare(client)
    await crowd.gather()
    pids = info["processes"]
    ours = {
        name: pids[name] if name in ("api", "worker") else [pids[name]]
        for name in (*FIVE, "sandbox", "mail")
    }
    least = Meter({**ours, "worker": [worker_pid]})
    meters = {"bare_task": least, "bare_update": least, "booking": Meter(ours)}
    units: dict[str, Unit] = {
        "bare_task": bare.task,
        "bare_update": bare.update,
        "booking": crowd.book,
    }
    for unit in units.values():
        await _at(10, 30, unit)
    await least.settle()
    await asyncio.gather(*(meter.rest(5) for meter in (least, meters["booking"])))
    runs = await _levels(meters, units)
    best = {name: max(found, key=_rate) for name, found in runs.items()}
    lone = await _lone(info, crowd, bare)
    refused = await _refused(info, crowd, least_app, signer)
    ratios = {
        "booking_cpu": report.ratio(
            best["booking"]["cpu_five_ms"] / (2 * best["bare_task"]["cpu_five_ms"]), 1.5, "lower"
        ),
        "reserve_p50": report.ratio(
            lone["reserve"]["p50_ms"] / lone["bare_update"]["p50_ms"], 1.5, "lower"
        ),
        "refused_rate": _refusal_ratio(refused["buyers_again"]),
        "refused_rate_new_buyers": _refusal_ratio(refused["new_buyers"]),
    }
    figures = {
        "in_words": _in_words(best, lone, refused),
        "best": best,
        "lone": lone,
        "refused": refused,
        "answered_202": crowd.pending,
        "idle_cpu_ms_per_second": {
            name: round(value * 1000, 1) for name, value in meters["booking"].idle.items()
        },
        "runs": runs,
    }
    report.write("saga", ratios, figures, await report.servers(info, client))


async def _levels(meters: dict[str, Meter], units: dict[str, Unit]) -> dict[str, list[Json]]:
    """Every unit at every level, alternately."""
    runs: dict[str, list[Json]] = {name: [] for name in units}
    print(f"  {'at a time':<12}{'':<14}{'a second':>10}{'p50 ms':>10}{'p99 ms':>10}{'CPU-ms':>10}")
    began = time.perf_counter()
    for turn, level in enumerate(CONCURRENCY * ROUNDS):
        in_time = time.perf_counter() - began < NO_ROUND_AFTER_SECONDS
        if turn % len(CONCURRENCY) == 0 and turn and not in_time:
            break
        for name, unit in units.items():
            run = await _level(meters[name], level, UNITS[name], unit)
            runs[name].append(run)
            print(
                f"  {level:<12}{name:<14}{run['per_second']:>10}{run['p50_ms']:>10}"
                f"{run['p99_ms']:>10}{run['cpu_five_ms']:>10}"
            )
    return runs


async def _level(meter: Meter, level: int, units: int, unit: Unit) -> Json:
    meter.start()
    per_second, took = await _at(level, units, unit)
    await meter.settle()
    spent = meter.spent(units)
    return {
        "at_a_time": level,
        "per_second": round(per_second, 1),
        **latency(took),
        "cpu_five_ms": round(sum(spent[name] for name in FIVE), 2),
        "cpu_ms": spent,
    }


async def _at(concurrency: int, units: int, unit: Unit) -> tuple[float, list[float]]:
    """Run ``units`` with so many at a time; units a second and how long each took."""
    gate = asyncio.Semaphore(concurrency)

    async def one() -> float:
        async with gate:
            return await unit()

    began = time.perf_counter()
    took = await asyncio.gather(*(one() for _ in range(units)))
    return units / (time.perf_counter() - began), list(took)


async def _lone(info: Json, crowd: Crowd, bare: Bare) -> dict[str, Json]:
    """One at a time, alternately, so that the machine's mood hits both.

    Each is alone: what the one before left to do in the background is done first.
    """
    wire = await Wire.open(_port(info))
    reserves, updates = [], []
    for _ in range(LONE):
        reserves.append(await crowd.reserve(wire))
        await asyncio.sleep(LONE_REST_SECONDS)
        updates.append(await bare.update())
        await asyncio.sleep(LONE_REST_SECONDS)
    await wire.close()
    return {"reserve": latency(reserves), "bare_update": latency(updates)}


async def _refused(info: Json, crowd: Crowd, least: Json, signer: TokenSigner) -> dict[str, Any]:
    """Reserves of seats that somebody has, against the least an app can do; alternately.

    Once by buyers who come again, whose tokens our API remembers, and once by new ones.
    """
    token, body = crowd.wish()
    wire = await Wire.open(_port(info))
    await wire.send(post("/api/booking/reserve", token, body))
    await wire.close()
    apis = info["processes"]["api"]
    sides = {
        "ours": (_port(info), "/api/booking/reserve", apis),
        "least": (least["port"], "/reserve", [least["pid"]]),
    }
    runs: dict[str, dict[str, list[Json]]] = {
        kind: {name: [] for name in sides} for kind in ("buyers_again", "new_buyers")
    }
    for turn in range(REFUSED_ROUNDS * len(runs)):
        kind = list(runs)[turn % len(runs)]
        buyers = REFUSED if kind == "new_buyers" else AGAIN
        tokens = [signer.issue(uuid.uuid4(), Role.USER, uuid.uuid4()) for _ in range(buyers)]
        for name, (port, path, pids) in sides.items():
            requests = [post(path, f"Bearer {token}", body) for token in tokens]
            run = await _hammered(port, requests * (REFUSED // buyers), pids)
            runs[kind][name].append(run)
    best = {
        kind: {name: max(found, key=_rate) for name, found in of.items()}
        for kind, of in runs.items()
    }
    return {**best, "api_processes": len(apis)}


async def _hammered(port: int, requests: list[bytes], pids: list[int]) -> Json:
    meter, client = Meter({"app": pids}), time.process_time()
    rate = await hammer(port, requests, status=409)
    spent, client = meter.spent(len(requests)), time.process_time() - client
    return {
        "per_second": round(rate / len(pids), 1),
        "app_cpu_ms": spent["app"],
        "client_busy": round(client * rate / len(requests), 2),
    }


def _rate(run: Json) -> float:
    return float(run["per_second"])


def _in_words(best: Json, lone: Json, refused: Json) -> dict[str, str]:
    """The absolute figures of each ratio."""
    booking, task = best["booking"], best["bare_task"]
    words = {
        "booking_cpu": f"{booking['cpu_five_ms']} CPU-ms a booking ({booking['per_second']}/s),"
        f" {task['cpu_five_ms']} a bare task ({task['per_second']}/s); what idles is taken off",
        "reserve_p50": f"{lone['reserve']['p50_ms']} ms, {lone['bare_update']['p50_ms']} ms",
    }
    kinds = {"refused_rate": "buyers_again", "refused_rate_new_buyers": "new_buyers"}
    for name, kind in kinds.items():
        ours, least = refused[kind]["ours"], refused[kind]["least"]
        words[name] = f"{ours['per_second']}/s, {least['per_second']}/s"
    return words


def _refusal_ratio(sides: dict[str, Json]) -> Json:
    return report.ratio(_rate(sides["ours"]) / _rate(sides["least"]), 0.6, "higher")


def _port(info: Json) -> int:
    return int(info["api_url"].rpartition(":")[2])


@contextmanager
def _helper(module: str, env: dict[str, str]) -> Iterator[int]:
    """A process of the baseline; its pid."""
    helper = subprocess.Popen([sys.executable, "-m", f"bench.baselines.{module}"], env=env)
    try:
        yield helper.pid
    finally:
        helper.kill()
        helper.wait()


def main() -> None:
    """Start a stack, the baseline's worker and the least app; measure; end them all."""
    print("bench-saga: a stack of its own; a few minutes …")
    seed = os.urandom(32).hex()
    signer = TokenSigner(seed, access_seconds=600)
    with tempfile.TemporaryDirectory(prefix="seathold-bench-") as folder:
        Path(folder).chmod(0o711)
        settings = {**SETTINGS, "SEATHOLD_JWT_SEED": seed}
        with (
            Stack(Path(folder), ports="auto", env=settings) as stack,
            ports.reserve(0, "auto", set()) as held,
        ):
            info = stack.info
            os.environ["TEMPORAL_ADDRESS"] = info["temporal_address"]
            port = ports.port_of(held)
            env = {
                **os.environ,
                "SEATHOLD_REDIS_URL": info["redis_url"],
                "BENCH_PORT": str(port),
                "BENCH_PUBLIC_KEY": _public_pem(signer),
            }
            with _helper("worker", env) as worker_pid, _helper("refuse_app", env) as least_pid:
                least_app = {"port": port, "pid": least_pid}
                uvloop.run(measure(info, worker_pid, least_app, signer))


def _public_pem(signer: TokenSigner) -> str:
    key = signer._key.public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
