"""``make bench-saga``: what a booking costs beside the least Temporal can do, in one run."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import orjson
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy

from bench import report
from bench.baselines.workflows import QUEUE, BareTask, BareUpdate
from bench.cpu import Meter, latency
from bench.refused import hammer, post
from infra.temporal import connect
from infra.tokens import TokenSigner
from seathold.stack import ports
from seathold.stack.stack import Stack

CONCURRENCY = (10, 25, 50, 100)
UNITS = 120
LONE = 40
REFUSED = 6000
ROUNDS = 3
SETTINGS = {
    "SEATHOLD_RATE_LIMIT_PER_MINUTE": "0",
    "SEATHOLD_MAX_LIVE_HOLDS_PER_USER": "100000",
    "SEATHOLD_MAX_SEATS_PER_USER_SHOW": "100000",
    "SEATHOLD_LOG_LEVEL": "WARNING",
}
FIVE = ("api", "worker", "temporal", "postgres", "redis")
Json = dict[str, Any]
Unit = Callable[[], Awaitable[float]]


class Crowd:
    """Buyers with their tokens, and pairs of seats that nobody has."""

    def __init__(self, info: Json) -> None:
        limits = httpx2.Limits(max_connections=200)
        self.api = httpx2.AsyncClient(base_url=info["api_url"], timeout=60, limits=limits)
        self.sandbox = httpx2.AsyncClient(base_url=info["sandbox_url"], timeout=60, limits=limits)
        self.headers: list[dict[str, str]] = []
        self.pairs: Iterator[tuple[str, list[str]]] = iter(())
        self.turn = 0

    async def gather(self, buyers: int = 20) -> None:
        for _ in range(buyers):
            body = {"email": f"{uuid.uuid4().hex}@example.test", "name": "Ada"}
            answer = await self.api.post(
                "/api/auth/register", json={**body, "password": "three words make one"}
            )
            self.headers.append({"Authorization": f"Bearer {answer.json()['access_token']}"})
        movies = (await self.api.get("/api/movies", params={"city": "Berlin", "limit": 60})).json()
        found: list[tuple[str, list[str]]] = []
        for movie in movies["items"]:
            listing = (await self.api.get(f"/api/shows/{movie['id']}")).json()
            for show in [show for one in listing["theatres"] for show in one["shows"]][-2:]:
                if show["status"] != "on_sale":
                    continue
                seats = (await self.api.get(show["seatmap_url"])).json()["seats"]
                labels = [seat["label"] for seat in seats]
                found += [(show["id"], labels[at : at + 2]) for at in range(0, len(labels) - 1, 2)]
        self.pairs = iter(found)

    async def reserve(self) -> tuple[float, Json, dict[str, str]]:
        show_id, labels = next(self.pairs)
        self.turn += 1
        headers = self.headers[self.turn % len(self.headers)]
        began = time.perf_counter()
        answer = await self.api.post(
            "/api/booking/reserve", json={"show_id": show_id, "seats": labels}, headers=headers
        )
        took = time.perf_counter() - began
        booking = answer.json()
        while answer.status_code == 202:
            # Too many at a time for an answer in 5 s; the booking settles by itself.
            await asyncio.sleep(0.25)
            found = await self.api.get(f"/api/booking/{booking['id']}", headers=headers)
            if found.json()["state"] == "held":
                return time.perf_counter() - began, booking, headers
        if answer.status_code != 201:
            raise RuntimeError(answer.text)
        return took, booking, headers

    async def book(self) -> float:
        """One full booking: reserve, checkout, pay, webhook, confirmed; seconds it took."""
        began = time.perf_counter()
        _, booking, headers = await self.reserve()
        checkout = await self.api.post(
            f"/api/booking/{booking['id']}/checkout", json={"provider": "sandbox"}, headers=headers
        )
        session_id = checkout.json()["payment"]["session_id"]
        await self.sandbox.post(f"/test/sessions/{session_id}/pay", json={"outcome": "captured"})
        state = "held"
        while state != "confirmed":
            await asyncio.sleep(0.25)
            found = await self.api.get(f"/api/booking/{booking['id']}", headers=headers)
            state = found.json()["state"]
        return time.perf_counter() - began


class Bare:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def task(self) -> float:
        began = time.perf_counter()
        await self._client.execute_workflow(BareTask.run, id=uuid.uuid4().hex, task_queue=QUEUE)
        return time.perf_counter() - began

    async def update(self) -> float:
        began = time.perf_counter()
        start = WithStartWorkflowOperation(
            BareUpdate.run,
            id=uuid.uuid4().hex,
            task_queue=QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
        )
        await self._client.execute_update_with_start_workflow(
            BareUpdate.ask, start_workflow_operation=start
        )
        return time.perf_counter() - began


async def at(concurrency: int, units: int, unit: Unit) -> tuple[float, list[float]]:
    """Run ``units`` with so many at a time; units a second and how long each took."""
    gate = asyncio.Semaphore(concurrency)

    async def one() -> float:
        async with gate:
            return await unit()

    began = time.perf_counter()
    took = await asyncio.gather(*(one() for _ in range(units)))
    return units / (time.perf_counter() - began), list(took)


async def measure(info: Json, worker_pid: int, refuse_port: int, token: str) -> None:
    crowd, bare = Crowd(info), Bare(await connect())
    await crowd.gather()
    pids = info["processes"]
    ours = {
        name: pids[name] if name in ("api", "worker") else [pids[name]]
        for name in (*FIVE, "sandbox", "mail")
    }
    meter, baseline = Meter(ours), Meter({**ours, "worker": [worker_pid]})
    await at(10, 20, crowd.book)
    await at(10, 20, bare.task)
    idle = await _idle(meter, baseline)
    figures: Json = {"levels": {}, "idle_cpu_per_second": idle[0]}
    booking: list[Json] = []
    task: list[Json] = []
    for level in CONCURRENCY:
        task.append(await _level(baseline, idle[1], level, UNITS * 2, bare.task))
        booking.append(await _level(meter, idle[0], level, UNITS, crowd.book))
        figures["levels"][level] = {"bare_task": task[-1], "booking": booking[-1]}
        print(
            f"  {level:>3} at a time: bare {task[-1]['per_second']}/s {task[-1]['cpu_five_ms']} ms,"
            f" booking {booking[-1]['per_second']}/s {booking[-1]['cpu_five_ms']} ms"
        )
    best_task = max(task, key=lambda one: one["per_second"])
    best_booking = max(booking, key=lambda one: one["per_second"])
    figures["best"] = {"bare_task": best_task, "booking": best_booking}
    lone_reserve, lone_update = await _lone(crowd, bare)
    figures["lone"] = {"reserve": lone_reserve, "bare_update": lone_update}
    rates = await _refused(info, crowd, refuse_port, token)
    figures["refused"] = rates
    ratios = {
        "booking_cpu": report.ratio(
            best_booking["cpu_five_ms"] / (2 * best_task["cpu_five_ms"]), 1.5, "lower"
        ),
        "reserve_p50": report.ratio(lone_reserve["p50_ms"] / lone_update["p50_ms"], 1.5, "lower"),
        "refused_rate": report.ratio(
            rates["ours_per_second"] / rates["bare_per_second"], 0.6, "higher"
        ),
    }
    report.write("saga", ratios, figures)


async def _idle(*meters: Meter) -> list[dict[str, float]]:
    seconds = 5.0
    before = [meter.read() for meter in meters]
    await asyncio.sleep(seconds)
    after = [meter.read() for meter in meters]
    return [
        {name: round((late[name] - early[name]) / seconds, 4) for name in early}
        for early, late in zip(before, after, strict=True)
    ]


async def _level(meter: Meter, idle: dict[str, float], level: int, units: int, unit: Unit) -> Json:
    before, began = meter.read(), time.perf_counter()
    per_second, took = await at(level, units, unit)
    # Mails and late work of these units belong to them.
    await asyncio.sleep(2)
    spent = meter.spent(
        before, meter.read(), elapsed=time.perf_counter() - began, idle=idle, units=units
    )
    return {
        "per_second": round(per_second, 1),
        "cpu_ms": spent,
        "cpu_five_ms": round(sum(spent[name] for name in FIVE), 2),
        **latency(took),
    }


async def _lone(crowd: Crowd, bare: Bare) -> tuple[Json, Json]:
    """One at a time, alternately, so that the machine's mood hits both."""
    reserves, updates = [], []
    for _ in range(LONE):
        reserves.append((await crowd.reserve())[0])
        updates.append(await bare.update())
    return latency(reserves), latency(updates)


async def _refused(info: Json, crowd: Crowd, bare_port: int, token: str) -> Json:
    show_id, labels = next(crowd.pairs)
    headers = crowd.headers[0]
    body = orjson.dumps({"show_id": show_id, "seats": labels})
    await crowd.api.post(
        "/api/booking/reserve",
        content=body,
        headers={**headers, "Content-Type": "application/json"},
    )
    ours = post("/api/booking/reserve", crowd.headers[1]["Authorization"][7:], body)
    theirs = post("/reserve", token, body)
    port = int(info["api_url"].rpartition(":")[2])
    best = {"ours_per_second": 0.0, "bare_per_second": 0.0}
    for _ in range(ROUNDS):
        for name, at_port, request in (
            ("bare_per_second", bare_port, theirs),
            ("ours_per_second", port, ours),
        ):
            rate, refused = await hammer(at_port, request, count=REFUSED)
            if refused < REFUSED * 0.99:
                raise RuntimeError(f"{name}: only {refused} of {REFUSED} were refused")
            best[name] = max(best[name], round(rate, 1))
    return best


def main() -> None:
    """Start a stack, the baseline's worker and the least app; measure; end them all."""
    print("bench-saga: a stack of its own; a few minutes …")
    with tempfile.TemporaryDirectory(prefix="seathold-bench-") as folder:
        Path(folder).chmod(0o711)
        with Stack(Path(folder), ports="auto", env=SETTINGS) as stack:
            info = stack.info
            os.environ["TEMPORAL_ADDRESS"] = info["temporal_address"]
            signer = TokenSigner(os.urandom(32).hex(), access_seconds=600)
            port = ports.choose(0, "auto", set())
            env = {
                **os.environ,
                "SEATHOLD_REDIS_URL": info["redis_url"],
                "BENCH_PORT": str(port),
                "BENCH_PUBLIC_KEY": _public_pem(signer),
            }
            helpers = [
                subprocess.Popen([sys.executable, "-m", f"bench.baselines.{name}"], env=env)
                for name in ("worker", "refuse_app")
            ]
            try:
                token = signer.issue(uuid.uuid4(), "user")
                asyncio.run(measure(info, helpers[0].pid, port, token))
            finally:
                for helper in helpers:
                    helper.send_signal(signal.SIGKILL)
                    helper.wait()


def _public_pem(signer: TokenSigner) -> str:
    key = signer._key.public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
