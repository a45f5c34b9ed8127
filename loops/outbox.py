"""Notifications from the outbox table: each is sent once, or more often only if explained."""

from __future__ import annotations

import asyncio
import logging
from typing import Generic

import structlog

from services.notification import (
    NO_EMAIL,
    NO_PHONE,
    SENT,
    UNWANTED,
    Delivery,
    HandingOver,
    Mailer,
    N,
    NotSent,
    OutboxQueue,
    Outcome,
    Render,
    SendError,
    SmsSender,
    after,
)

log = structlog.get_logger(__name__)
BATCH = 20
# Longer than any try of a sender, so that a lease that ran out means a sender that ended.
LEASE_SECONDS = 120.0


class OutboxLoop(Generic[N]):
    """Any number of these may run at once, in one process or in many."""

    def __init__(
        self,
        queue: OutboxQueue[N],
        mailer: Mailer,
        sms: SmsSender,
        render: Render[N],
    ) -> None:
        self._queue = queue
        self._mailer = mailer
        self._sms = sms
        self._render = render

    async def one_pass(self) -> int:
        """Try each notification of one batch; how many it tried."""
        taken = await self._queue.take(BATCH, lease_seconds=LEASE_SECONDS)
        # All are waited for, whatever one of them raises: its lease will tell.
        results = await asyncio.gather(
            *(self._deliver(delivery, notice) for delivery, notice in taken),
            return_exceptions=True,
        )
        for result in results:
            if result is not None:
                raise result
        return len(taken)

    async def _deliver(self, delivery: Delivery, notice: N) -> None:
        outcome = await self._try(delivery, notice)
        recorded = await self._queue.record(delivery, outcome)
        log.log(
            logging.WARNING if outcome.state in ("pending", "failed") else logging.INFO,
            "notification_tried" if recorded else "notification_lease_lost",
            **notice.about,
            template=notice.template,
            channel=delivery.channel,
            attempt=delivery.attempts,
            outcome=outcome.state,
            reason=outcome.reason,
        )

    async def _try(self, delivery: Delivery, notice: N) -> Outcome:
        to = notice.phone if delivery.channel == "sms" else notice.email
        if to is None:
            return NO_PHONE if delivery.channel == "sms" else NO_EMAIL
        if not notice.is_wanted(delivery.channel):
            return UNWANTED
        try:
            message = self._render(notice, delivery.channel)
            if delivery.channel == "sms":
                await self._sms.send(to, message.text, reference=notice.key)
            else:
                await self._mailer.send(
                    to,
                    message,
                    reference=notice.key,
                    handing_over=self._noting(delivery) if delivery.notes_handover else None,
                )
        except SendError as error:
            return after(error, delivery)
        return SENT

    def _noting(self, delivery: Delivery) -> HandingOver:
        async def note() -> None:
            if not await self._queue.note_handover(delivery):
                raise NotSent("its lease ran out before it was handed over")

        return note
