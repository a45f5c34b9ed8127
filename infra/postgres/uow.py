"""One command, one transaction: the only place that commits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from infra.postgres import outbox
from infra.postgres.audit import PostgresAudit
from infra.postgres.booking import PostgresBookings
from infra.postgres.case import PostgresCases
from infra.postgres.database import Database, Session
from infra.postgres.ledger import PostgresLedger
from infra.postgres.offer import PostgresOffers
from infra.postgres.payment import PostgresPayments
from infra.postgres.refund import PostgresRefunds
from infra.postgres.seat import PostgresSeatClaims


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

    def __init__(self, session: Session) -> None:
        self.session = session
        self.bookings = PostgresBookings(session)
        self.claims = PostgresSeatClaims(session)
        self.payments = PostgresPayments(session)
        self.ledger = PostgresLedger(session)
        self.refunds = PostgresRefunds(session)
        self.offers = PostgresOffers(session)
        self.outbox = PostgresOutbox(session)
        self.cases = PostgresCases(session)
        self.audit = PostgresAudit(session)


class PostgresUnitOfWork:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[PostgresTransaction]:
        async with self._database.transaction() as session:
            yield PostgresTransaction(session)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[PostgresTransaction]:
        async with self._database.statements() as session:
            yield PostgresTransaction(session)
