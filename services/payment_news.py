"""From a provider's hint to the booking's process: re-read, record, tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from services import case, payment, provider
from services.gateway import PaymentGateway
from services.payment import Recorded
from services.ports import Attempt, UnitOfWork
from services.preclaim import PreclaimsAway, SeatPreclaims
from services.process import BookingProcess, ProcessAway
from services.work import InboxRow, WorkQueue


class PaymentNews:
    """What webhooks, polls and the confirm route have in common.

    Each method may raise ``Unavailable`` (the provider), ``ProcessAway`` or ``ProcessUnknown``;
    what was recorded by then stays recorded, and the reaper tells it again.
    """

    def __init__(
        self,
        begin: UnitOfWork,
        gateways: Mapping[str, PaymentGateway],
        process: BookingProcess,
        work: WorkQueue,
        preclaims: SeatPreclaims,
    ) -> None:
        self._begin = begin
        self._gateways = gateways
        self._process = process
        self._work = work
        self._preclaims = preclaims

    async def read_again(self, attempt: Attempt, *, request_id: str | None = None) -> None:
        """Read the attempt's session at the provider and act on everything it tells."""
        if attempt.session_id is None:
            return
        session = await self._gateways[attempt.provider].read_session(attempt.session_id)
        for news in await provider.record_session(
            self._begin, attempt, session, request_id=request_id
        ):
            await self._tell(news, request_id)

    async def session_id_of(self, provider_name: str, event: Mapping[str, Any]) -> str | None:
        """The session a webhook is about, in its provider's own shape of events."""
        return await self._gateways[provider_name].session_id_of(event)

    async def by_session(
        self, provider_name: str, session_id: str, *, request_id: str | None
    ) -> bool:
        """Read a session named by a webhook; False when it is none of ours."""
        async with self._begin.alone() as tx:
            attempt = await tx.payments.attempt_by_session(provider_name, session_id)
        if attempt is None:
            return False
        await self.read_again(attempt, request_id=request_id)
        return True

    async def report_unknown(self, row: InboxRow, session_id: str | None) -> None:
        """Open a case for an event that belongs to no booking."""
        async with self._begin.alone() as tx:
            case.unknown_payment(tx, row, session_id)

    async def tell_again(self, receipt_id: UUID) -> None:
        """Judge captured money that has no verdict yet, and tell whom it concerns."""
        async with self._begin() as tx:
            news = await payment.judge_again(tx, receipt_id)
        await self._tell(news, None)

    async def _tell(self, news: Recorded, request_id: str | None) -> None:
        if news.freed is not None:
            seats = news.freed
            try:
                await self._preclaims.release(seats.show_id, seats.labels, seats.booking_id)
            except PreclaimsAway as error:
                raise ProcessAway("Redis was not told of freed seats.") from error
        if news.refunds is not None:
            await self._process.send_money_back(str(news.refunds), request_id)
        if news.confirms is None:
            return
        await self._process.payment_settled(
            news.booking_id,
            str(news.confirms),
            request_id,
            read_brief=self._work.booking_input,
        )
