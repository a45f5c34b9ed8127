"""One command, one transaction: the only place that commits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

from domain.polling import SCHEDULE
from infra.postgres import outbox
from infra.postgres.audit import PostgresAudit
from infra.postgres.booking import PostgresBookings
from infra.postgres.case import PostgresCases
from infra.postgres.database import Database, Session
from infra.postgres.dispute import PostgresDisputes
from infra.postgres.ledger import PostgresLedger
from infra.postgres.offer import PostgresOffers
from infra.postgres.payment import PostgresPayments
from infra.postgres.refund import PostgresRefunds
from infra.postgres.seat import PostgresSeatClaims
from infra.postgres.show_cancel import PostgresShows


class PostgresOutbox:
    def __init__(self, session: Session) -> None:
        self._session = session

    def queue(self, *, booking_id: UUID, user_id: UUID, template: str, revision: int = 1) -> None:
        outbox.queue(
            self._session,
            booking_id=booking_id,
            user_id=user_id,
            template=template,
            channels=("email", "sms"),
            revision=revision,
        )


class PostgresTransaction:
    """The tables of one open transaction, by noun."""

    def __init__(self, session: Session, first_poll: timedelta = SCHEDULE.first) -> None:
        self.session = session
        self.bookings = PostgresBookings(session)
        self.claims = PostgresSeatClaims(session)
        self.payments = PostgresPayments(session, first_poll)
        self.ledger = PostgresLedger(session)
        self.refunds = PostgresRefunds(session)
        self.disputes = PostgresDisputes(session)
        self.offers = PostgresOffers(session)
        self.outbox = PostgresOutbox(session)
        self.cases = PostgresCases(session)
        self.audit = PostgresAudit(session)
        self.shows = PostgresShows(session)


class PostgresUnitOfWork:
    """``first_poll``: how long after checkout a payment is first read again."""

    def __init__(self, database: Database, first_poll: timedelta = SCHEDULE.first) -> None:
        self._database = database
        self._first_poll = first_poll

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[PostgresTransaction]:
        async with self._database.transaction() as session:
            yield PostgresTransaction(session, self._first_poll)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[PostgresTransaction]:
        async with self._database.statements() as session:
            yield PostgresTransaction(session, self._first_poll)
