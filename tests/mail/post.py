"""A booking with its owner, and the outbox loop that tells them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.notify.render import render
from infra.notify.sms import HttpSmsSender
from infra.notify.smtp import SmtpMailer
from infra.postgres.database import Database, Session
from infra.postgres.outbox import PostgresOutboxQueue, queue
from infra.settings import Settings
from loops.outbox import OutboxLoop
from services.notification import Notice
from tests.factories import create_hall, create_user
from tests.mail.process import Sink

ADD_BOOKING = text("""
INSERT INTO bookings (id, user_id, show_id, state, currency, total_amount, seat_count,
    hold_expires_at, hold_max_expires_at)
VALUES (:id, :user_id, :show_id, 'confirmed', 'EUR', 2400, 2, now(), now())
""")
ADD_SEAT = text("""
INSERT INTO booking_seats (booking_id, label, price_class, amount)
VALUES (:id, :label, 'standard', 1200)
""")
ROW = text("SELECT * FROM notification_outbox WHERE booking_id = :id AND channel = :channel")
# As if the pause, or the lease, were over.
DUE_NOW = text("UPDATE notification_outbox SET next_attempt_at = now() WHERE booking_id = :id")
ADD_REFUND = (
    text("""
    INSERT INTO payments (id, booking_id, attempt, provider, status, amount, currency, expires_at)
    VALUES (:payment, :booking, :attempt, 'sandbox', 'captured', 2400, 'EUR', now())
    """),
    text("""
    INSERT INTO provider_payments (id, provider, reference, booking_id, payment_id, status, amount,
        currency) VALUES (:receipt, 'sandbox', :name, :booking, :payment, 'captured', 2400, 'EUR')
    """),
    text("""
    INSERT INTO refunds (id, booking_id, provider_payment_id, idempotency_key, reason, status,
        amount, currency) VALUES (:refund, :booking, :receipt, :name, :reason, :status, 2400, 'EUR')
    """),
)


@dataclass
class Post:
    """A confirmed booking of two seats with its owner, and the loop that tells them."""

    engine: AsyncEngine
    database: Database
    sink: Sink
    loop: OutboxLoop[Notice]
    booking_id: UUID
    user_id: UUID
    email: str
    phone: str | None

    async def queue(self, *channels: str, template: str = "confirmation") -> None:
        async with self.database.transaction() as session:
            self.queue_in(session, *channels or ("email",), template=template)

    def queue_in(self, session: Session, *channels: str, template: str = "confirmation") -> None:
        queue(
            session,
            booking_id=self.booking_id,
            user_id=self.user_id,
            template=template,
            channels=channels,
        )

    async def row(self, channel: str = "email") -> Row[Any]:
        async with self.engine.connect() as conn:
            return (await conn.execute(ROW, {"id": self.booking_id, "channel": channel})).one()

    async def state(self, channel: str = "email") -> tuple[str, int, int]:
        row = await self.row(channel)
        return row.state, row.attempts, row.ambiguous_attempts

    async def due_now(self) -> None:
        async with self.engine.begin() as conn:
            await conn.execute(DUE_NOW, {"id": self.booking_id})

    async def passes(self, count: int) -> None:
        """So many passes, each once the pause before it is over."""
        for _ in range(count):
            await self.due_now()
            await self.loop.one_pass()

    async def add_refund(self, reason: str, status: str) -> None:
        """The whole price goes back for one more payment of the booking."""
        ids = {name: uuid4() for name in ("payment", "receipt", "refund")}
        values = {**ids, "booking": self.booking_id, "reason": reason, "status": status}
        values["attempt"] = ids["payment"].int % 10**9
        async with self.engine.begin() as conn:
            for statement in ADD_REFUND:
                await conn.execute(statement, {**values, "name": str(ids["refund"])})

    def mails(self) -> list[dict[str, Any]]:
        return self.sink.messages(self.email)


async def booked(engine: AsyncEngine, *, phone: str | None) -> tuple[UUID, UUID]:
    """A confirmed booking and its owner."""
    hall = await create_hall(engine)
    user_id, booking_id = await create_user(engine, phone=phone), uuid4()
    ids = {"id": booking_id, "user_id": user_id, "show_id": hall.show_id}
    async with engine.begin() as conn:
        await conn.execute(ADD_BOOKING, ids)
        # The tenth seat reads after the second.
        await conn.execute(ADD_SEAT, [{**ids, "label": label} for label in ("A10", "A2")])
    return booking_id, user_id


async def post_of(
    engine: AsyncEngine,
    database: Database,
    settings: Settings,
    sink: Sink,
    sms: HttpSmsSender,
    phone: str | None,
) -> Post:
    booking_id, user_id = await booked(engine, phone=phone)
    mailer = SmtpMailer(sink.settings(settings), answer_seconds=2, idle_seconds=0)
    loop = OutboxLoop(PostgresOutboxQueue(database), mailer, sms, render)
    return Post(engine, database, sink, loop, booking_id, user_id, f"{user_id}@example.test", phone)
