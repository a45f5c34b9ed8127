"""The ways of a booking that is paid by an authorisation, to be recorded and replayed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from domain.payment_policy import PaymentMode
from tests.factories import Hall
from tests.helpers.promises import Turn, WilfulGateway, authorised, let_go, receipt_id, refuse
from tests.helpers.saga import Saga
from tests.sandbox.process import Sandbox
from tests.workflows.test_booking_paths import pay, tell


@asynccontextmanager
async def promising(saga: Saga, provider: Sandbox, *turns: Turn) -> AsyncIterator[Saga]:
    """``saga`` in mode ``authorise``, its captures as ``turns`` say."""
    gateway = WilfulGateway(provider.url)
    gateway.turns = list(turns)
    yield replace(saga, gateways={gateway.name: gateway}, mode=PaymentMode.AUTHORISE)
    await gateway.aclose()


async def authorised_first(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    input = hall.input()
    async with promising(saga, provider) as ours, ours.worker():
        await authorised(ours, provider, input)
        assert (await ours.handle(input).result())["state"] == "confirmed"
    return saga.handle(input).id


async def authorised_at_the_end(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    input = hall.input(hold_seconds=1, hold_max_seconds=2)
    async with promising(saga, provider) as ours, ours.worker():
        await ours.reserve(input)
        pay(provider, await ours.checkout(input), "authorised")
        assert (await ours.handle(input).result())["state"] == "confirmed"
    return saga.handle(input).id


async def capture_refused(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    input = hall.input()
    async with promising(saga, provider, refuse) as ours, ours.worker():
        await authorised(ours, provider, input)
        assert (await ours.handle(input).result())["state"] == "expired"
    return saga.handle(input).id


async def worker_killed_mid_capture(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    input, reached = hall.input(), asyncio.Event()

    async def be_cut_off(take: Any) -> Any:
        await take()
        reached.set()
        await asyncio.Event().wait()

    async with promising(saga, provider, be_cut_off) as ours:
        async with ours.worker():
            await authorised(ours, provider, input)
            await reached.wait()
        async with ours.worker():
            assert (await ours.handle(input).result())["state"] == "confirmed"
    return saga.handle(input).id


async def late_authorisation(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    input = hall.input(hold_seconds=1, hold_max_seconds=2)
    async with promising(saga, provider) as ours, ours.worker():
        await ours.reserve(input)
        session_id = await ours.checkout(input)
        await ours.handle(input).result()
        reference = pay(provider, session_id, "authorised", force=True)
        await tell(ours, session_id)
        assert await let_go(ours, reference) == "voided"
        return f"late-payment-{await receipt_id(ours, reference)}"


PROMISE_PATHS = [
    authorised_first,
    authorised_at_the_end,
    capture_refused,
    worker_killed_mid_capture,
    late_authorisation,
]
