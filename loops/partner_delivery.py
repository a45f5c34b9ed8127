"""Deliveries to partners: many at a time, so that one slow endpoint keeps no other waiting."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from uuid import UUID

import structlog

from services.partner_delivery import DeliveryQueue, Sender, Taken, after

log = structlog.get_logger(__name__)
SLOTS = 64
PER_ENDPOINT = 4
# Longer than any try, so that a lease that ran out means a sender that ended.
LEASE_SECONDS = 60.0
LOOK_SECONDS = 0.5


class PartnerDeliveryLoop:
    """Any number of these may run at once, in one process or in many."""

    def __init__(
        self,
        queue: DeliveryQueue,
        sender: Sender,
        *,
        slots: int = SLOTS,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._queue = queue
        self._sender = sender
        self._slots = slots
        self._lease_seconds = lease_seconds
        self._busy: Counter[UUID] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def one_pass(self) -> int:
        """Begin what is due and has a free slot; how much that was, or 1 to be asked again."""
        free = self._slots - len(self._tasks)
        taken = await self._take(free) if free else []
        for delivery in taken:
            self._begin(delivery)
        if taken or not self._tasks:
            return len(taken)
        # Nothing to begin: until one of those at work ends, or something else may be due.
        await asyncio.wait(self._tasks, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        return 1

    async def drain(self) -> None:
        """Let those at work end; each has its own time limit."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _take(self, limit: int) -> list[Taken]:
        return list(
            await self._queue.take(
                limit,
                busy=self._busy,
                per_endpoint=PER_ENDPOINT,
                lease_seconds=self._lease_seconds,
            )
        )

    def _begin(self, taken: Taken) -> None:
        self._busy[taken.endpoint_id] += 1
        task = asyncio.create_task(self._deliver(taken))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._end(done, taken))

    def _end(self, task: asyncio.Task[None], taken: Taken) -> None:
        self._tasks.discard(task)
        self._busy[taken.endpoint_id] -= 1
        if not self._busy[taken.endpoint_id]:
            del self._busy[taken.endpoint_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its lease will tell.
            log.error("partner_delivery_lost", delivery_id=str(taken.id), exc_info=error)

    async def _deliver(self, taken: Taken) -> None:
        began = time.monotonic()
        tried = await self._sender.send(taken)
        outcome = after(taken, tried, chance=random.random())  # nosec B311
        recorded = await self._queue.record(taken, tried, outcome, seconds=time.monotonic() - began)
        log.log(
            logging.INFO if tried.is_success else logging.WARNING,
            "partner_tried" if recorded else "partner_lease_lost",
            endpoint_id=str(taken.endpoint_id),
            webhook_id=taken.webhook_id,
            attempt=taken.number,
            outcome=outcome.state.value,
            status=tried.status,
            error=tried.error,
        )
        if outcome.disable is not None:
            log.error(
                "partner_endpoint_disabled",
                endpoint_id=str(taken.endpoint_id),
                reason=outcome.disable.value,
            )
