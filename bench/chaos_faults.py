"""What is done to a running stack: processes killed or frozen, data lost, a provider that errs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx2
import psutil
import psycopg
import redis

from tests.stack.command import Dev

Json = dict[str, Any]
# Of these there are two processes, and one may stay; they stand twice, for theirs is the promise.
OURS = ("api", "worker")
ROLES = (*OURS, "temporal", "redis", "postgres", "sandbox", "mail", *OURS)
FROZEN_SECONDS = (1, 3, 6, 12)
ERRS_SECONDS = (3, 6, 10)
SWITCHES: tuple[Json, ...] = (
    {"drop_rate": 1.0},
    {"error_rate": 0.5},
    {"latency_ms": 1500},
    {"hang_ms": 8000},
    {"fail_after_effect": True},
    {"respond": "html"},
    {"respond": "redirect"},
    {"respond": "429"},
)
HEALED = dict.fromkeys(name for switch in SWITCHES for name in switch)
HEAL_SECONDS = 30
CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND application_name LIKE 'seathold%'
"""


@dataclass(frozen=True)
class Fault:
    """``at`` seconds into a round; ``whole``: every process of the role, else the first."""

    at: float
    kind: str
    role: str = ""
    seconds: float = 0.0
    whole: bool = True
    switch: Json | None = None

    def __str__(self) -> str:
        words = [self.kind, "" if self.whole else "one", self.role]
        words += [f"{name} {value}" for name, value in (self.switch or {}).items()]
        words += [f"for {self.seconds:g} s"] if self.seconds else []
        return " ".join(word for word in words if word) + f" at {self.at:.1f} s"


def plan(chance: random.Random, *, within: float) -> list[Fault]:
    """One to four faults that begin ``within`` so many seconds, in order; they may overlap."""
    kinds: dict[Callable[[random.Random, float], Fault], int] = {
        _kill: 5,
        _freeze: 4,
        _err: 2,
        _plain("flush Redis"): 1,
        _plain("cut PostgreSQL's connections"): 1,
        _plain("lose Temporal's data"): 1,
    }
    makers = chance.choices(list(kinds), list(kinds.values()), k=chance.randint(1, 4))
    faults = [make(chance, chance.uniform(0, within)) for make in makers]
    return sorted(faults, key=lambda fault: fault.at)


def _kill(chance: random.Random, at: float) -> Fault:
    role = chance.choice(ROLES)
    return Fault(at, "kill", role, whole=_whole(chance, role))


def _freeze(chance: random.Random, at: float) -> Fault:
    role, seconds = chance.choice(ROLES), chance.choice(FROZEN_SECONDS)
    return Fault(at, "freeze", role, seconds, _whole(chance, role))


def _whole(chance: random.Random, role: str) -> bool:
    return role not in OURS or chance.random() < 0.5


def _err(chance: random.Random, at: float) -> Fault:
    seconds, switch = chance.choice(ERRS_SECONDS), chance.choice(SWITCHES)
    return Fault(at, "have the provider", seconds=seconds, switch=switch)


def _plain(kind: str) -> Callable[[random.Random, float], Fault]:
    return lambda _, at: Fault(at, kind)


async def inject(dev: Dev, fault: Fault) -> None:
    """Do it at its time; what is done for a while is undone when this returns."""
    await asyncio.sleep(fault.at)
    if fault.kind == "kill":
        await asyncio.to_thread(_kill_all, _processes(dev, fault))
    elif fault.kind == "freeze":
        with _frozen(_processes(dev, fault)):
            await asyncio.sleep(fault.seconds)
    elif fault.kind == "lose Temporal's data":
        await asyncio.to_thread(_lose_temporal, dev)
    elif fault.switch is not None:
        await switch_provider(dev, fault.switch)
        await asyncio.sleep(fault.seconds)
        await switch_provider(dev, HEALED)
    else:
        await asyncio.to_thread(_flush if fault.kind == "flush Redis" else _cut, dev)


async def switch_provider(dev: Dev, switch: Json) -> None:
    """Set the sandbox's faults, as soon as it answers.

    Raises:
        TimeoutError: it does not.
    """
    async with (
        asyncio.timeout(HEAL_SECONDS),
        httpx2.AsyncClient(base_url=dev.info["sandbox_url"], timeout=5) as sandbox,
    ):
        while True:
            with suppress(httpx2.TransportError):
                if (await sandbox.post("/test/config", json=switch)).is_success:
                    return
            await asyncio.sleep(0.2)


def _processes(dev: Dev, fault: Fault) -> list[psutil.Process]:
    """Of the fault's role; one that is dead already cannot be hurt."""
    found = dev.info["processes"][fault.role]
    pids = found if isinstance(found, list) else [found]
    alive = []
    for pid in pids if fault.whole else pids[:1]:
        with suppress(psutil.NoSuchProcess):
            alive.append(psutil.Process(pid))
    return alive


def _kill_all(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=10)


@contextmanager
def _frozen(processes: list[psutil.Process]) -> Any:
    """With their children: PostgreSQL works in those."""
    everyone = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            everyone += [process, *process.children(recursive=True)]
    try:
        for process in everyone:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        yield
    finally:
        for process in everyone:
            with suppress(psutil.NoSuchProcess):
                process.resume()


def _lose_temporal(dev: Dev) -> None:
    _kill_all(_processes(dev, Fault(0, "kill", "temporal")))
    dev.lose_temporal_data()


def _flush(dev: Dev) -> None:
    with suppress(redis.RedisError):
        redis.Redis.from_url(dev.info["redis_url"], socket_timeout=3).flushall()


def _cut(dev: Dev) -> None:
    with (
        suppress(psycopg.OperationalError),
        psycopg.connect(dev.info["database_url"], connect_timeout=3) as database,
    ):
        database.execute(CUT)
