"""A partner as the tests act him: his endpoints, what happens, and what he hears of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.outbound import OutboundPolicy
from infra.outbound import Outbound
from infra.partner_sender import SignedSender
from infra.postgres.database import Database
from infra.postgres.partner_delivery import PostgresDeliveryQueue
from infra.postgres.partner_endpoint import PostgresEndpoints
from infra.postgres.partner_feed import PostgresPartnerFeed
from infra.sealing import SealRing
from loops.partner_delivery import PartnerDeliveryLoop
from loops.partner_feed import PartnerFeedLoop
from services.partner import Owner, PartnerDesk
from tests.factories import create_user
from tests.helpers.horizon import horizon_passed
from tests.partner.receiver import Receiver

HAPPENED = text("""
INSERT INTO events (aggregate_id, sequence, event_type, payload, actor, version, previous_hash,
                    hash)
VALUES (:id, 1, :event_type, '{}', 'test', 1, '', '')
""")
MANAGER = text("UPDATE users SET role = 'manager' WHERE id = :id")
TOTAL_SECONDS = 1.0


@dataclass
class Partner:
    engine: AsyncEngine
    database: Database
    receiver: Receiver
    owner: Owner
    desk: PartnerDesk
    feed: PartnerFeedLoop
    sender: SignedSender
    loop: PartnerDeliveryLoop
    endpoints: list[UUID] = field(default_factory=list)

    async def listen(
        self, path: str, *event_types: str, behaviour: str = "200"
    ) -> tuple[UUID, str]:
        """An endpoint at a path of the receiver: its id and its secret."""
        self.receiver.behaviour[path] = behaviour
        endpoint_id, secret = await self.desk.create(
            self.owner,
            url=self.receiver.url(path),
            description="",
            event_types=event_types or ("show.cancelled",),
        )
        self.endpoints.append(endpoint_id)
        return endpoint_id, secret

    async def happens(self, event_type: str = "ShowCancelled") -> UUID:
        """One more event in the store; whose it is."""
        aggregate_id = uuid4()
        async with self.engine.begin() as connection:
            await connection.execute(HAPPENED, {"id": aggregate_id, "event_type": event_type})
        return aggregate_id

    async def catch_up(self) -> None:
        """Until all that is in the store is told; others may keep the horizon back."""
        await horizon_passed(self.database)
        while await self.feed.one_pass():
            pass

    async def deliver(self) -> None:
        """Begin what is due, and let it end."""
        while await self.loop.one_pass():
            await self.loop.drain()

    async def tell(self, count: int = 1) -> list[UUID]:
        """So many shows are cancelled, told and delivered, as far as they are taken."""
        shows = [await self.happens() for _ in range(count)]
        await self.catch_up()
        await self.deliver()
        return shows

    async def rows(self, statement: str, **values: Any) -> list[Any]:
        async with self.engine.connect() as connection:
            return list(await connection.execute(text(statement), values))

    async def change(self, statement: str, **values: Any) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(text(statement), values)

    async def deliveries(self, endpoint_id: UUID) -> list[Any]:
        return await self.rows(DELIVERIES, id=endpoint_id)

    async def endpoint(self, endpoint_id: UUID) -> Any:
        [row] = await self.rows("SELECT * FROM partner_endpoints WHERE id = :id", id=endpoint_id)
        return row

    async def due_now(self, endpoint_id: UUID) -> None:
        """As if the pause were over."""
        await self.change(
            "UPDATE partner_deliveries SET next_attempt_at = now()"
            " WHERE endpoint_id = :id AND state = 'pending'",
            id=endpoint_id,
        )

    async def leave(self) -> None:
        await self.loop.drain()
        await self.sender.aclose()
        await self.change("DELETE FROM partner_endpoints WHERE owner_id = :id", id=self.owner.id)


DELIVERIES = """
SELECT delivery.*, event.body FROM partner_deliveries AS delivery
JOIN partner_events AS event ON event.id = partner_event_id
WHERE endpoint_id = :id ORDER BY partner_event_id
"""


async def new_partner(
    engine: AsyncEngine,
    database: Database,
    receiver: Receiver,
    keys: str,
    policy: OutboundPolicy,
) -> Partner:
    ring = SealRing(keys)
    owner_id = await create_user(engine)
    async with engine.begin() as connection:
        await connection.execute(MANAGER, {"id": owner_id})
    sender = SignedSender(ring, Outbound(policy, total_seconds=TOTAL_SECONDS))
    return Partner(
        engine=engine,
        database=database,
        receiver=receiver,
        owner=Owner(owner_id, "test-request"),
        desk=PartnerDesk(PostgresEndpoints(database), ring, policy),
        feed=PartnerFeedLoop(PostgresPartnerFeed(database)),
        sender=sender,
        loop=PartnerDeliveryLoop(PostgresDeliveryQueue(database), sender),
    )
