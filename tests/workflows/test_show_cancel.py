"""A cancelled show on real servers: everybody's seats end and everybody's money goes back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from contracts.show_cancel import ShowCancelContract, show_cancel_workflow_id
from domain.errors import Conflict, NotFound
from domain.show_cancel import OperatorRequest
from services import booking as bookings
from services.ports import CancelShow
from services.show_cancel import ShowDesk
from tests.factories import create_hall
from tests.helpers.saga import Fault, Saga
from tests.helpers.show_cancel import WHY, Box, open_accounts
from tests.sandbox.process import Sandbox

CHANGES = """
SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM audit_log),
       (SELECT count(*) FROM notification_outbox), (SELECT count(*) FROM show_cancellations),
       (SELECT sum(version) FROM bookings), (SELECT count(*) FROM refunds),
       (SELECT status FROM shows WHERE id = :show)
"""
NOTHING_OPEN = {
    "provider": 0,
    "buyer": 0,
    "revenue": 0,
    "refunds_due": 0,
    "authorised": 0,
    "disputed": 0,
}


@pytest.fixture
async def box(saga: Saga, engine: AsyncEngine, provider: Sandbox) -> Box:
    hall = await create_hall(engine, seats=70, starts_in_hours=1)
    return Box(saga, hall, provider)


async def thirty(box: Box) -> None:
    """Bookings of every kind; an hour before the show, when a buyer's refund gives nothing."""
    for _ in range(4):
        await box.hold()
    for _ in range(3):
        await box.open_page()
    for _ in range(2):
        _, session_id = await box.open_page()
        box.pay(session_id)
    for _ in range(9):
        await box.confirm()
    for _ in range(2):
        input, _ = await box.confirm()
        await box.refund(input, amount=700)
    for _ in range(2):
        input, _ = await box.confirm()
        await box.refund(input, input.seats[0].label, amount=1200)
    for _ in range(2):
        input, _ = await box.confirm()
        await box.refund(input, *(seat.label for seat in input.seats), amount=2400)
    for _ in range(2):
        input = await box.hold()
        await box.saga.process.cancel(input.booking_id, _cancel_request())
    for _ in range(2):
        await box.free()
    for _ in range(2):
        await box.confirm(payments=2)


def _cancel_request() -> Any:
    from domain.steps import CancelRequest

    return CancelRequest("buyer")


@pytest.mark.usefixtures("worker")
async def test_every_kind_of_booking_ends_right(box: Box) -> None:
    await thirty(box)
    before = await box.states()
    assert sum(before.values()) == 30
    report = (await (await box.cancel()).result())["report"]

    assert await box.states() == {"cancelled": 13, "refunded": 17}
    assert await box.saga.rows(
        "SELECT 1 FROM seat_claims WHERE show_id = :show AND state <> 'free'",
        show=box.hall.show_id,
    ) == []
    payments = await box.payments()
    assert len(payments) == 21
    assert all(paid["captured"] == paid["refunded"] == 2400 for paid in payments)
    assert await open_accounts(box) == NOTHING_OPEN
    money = {"provider": "sandbox", "amount": {"amount": 13 * 2400 + 2 * 1700 + 2 * 1200}}
    [refunded] = report["refunded"]
    assert refunded["count"] == 15
    assert refunded["amount"] == {"currency": "EUR", "amount": 11 * 2400 + 2 * 1700 + 2 * 1200}
    assert report["holds_ended"] == 9
    assert report["without_money"] == 2
    assert report["pending"] == report["failed"] == report["cases"] == []
    del money
