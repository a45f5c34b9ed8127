"""From a provider's hint to the booking's process: re-read, record, tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from domain.errors import Conflict, NotFound
from domain.payment import ProviderPayment, ProviderSession
from services import case, payment, provider
from services.gateway import PaymentGateway
from services.payment import Recorded
from services.payment_rows import Attempt
from services.ports import UnitOfWork
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

    async def read_again(
        self, attempt: Attempt, *, request_id: str | None = None
    ) -> ProviderSession | None:
        """Read the attempt's session at the provider and act on everything it tells.

        None: the attempt has no session yet.
        """
        if attempt.session_id is None:
            return None
        session = await self._gateways[attempt.provider].read_session(attempt.session_id)
        for news in await provider.record_session(
            self._begin, attempt, session, request_id=request_id
        ):
            await self._tell(news, request_id)
        return session

    async def session_id_of(self, provider_name: str, event: Mapping[str, Any]) -> str | None:
        """The session a webhook is about, in its provider's own shape of events."""
        return await self._gateways[provider_name].session_id_of(event)

    async def by_session(
        self, provider_name: str, session_id: str, *, request_id: str | None
    ) -> ProviderSession | None:
        """Read a session named by a webhook; None when it is none of ours."""
        async with self._begin.alone() as tx:
            attempt = await tx.payments.attempt_by_session(provider_name, session_id)
        if attempt is None:
            return None
        return await self.read_again(attempt, request_id=request_id)

    def says_captured(self, provider_name: str, event: Mapping[str, Any]) -> bool:
        """Whether a signed event claims that its session was paid for good."""
        return self._gateways[provider_name].says_captured(event)

    def is_about_money(self, provider_name: str, event: Mapping[str, Any]) -> bool:
        """Whether an event may tell of a buyer's money, known to us or not."""
        return self._gateways[provider_name].is_about_money(event)

    async def report_unknown(self, row: InboxRow, session_id: str | None) -> None:
        """Open a case for an event that belongs to no booking, with the money it is about."""
        payments: tuple[ProviderPayment, ...] = ()
        if session_id is not None:
            try:
                payments = (await self._gateways[row.provider].read_session(session_id)).payments
            except (NotFound, Conflict):
                pass  # the provider has nothing to tell of it either
        async with self._begin.alone() as tx:
            case.unknown_payment(tx, row, session_id, payments)

    async def report_set_aside(self, row: InboxRow, reason: str) -> None:
        """Open a case for an event that nothing here acts on, or not any more."""
        async with self._begin.alone() as tx:
            case.event_set_aside(tx, row, reason)

    async def report_disagreement(self, row: InboxRow, session_id: str) -> None:
        """Open a case for an event that the provider's own API does not bear out (P11)."""
        async with self._begin.alone() as tx:
            attempt = await tx.payments.attempt_by_session(row.provider, session_id)
        if attempt is None:
            return
        async with self._begin() as tx:
            await tx.bookings.lock(attempt.booking_id)
            case.provider_disagrees(tx, attempt.booking_id, row, session_id)

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
