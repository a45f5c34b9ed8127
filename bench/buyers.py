"""What is driven: whole bookings through HTTP, and the least that Temporal can do."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx2
import orjson
from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy

from bench.baselines.workflows import QUEUE, BareTask, BareUpdate
from bench.wire import Wire, post
from contracts.booking import booking_workflow_id

Json = dict[str, Any]
PASSWORD = "three words make one"
PENDING_SECONDS = 0.5


class Crowd:
    """Buyers with their tokens, and pairs of seats that nobody has."""

    def __init__(self, info: Json, client: Client) -> None:
        limits = httpx2.Limits(max_connections=200)
        self._api = httpx2.AsyncClient(base_url=info["api_url"], timeout=60, limits=limits)
        self._sandbox = httpx2.AsyncClient(base_url=info["sandbox_url"], timeout=60, limits=limits)
        self._client = client
        self._pairs: Iterator[tuple[str, list[str]]] = iter(())
        self._turn = 0
        self.tokens: list[str] = []
        self.pending = 0

    async def gather(self, buyers: int = 20) -> None:
        """Register the buyers and find the seats."""
        for _ in range(buyers):
            body = {"email": f"{uuid.uuid4().hex}@example.test", "name": "Ada"}
            answer = await self._api.post("/api/auth/register", json={**body, "password": PASSWORD})
            self.tokens.append(f"Bearer {answer.json()['access_token']}")
        movies = (await self._api.get("/api/movies", params={"city": "Berlin", "limit": 60})).json()
        found: list[tuple[str, list[str]]] = []
        for movie in movies["items"]:
            listing = (await self._api.get(f"/api/shows/{movie['id']}")).json()
            for show in [show for one in listing["theatres"] for show in one["shows"]][-2:]:
                if show["status"] != "on_sale":
                    continue
                seats = (await self._api.get(show["seatmap_url"])).json()["seats"]
                labels = [seat["label"] for seat in seats]
                found += [(show["id"], labels[at : at + 2]) for at in range(0, len(labels) - 1, 2)]
        self._pairs = iter(found)

    def wish(self) -> tuple[str, bytes]:
        """A buyer's token and the body of a reserve of two free seats."""
        show_id, labels = next(self._pairs)
        self._turn += 1
        token = self.tokens[self._turn % len(self.tokens)]
        return token, orjson.dumps({"show_id": show_id, "seats": labels})

    async def reserve(self, wire: Wire) -> float:
        """A reserve by itself; seconds it took."""
        token, body = self.wish()
        began = time.perf_counter()
        status, answer = await wire.send(post("/api/booking/reserve", token, body))
        took = time.perf_counter() - began
        if status != 201:
            raise RuntimeError(answer.decode())
        return took

    async def book(self) -> float:
        """One full booking: reserve, checkout, pay, webhook, confirmed; seconds it took.

        The end is learnt from Temporal, as that of a bare task: reading the booking again and
        again would be charged to it.
        """
        token, body = self.wish()
        headers = {"Authorization": token, "Content-Type": "application/json"}
        began = time.perf_counter()
        answer = await self._api.post("/api/booking/reserve", content=body, headers=headers)
        if answer.status_code == 202:
            await self._until_held(answer.json()["id"], headers)
        elif answer.status_code != 201:
            raise RuntimeError(answer.text)
        path = f"/api/booking/{answer.json()['id']}"
        checkout = await self._api.post(
            f"{path}/checkout", json={"provider": "sandbox"}, headers=headers
        )
        session_id = checkout.json()["payment"]["session_id"]
        await self._sandbox.post(f"/test/sessions/{session_id}/pay", json={"outcome": "captured"})
        await self._client.get_workflow_handle(booking_workflow_id(answer.json()["id"])).result()
        booking = (await self._api.get(path, headers=headers)).json()
        took = time.perf_counter() - began
        if booking["state"] != "confirmed":
            raise RuntimeError(f"a paid booking ended {booking['state']}")
        return took

    async def _until_held(self, booking_id: str, headers: dict[str, str]) -> None:
        """Too many at a time for an answer in 5 s; the booking settles by itself."""
        self.pending += 1
        state = "pending"
        while state == "pending":
            await asyncio.sleep(PENDING_SECONDS)
            found = await self._api.get(f"/api/booking/{booking_id}", headers=headers)
            state = found.json()["state"]


class Bare:
    """Workflows that do nothing but end, or answer one update and end."""

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
