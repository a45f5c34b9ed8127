"""Webhooks from the inbox table: each is a hint to read the session at the provider again."""

from __future__ import annotations

import asyncio

import orjson
import structlog

from domain.errors import Conflict, NotFound, Unavailable
from services.payment_news import PaymentNews
from services.process import ProcessAway, ProcessUnknown
from services.work import InboxRow, WorkQueue

log = structlog.get_logger(__name__)
BATCH = 20
MAX_BACK_OFF_SECONDS = 60.0
# So often an event may break the work on it, over some five minutes, before a person gets it.
POISON_FAILURES = 10
DISAGREE_SECONDS = 60.0


class InboxLoop:
    def __init__(self, work: WorkQueue, news: PaymentNews) -> None:
        self._work = work
        self._news = news

    async def one_pass(self) -> int:
        """Work through one batch; how many rows it took."""
        rows = await self._work.take_inbox(BATCH)
        # A row that nothing can handle must not keep the others of its batch.
        results = await asyncio.gather(*map(self._handle, rows), return_exceptions=True)
        if done := [row.id for row, result in zip(rows, results, strict=True) if result is True]:
            await self._work.finish_inbox(done)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return len(rows)

    async def _handle(self, row: InboxRow) -> bool:
        """Whether the row is done with; repeating it would change nothing more."""
        with structlog.contextvars.bound_contextvars(
            request_id=row.request_id, event_id=row.event_id
        ):
            try:
                return await self._act(row)
            except (Unavailable, ProcessAway, ProcessUnknown) as error:
                await self._put_back(row, str(error))
                return False
            except Exception as error:
                await self._count_failure(row, error)
                raise

    async def _put_back(self, row: InboxRow, reason: str, *, failed: bool = False) -> None:
        seconds = min(MAX_BACK_OFF_SECONDS, 0.5 * 2.0 ** min(row.attempts, 8))
        await self._work.put_back_inbox(row.id, seconds=seconds, reason=reason, failed=failed)
        log.warning("webhook_put_back", seconds=seconds, reason=reason)

    async def _count_failure(self, row: InboxRow, error: Exception) -> None:
        # Its kind only: the words of an error may tell of the buyer, and the row is kept.
        reason = f"the work on it failed with {type(error).__name__}"
        if row.failures + 1 < POISON_FAILURES:
            await self._put_back(row, reason, failed=True)
        else:
            await self._set_aside(row, f"{reason}, {POISON_FAILURES} times")

    async def _set_aside(self, row: InboxRow, reason: str) -> bool:
        """As :meth:`_quarantine`, and the provider is asked for nothing."""
        await self._news.report_set_aside(row, reason)
        await self._work.quarantine_inbox(row.id, reason=reason)
        log.warning("webhook_quarantined", type=row.event_type, reason=reason)
        return False

    async def _act(self, row: InboxRow) -> bool:
        if row.set_aside is not None:
            return await self._set_aside(row, row.set_aside)
        session_id, event = None, orjson.loads(row.body)
        try:
            session_id = await self._news.session_id_of(row.provider, event)
            if session_id is None and not self._news.is_about_money(row.provider, event):
                # Nobody has to look at it, as at money of no booking.
                reason = f"{row.event_type[:100]} tells of no payment"
                await self._work.quarantine_inbox(row.id, reason=reason)
                return False
            if session_id is None:
                return await self._quarantine(row, "the event names no session")
            seen = await self._news.by_session(row.provider, session_id, request_id=row.request_id)
        except NotFound:
            return await self._quarantine(row, "the provider knows no such session", session_id)
        except Conflict as error:
            if error.code != "provider_refused":
                raise
            return await self._quarantine(row, error.detail, session_id)
        if seen is None:
            return await self._quarantine(row, "no booking has this session", session_id)
        # P11: the API's word counts. It may be older than the event, so it is asked for a while.
        if self._news.says_captured(row.provider, event) and not any(
            paid.captured for paid in seen.payments
        ):
            if row.age_seconds < DISAGREE_SECONDS:
                raise Unavailable("The provider's API does not know of this payment yet.")
            await self._news.report_disagreement(row, session_id)
            log.warning("webhook_not_borne_out", type=row.event_type)
        log.info("webhook_done", type=row.event_type)
        return True

    async def _quarantine(self, row: InboxRow, reason: str, session_id: str | None = None) -> bool:
        # The case first: a repeat after a crash finds it there already.
        await self._news.report_unknown(row, session_id)
        await self._work.quarantine_inbox(row.id, reason=reason)
        log.warning("webhook_quarantined", type=row.event_type, reason=reason)
        return False
