"""Bookings paid by an authorisation, and a provider whose captures go as a test wants."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from domain.errors import Conflict, Unavailable
from domain.payment import ProviderPayment
from domain.steps import BookingInput
from infra.gateways.sandbox import SandboxGateway
from tests.helpers.books import balances
from tests.helpers.own_pages import OwnPages
from tests.helpers.saga import Saga
from tests.sandbox.process import Sandbox
from tests.workflows.test_booking_paths import pay, tell

Take = Callable[[], Awaitable[ProviderPayment]]
Turn = Callable[[Take], Awaitable[ProviderPayment]]


class WilfulGateway(OwnPages):
    """Each capture takes the next of ``turns``, which may take the money or not; then as usual.

    Only of money on pages that were opened here.
    """

    def __init__(self, base_url: str) -> None:
        super().__init__(base_url)
        self.turns: list[Turn] = []
        self.asked = 0

    async def capture(self, reference: str, *, key: str) -> ProviderPayment:
        if (await self.read_payment(reference)).session_id not in self.pages:
            return await super().capture(reference, key=key)
        self.asked += 1

        async def take() -> ProviderPayment:
            return await SandboxGateway.capture(self, reference, key=key)

        return await (self.turns.pop(0)(take) if self.turns else take())


async def refuse(_: Take) -> ProviderPayment:
    raise Conflict("The card was declined.", code="provider_refused")


async def lose_the_answer(take: Take) -> ProviderPayment:
    await take()
    raise Unavailable("The answer was lost.")


async def be_away(_: Take) -> ProviderPayment:
    raise Unavailable("The provider is away.")


async def authorised(saga: Saga, provider: Sandbox, input: BookingInput, **act: Any) -> str:
    """Hold, check out and promise the money, of which the saga is told; the payment's id."""
    await saga.reserve(input)
    session_id = await saga.checkout(input)
    reference = pay(provider, session_id, "authorised", **act)
    await tell(saga, session_id)
    return reference


async def receipt_id(saga: Saga, reference: str) -> UUID:
    [[found]] = await saga.rows(
        "SELECT id FROM provider_payments WHERE reference = :ref", ref=reference
    )
    return UUID(str(found))


async def let_go(saga: Saga, reference: str) -> str:
    """Wait for the process that lets the payment go, begun as the reaper does; how it ended."""
    found = await receipt_id(saga, reference)
    await saga.news.tell_again(found)
    handle = saga.client.get_workflow_handle(f"late-payment-{found}")
    return str((await handle.result())["outcome"])


async def is_settled(saga: Saga, input: BookingInput) -> bool:
    """Every unit of the booking is in the ledger and accounted for."""
    async with saga.begin.alone() as tx:
        found = await balances(tx, UUID(input.booking_id))
    return bool(found) and all(balance.is_settled for balance in found)


async def payments(saga: Saga, input: BookingInput) -> list[tuple[Any, ...]]:
    """Status and verdict of each provider payment of the booking, oldest first."""
    return await saga.rows(
        "SELECT status, decision FROM provider_payments WHERE booking_id = :id ORDER BY created_at",
        id=UUID(input.booking_id),
    )
