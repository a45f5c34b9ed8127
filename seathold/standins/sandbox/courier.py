"""Delivers webhooks: signed, at least once, in no order, again and again until a 2xx."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from sqlite3 import Row

import httpx2
from standardwebhooks import Webhook

from seathold.standins.sandbox.faults import Faults
from seathold.standins.sandbox.store import Store
from seathold.standins.sandbox.times import SECOND, now_us, to_datetime

BACKOFF_SECONDS = (0.2, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0)
MAX_IN_FLIGHT = 16
TIMEOUT_SECONDS = 15.0
LONGEST_NAP_SECONDS = 60.0
MAX_ANSWER_BYTES = 16 * 1024

DUE = """
SELECT d.id, d.event_id, d.attempts, d.due_at_us, e.body
FROM deliveries d JOIN events e ON e.id = d.event_id
WHERE d.state = 'pending' ORDER BY d.due_at_us LIMIT ?
"""
TRIED = "UPDATE deliveries SET state = ?, attempts = ?, last_status = ?, due_at_us = ? WHERE id = ?"

log = logging.getLogger(__name__)


class Courier:
    """Works off the queue in the store, so that a restart goes on where the last run stopped.

    Args:
        backoff_seconds: the pauses after the first, second, … failed attempt; each is stretched
            by up to a fifth at random. After the last one the delivery is given up.

    Raises:
        ValueError: ``secret`` is empty or not base64.
    """

    def __init__(
        self, store: Store, faults: Faults, secret: str, backoff_seconds: Sequence[float]
    ) -> None:
        if not secret.removeprefix("whsec_"):
            raise ValueError("the webhook secret is empty")
        self._store = store
        self._faults = faults
        self._signer = Webhook(secret)
        self._backoff = tuple(backoff_seconds)
        self._in_flight: set[int] = set()
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Look at the queue now: something was added to it."""
        self._changed.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        timeout = httpx2.Timeout(TIMEOUT_SECONDS)
        async with (
            httpx2.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=False) as client,
            asyncio.TaskGroup() as tasks,
        ):
            while True:
                self._changed.clear()
                nap = LONGEST_NAP_SECONDS
                for row in self._waiting():
                    early = (row["due_at_us"] - now_us()) / SECOND
                    if early > 0:
                        nap = min(nap, early)
                        break
                    self._in_flight.add(row["id"])
                    tasks.create_task(self._deliver(client, row))
                try:
                    async with asyncio.timeout(nap):
                        await self._changed.wait()
                except TimeoutError:
                    continue

    def _waiting(self) -> list[Row]:
        """The next deliveries nobody is working on, soonest first; none when the hands are full."""
        free = MAX_IN_FLIGHT - len(self._in_flight)
        if free <= 0 or self._faults.config.webhook_url is None:
            return []
        rows = self._store.read.execute(DUE, (MAX_IN_FLIGHT,))
        return [row for row in rows if row["id"] not in self._in_flight]

    async def _deliver(self, client: httpx2.AsyncClient, row: Row) -> None:
        try:
            if self._faults.drops():
                self._record(row, "dropped", None)
                return
            status = await self._attempt(client, row)
            delivered = status is not None and 200 <= status < 300
            self._record(row, "delivered" if delivered else "pending", status)
        finally:
            self._in_flight.discard(row["id"])
            self._changed.set()

    async def _attempt(self, client: httpx2.AsyncClient, row: Row) -> int | None:
        """One signed POST; the status it was answered with, or none when there was no answer."""
        now = now_us()
        signed_at = to_datetime(now)
        headers = {
            "content-type": "application/json",
            "webhook-id": row["event_id"],
            "webhook-timestamp": str(now // SECOND),
            "webhook-signature": self._signer.sign(row["event_id"], signed_at, row["body"]),
        }
        url = self._faults.config.webhook_url
        if url is None:
            return None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                async with client.stream(
                    "POST", url, content=row["body"].encode(), headers=headers
                ) as answer:
                    await read_a_little(answer)
                    return answer.status_code
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
            log.debug("delivery of %s failed: %r", row["event_id"], error)
            return None

    def _record(self, row: Row, state: str, status: int | None) -> None:
        attempts, due = row["attempts"] + 1, row["due_at_us"]
        if state == "pending":
            if attempts > len(self._backoff):
                state = "given_up"
            else:
                pause = self._backoff[attempts - 1] * random.uniform(1, 1.2)  # nosec B311
                due = now_us() + int(pause * SECOND)
        with self._store.write() as conn:
            conn.execute(TRIED, (state, attempts, status, due, row["id"]))


async def read_a_little(answer: httpx2.Response) -> None:
    """Read a short body, so that the connection can be used again; leave a long one."""
    read = 0
    async for chunk in answer.aiter_raw():
        read += len(chunk)
        if read > MAX_ANSWER_BYTES:
            return
