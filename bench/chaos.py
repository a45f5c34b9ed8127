"""``make campaign-chaos``: buyers in a stack whose processes are killed, frozen and lied to."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import psycopg

from bench.buyers import PASSWORD
from bench.chaos_buyers import Buyer, Told
from bench.chaos_faults import Fault, inject, plan
from tests.kill import town
from tests.stack.command import Dev, running

Json = dict[str, Any]
DEFAULT_ROUNDS = 20
LOAD_SECONDS = 16.0
FAULTS_WITHIN_SECONDS = 13.0
# Of one show, so that they want the same seats.
BUYERS = 16
SEATS = 60
READY_SECONDS = 90
# A lost booking is missed after its hold, a task of a worker that was killed after ten seconds.
SETTLED_SECONDS = 150
SETTINGS = {
    **town.SETTINGS,
    "SEATHOLD_API_WORKERS": "2",
    "SEATHOLD_WORKER_PROCESSES": "2",
    "SEATHOLD_REFUNDS_PER_SECOND": "20",
    "SEATHOLD_CHECK_SETTLE_SECONDS": "30",
}
STATES = "SELECT id::text, state FROM bookings WHERE show_id = %s"


@dataclass
class Tally:
    """What all rounds came to."""

    faults: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    rounds: int = 0
    breached: int = 0

    def __str__(self) -> str:
        ends = ", ".join(f"{count} {state}" for state, count in self.states.most_common())
        return (
            f"{self.rounds} rounds, {self.faults.total()} faults, {self.states.total()} bookings"
            f" ({ends}), {self.answers.total()} answers ({self.answers[503]} of them 503),"
            f" {self.unanswered} requests without one; {self.breached} rounds breached"
        )


def judged(told: Told, states: Mapping[str, str]) -> list[str]:
    """What buyers were told, held against how their bookings ended."""
    promises = [(told.confirmed, "confirmed"), (told.cancelled, "cancelled")]
    return [
        *told.complaints,
        *(f"booking {one} was held and is gone" for one in sorted(told.held - states.keys())),
        *(f"booking {one} is still {state}" for one, state in states.items() if state in town.OPEN),
        *(
            f"booking {one} was {promised} and is {states.get(one)}"
            for ids, promised in promises
            for one in sorted(ids)
            if states.get(one) != promised
        ),
    ]


class Place:
    """A running stack, and shows of it that nobody has used."""

    def __init__(self, dev: Dev, shows: list[Json]) -> None:
        self._dev = dev
        self._shows = shows

    @classmethod
    async def found(cls, dev: Dev) -> Place:
        shows: list[Json] = []
        async with _client(dev.info["api_url"]) as api:
            movies = (await api.get("/api/movies", params={"limit": 100})).json()["items"]
            for movie in movies:
                listing = (await api.get(f"/api/shows/{movie['id']}")).json()
                for theatre in listing["theatres"]:
                    # The latest: their sales must not end meanwhile.
                    on_sale = [show for show in theatre["shows"] if show["status"] == "on_sale"]
                    shows += on_sale[-1:]
        return cls(dev, shows)

    async def round(self, number: int, faults: list[Fault], tally: Tally) -> list[str]:
        """Buyers for a while, with these faults; then everything settles. The breaches."""
        chance, told = random.Random(number), Told()
        show = self._shows[number % len(self._shows)]
        async with AsyncExitStack() as stack:
            api = await stack.enter_async_context(_client(self._dev.info["api_url"]))
            sandbox = await stack.enter_async_context(_client(self._dev.info["sandbox_url"]))
            seatmap = (await api.get(show["seatmap_url"], follow_redirects=True)).json()
            labels = chance.sample([seat["label"] for seat in seatmap["seats"]], SEATS)
            tokens = [await _register(api) for _ in range(BUYERS)]
            end = time.monotonic() + LOAD_SECONDS
            buyers = [
                Buyer(api, sandbox, token, random.Random(chance.random()), told) for token in tokens
            ]
            await asyncio.gather(
                *(buyer.buy_until(end, show["id"], labels) for buyer in buyers),
                *(inject(self._dev, fault) for fault in faults),
            )
            if not await self._is_ready(api):
                return [*told.complaints, f"not ready again after {READY_SECONDS} s"]
        states = await self._settled(show["id"])
        tally.states.update(states.values())
        tally.answers.update(told.answers)
        tally.unanswered += told.unanswered
        return [*judged(told, states), *await asyncio.to_thread(self._checked)]

    async def _is_ready(self, api: httpx2.AsyncClient) -> bool:
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            with suppress(httpx2.TransportError):
                if (await api.get("/readyz")).status_code == 200:
                    return True
            await asyncio.sleep(0.2)
        return False

    async def _settled(self, show_id: str) -> dict[str, str]:
        """The state of each booking of the show, when none is open or the time is up."""
        end = time.monotonic() + SETTLED_SECONDS
        while True:
            states = await asyncio.to_thread(self._states, show_id)
            if not set(town.OPEN) & set(states.values()) or time.monotonic() > end:
                return states
            await asyncio.sleep(0.5)

    def _states(self, show_id: str) -> dict[str, str]:
        with psycopg.connect(self._dev.info["database_url"]) as database:
            return dict(database.execute(STATES, (show_id,)).fetchall())

    def _checked(self) -> list[str]:
        done = self._dev.check(SETTINGS)
        return [] if done.returncode == 0 else [f"seathold check:\n{done.stdout}{done.stderr}"]


def _client(url: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=url, timeout=30)


async def _register(api: httpx2.AsyncClient) -> str:
    body = {"email": f"{uuid4().hex}@example.test", "name": "Ada", "password": PASSWORD}
    return str((await api.post("/api/auth/register", json=body)).json()["access_token"])


async def _campaign(dev: Dev, rounds: int) -> Tally:
    place, tally = await Place.found(dev), Tally()
    for number in range(rounds):
        faults = plan(random.Random(number), within=FAULTS_WITHIN_SECONDS)
        print(f"round {number}: {'; '.join(map(str, faults))}", flush=True)
        before = tally.states.copy()
        breaches = await place.round(number, faults, tally)
        tally.rounds += 1
        tally.faults.update(fault.kind for fault in faults)
        tally.breached += bool(breaches)
        ends = ", ".join(f"{count} {state}" for state, count in (tally.states - before).items())
        print(f"  {ends}", *(f"  BREACH {breach}" for breach in breaches), sep="\n", flush=True)
    return tally


def main(rounds: int | None = None) -> int:
    """Run ``rounds`` (20), some 40 s each; 1 if a promise was broken in one of them, else 0.

    The number of a round is the seed of its faults and of what its buyers do; their order in time
    is the machine's. After a breach the stack's folder with its logs is kept.
    """
    folder = Path(tempfile.mkdtemp(prefix="seathold-chaos-"))
    with running(folder / "run", "--ports", "auto", env=SETTINGS) as dev:
        tally = asyncio.run(_campaign(dev, rounds or DEFAULT_ROUNDS))
    print(f"campaign-chaos: {tally}")
    if not tally.breached:
        shutil.rmtree(folder)
        return 0
    print(f"Logs: {folder / 'run' / 'logs'}")
    return 1
