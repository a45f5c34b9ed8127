"""Events of Stripe's about other things than payments, on an endpoint that is sent them all."""

from __future__ import annotations

import httpx2
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.api.booking.test_stripe_booking import (
    app,
    named,
    row,
    saga,
    send,
    stripe_gateway,
    town,
    work_through,
)
from tests.helpers.saga import Saga

__all__ = ["app", "saga", "stripe_gateway", "town"]


@pytest.mark.parametrize(
    ("kind", "thing", "is_case"),
    [
        ("payout.paid", "payout", False),
        ("customer.created", "customer", False),
        ("charge.updated", "charge", True),
        ("refund.updated", "refund", True),
    ],
)
async def test_an_event_that_tells_of_no_payment_is_set_aside_and_nobodys_case(
    client: httpx2.AsyncClient,
    engine: AsyncEngine,
    saga: Saga,
    kind: str,
    thing: str,
    is_case: bool,
) -> None:
    """An endpoint may be sent all events there are; money of no booking is for a person."""
    data = {"object": {"id": "thing_1", "object": thing}}
    body, name = named("charge.refunded", type=kind, data=data)
    assert (await send(client, body)).status_code == 204
    await work_through(saga)
    found = await row(engine, name)
    assert found.status == "quarantined"
    assert (found.reason == f"{kind} tells of no payment") is not is_case
    cases = await saga.rows(
        "SELECT kind FROM cases WHERE dedupe = :it", it=f"unknown_payment:stripe:{name}"
    )
    assert cases == ([("unknown_payment",)] if is_case else [])
