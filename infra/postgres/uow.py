"""One command, one transaction: the only place that commits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from infra.postgres import outbox
from infra.postgres.booking import PostgresBookings
from infra.postgres.payment import PostgresPayments
from infra.postgres.seat import PostgresSeatClaims


class PostgresOutbox:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def queue(
        self, *, booking_id: UUID, user_id: UUID, template: str, revision: int = 1
    ) -> None:
        await outbox.queue(
            self._connection,
            booking_id=booking_id,
            user_id=user_id,
            template=template,
            channels=("email", "sms"),
            revision=revision,
        )


class PostgresTransaction:
    """The tables of one open transaction, by noun."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.bookings = PostgresBookings(connection)
        self.claims = PostgresSeatClaims(connection)
        self.payments = PostgresPayments(connection)
        self.outbox = PostgresOutbox(connection)


class PostgresUnitOfWork:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[PostgresTransaction]:
        async with self._engine.begin() as connection:
            yield PostgresTransaction(connection)
