"""Late money, step by step: a booking that has expired, then its payment and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import WorkflowHandle

from domain.offer import LateState, OfferState
from domain.steps import BookingInput, LateOutcome, OfferAnswer
from services.process import ProcessOver
from tests.factories import Hall, create_user
from tests.helpers.eventually import eventually
from tests.helpers.saga import Saga
from tests.sandbox.process import Sandbox


async def page_of_ended_hold(saga: Saga, input: BookingInput) -> str:
    """Reserve, check out, and have an operator end it; the page's session, which is closed."""
    await saga.reserve(input)
    session_id = await saga.checkout(input)
    released = {"actor": "operator:test", "reason": "late"}
    await saga.handle(input).execute_update("force_release", released)
    assert (await saga.handle(input).result())["state"] == "expired"
    return session_id


@dataclass
class Late:
    """An expired booking whose pay page still takes money, as providers do by accident."""

    saga: Saga
    provider: Sandbox
    input: BookingInput
    session_id: str
    reference: str = ""

    @classmethod
    async def expired(cls, saga: Saga, hall: Hall, provider: Sandbox, *labels: str) -> Late:
        input = hall.input(*labels)
        return cls(saga, provider, input, await page_of_ended_hold(saga, input))

    async def pay(self, **act: Any) -> str:
        """Pay, and tell as a webhook does; the payment's id with us."""
        act = {"force": True, "webhooks": {"deliver": False}, **act}
        self.reference = self.provider.pay({"id": self.session_id}, "captured", **act)
        assert await self.saga.news.by_session("sandbox", self.session_id, request_id="webhook")
        [[receipt_id]] = await self.saga.rows(
            "SELECT id FROM provider_payments WHERE reference = :ref", ref=self.reference
        )
        return str(receipt_id)

    def handle(self, receipt_id: str) -> WorkflowHandle[Any, Any]:
        return self.saga.client.get_workflow_handle(f"late-payment-{receipt_id}")

    async def outcome(self, receipt_id: str) -> str:
        return str((await self.handle(receipt_id).result())["outcome"])

    async def offered(self, receipt_id: str) -> list[str]:
        """The labels on offer, as soon as there are any."""

        async def is_open() -> bool:
            return await self.offer_state(receipt_id) == OfferState.OPEN

        await eventually(is_open, message="no offer was made")
        async with self.saga.begin.alone() as tx:
            offer = await tx.offers.find(UUID(receipt_id))
        assert offer is not None
        return offer.labels

    async def offer_state(self, receipt_id: str) -> str | None:
        found = await self.saga.rows(
            "SELECT state FROM seat_offers WHERE provider_payment_id = :id", id=UUID(receipt_id)
        )
        return str(found[0][0]) if found else None

    async def answer(self, receipt_id: str, end: OfferState) -> LateOutcome:
        """As the route does, for a saga that may have ended meanwhile."""
        wish = OfferAnswer(receipt_id, end, self.input.user_id)
        try:
            return await self.saga.process.answer_offer(wish)
        except ProcessOver:
            return LateOutcome(LateState.NOTHING_DUE)

    def refunded(self, reference: str | None = None) -> int:
        return int(self.provider.payment(reference or self.reference)["refunded"])

    async def seats(self) -> list[str]:
        found = await self.saga.rows(
            "SELECT label FROM booking_seats WHERE booking_id = :id ORDER BY label",
            id=UUID(self.input.booking_id),
        )
        return [row[0] for row in found]

    async def mails(self) -> list[str]:
        found = await self.saga.rows(
            "SELECT template FROM notification_outbox WHERE booking_id = :id"
            " AND channel = 'email' ORDER BY id",
            id=UUID(self.input.booking_id),
        )
        return [row[0] for row in found]


async def rival_takes(engine: AsyncEngine, saga: Saga, hall: Hall, *labels: str) -> BookingInput:
    """Somebody else holds these seats."""
    rival = replace(hall, user_id=await create_user(engine)).input(*labels)
    assert await saga.reserve(rival) == "held"
    return rival


async def write(engine: AsyncEngine, statement: str, id_: UUID | str) -> None:
    """Change the row named ``:id`` behind everybody's back."""
    async with engine.begin() as connection:
        await connection.execute(text(statement), {"id": UUID(str(id_))})
