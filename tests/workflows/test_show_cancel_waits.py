"""A cancelled show that has to wait: for the provider's balance, for an operator, for a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from contracts.refund import RefundContract
from contracts.show_cancel import ShowCancelContract
from domain.show_cancel import OperatorRequest
from infra.notify.render import render
from infra.postgres.outbox import PostgresOutboxQueue
from services.notification import Notice
from services.process import ProcessAway, ProcessUnknown
from tests.factories import create_hall
from tests.helpers.saga import Saga
from tests.helpers.show_cancel import TOLD, Box, HardOfHearing, refunds
from tests.sandbox.process import NO_FAULTS, Sandbox

TOPPED_UP = OperatorRequest("operator:ada", "topped up")
STATUS = "SELECT status FROM show_cancellations WHERE show_id = :show"
PAUSED = "SELECT paused FROM show_cancellations WHERE show_id = :show"
BALANCE_CASES = (
    "SELECT count(*) FROM cases WHERE dedupe = 'balance_too_low:' || CAST(:show AS text)"
)
STATES = "SELECT string_agg(state, ', ' ORDER BY state) FROM bookings WHERE show_id = :show"
SHORT = refunds("count(*)", "short_at IS NOT NULL")
AUDITED = (
    "SELECT string_agg(action || ' ' || actor || ': ' || reason, ', ' ORDER BY id)"
    " FROM audit_log WHERE target = 'show:' || CAST(:show AS text)"
)


@pytest.fixture
def broke(provider: Sandbox) -> Iterator[Sandbox]:
    """A provider whose balance is too low; it is whole again after the test."""
    provider.configure(refund_outcome="insufficient_balance")
    yield provider
    provider.configure(**NO_FAULTS)


@pytest.fixture
async def box(saga: Saga, engine: AsyncEngine, provider: Sandbox) -> Box:
    return Box(saga, await create_hall(engine, seats=20, starts_in_hours=1), provider)


@pytest.mark.usefixtures("worker")
async def test_a_balance_too_low_pauses_everything_with_one_case_until_it_is_topped_up(
    box: Box, broke: Sandbox
) -> None:
    for _ in range(5):
        await box.confirm()
    handle = await box.cancel(rate=2.0)
    await box.until(STATUS, "paused")
    await box.until(refunds("count(*) > 0", "short_at IS NOT NULL"), True)
    assert await box.one(BALANCE_CASES) == 1
    assert await box.one(refunds("count(*) < 5"))
    view = await handle.query(ShowCancelContract.progress)
    assert view.paused == "balance"
    assert "balance at the provider is too low" in view.story

    # Still too low: the one refund that is tried says so, and nothing else starts.
    started = await box.one(refunds("count(*)"))
    before = await box.one(refunds("max(short_at)"))
    await handle.execute_update(ShowCancelContract.resume, TOPPED_UP)
    await box.until(refunds(f"max(short_at) > '{before}'"), True)
    assert await box.one(refunds("count(*)")) == started
    assert await box.one(refunds("count(*)", "status = 'failed'")) == 0

    broke.configure(refund_outcome="succeeded")
    await handle.execute_update(ShowCancelContract.resume, TOPPED_UP)
    report = (await handle.result()).report
    assert report["refunded"][0]["count"] == 5
    assert report["failed"] == report["cases"] == []
    assert await box.states() == {"refunded": 5}
    assert [paid["refunded"] for paid in await box.payments()] == [2400] * 5
    assert await box.one(BALANCE_CASES) == 1
    assert await box.one(SHORT) == 0
    assert "show.cancel.resume operator:ada: topped up" in await box.one(AUDITED)


@pytest.mark.usefixtures("worker")
async def test_the_balance_is_tried_again_without_anybody_saying_so(
    box: Box, broke: Sandbox
) -> None:
    await box.confirm()
    handle = await box.cancel(first_probe_seconds=0.2)
    await box.until(STATUS, "paused")
    broke.configure(refund_outcome="succeeded")
    await handle.result()
    assert await box.states() == {"refunded": 1}


@pytest.mark.usefixtures("worker")
async def test_a_single_refund_waits_for_the_balance_and_is_not_withdrawn(
    box: Box, broke: Sandbox
) -> None:
    input, reference = await box.confirm()
    handle = await box.ask_refund(input, amount=500)
    await box.until(SHORT, 1)
    assert await box.one(refunds("status")) == "pending"
    broke.configure(refund_outcome="succeeded")
    await handle.signal(RefundContract.ask_again)
    assert (await handle.result())["outcome"] == "succeeded"
    assert await box.refunds_of(reference) == [500]


@pytest.mark.usefixtures("worker")
async def test_an_operator_pauses_and_goes_on(box: Box) -> None:
    for _ in range(4):
        await box.confirm()
    handle = await box.cancel(rate=1.0)
    pause = OperatorRequest("operator:ada", "the bank called")
    for nobody in (OperatorRequest("", "x"), OperatorRequest("operator:ada", " ")):
        assert await refused(box, handle.id, "pause", nobody) == "invalid"
    assert await refused(box, handle.id, "resume", pause) == "invalid_state"
    view = await handle.execute_update(ShowCancelContract.pause, pause)
    assert view.paused == "the bank called"
    assert await refused(box, handle.id, "pause", pause) == "invalid_state"
    assert await box.one(PAUSED) == "the bank called"
    description = await handle.describe()
    assert description.status is not None
    started = refunds("count(*)")
    assert await box.one(started) < 4
    await handle.execute_update(ShowCancelContract.resume, TOPPED_UP)
    await handle.result()
    assert await box.one(started) == 4
    assert await box.one(STATUS) == "finished"
    told = await box.one(AUDITED)
    assert "show.cancel.pause operator:ada: the bank called" in told
    assert "show.cancel.resume operator:ada: topped up" in told


async def refused(box: Box, workflow_id: str, update: str, request: OperatorRequest) -> str | None:
    with pytest.raises(WorkflowUpdateFailedError) as failed:
        await box.saga.client.get_workflow_handle(workflow_id).execute_update(update, request)
    assert isinstance(failed.value.cause, ApplicationError)
    return failed.value.cause.type


@pytest.mark.usefixtures("worker")
async def test_what_the_provider_refuses_for_good_is_left_to_a_person(box: Box) -> None:
    """One payment is disputed: the others go back, and its booking has a case."""
    disputed, reference = await box.confirm()
    await box.confirm()
    box.provider.post(f"/test/payments/{reference}/dispute", {"outcome": "opened"})
    report = (await (await box.cancel()).result()).report
    assert await box.states() == {"confirmed": 1, "refunded": 1}
    kinds = await box.saga.rows(
        "SELECT kind FROM cases WHERE id = ANY(CAST(:ids AS uuid[])) AND booking_id = :booking",
        ids=report["cases"],
        booking=UUID(disputed.booking_id),
    )
    assert sorted(kinds) == [("refund_failed",), ("show_cancel_left",)]
    assert [one["count"] for one in report["failed"]] == [1]
    assert box.provider.payment(reference)["refunded"] == 0


@pytest.mark.usefixtures("worker")
async def test_refunds_that_settle_later_are_waited_for(box: Box, broke: Sandbox) -> None:
    input, reference = await box.confirm()
    broke.configure(refund_outcome="pending")
    handle = await box.cancel()
    await box.until(refunds("count(*)", "accepted_at IS NOT NULL"), 1)
    assert await box.one(STATUS) == "running"
    told = await notices(box, input.booking_id)
    assert "24.00 EUR goes back to you" in render(told["show_cancelled"], "email").text
    [refund] = [
        one for one in broke.get("/test/ledger").json()["refunds"] if one["payment_id"] == reference
    ]
    broke.post(f"/test/refunds/{refund['id']}/settle", {"outcome": "succeeded"})
    report = (await handle.result()).report
    assert [one["count"] for one in report["refunded"]] == [1]


@pytest.mark.parametrize("error", [ProcessUnknown("stuck"), ProcessAway("paused")], ids=repr)
async def test_holds_that_cannot_be_told_keep_no_refund_waiting(box: Box, error: Exception) -> None:
    """More of them than one step waits for, among one that can be told and two that are sold."""
    process = HardOfHearing(box.saga, error)
    box.saga = replace(box.saga, process_of=lambda _: process)
    async with box.saga.worker():
        for _ in range(5):
            process.deaf.add((await box.hold()).booking_id)
        await box.hold()
        for _ in range(2):
            await box.confirm()
        handle = await box.cancel()
        await box.until(refunds("count(*)", "refunds.status = 'succeeded'"), 2)
        await box.until(STATES, "cancelled, held, held, held, held, held, refunded, refunded")
        assert await box.one(STATUS) == "running"
        process.deaf.clear()
        report = (await handle.result()).report
    assert await box.states() == {"cancelled": 6, "refunded": 2}
    assert report["holds_ended"] == 6
    assert await box.one(TOLD) == 8


async def notices(box: Box, booking_id: str) -> dict[str, Notice]:
    """What waits to be sent to this buyer, by template."""
    taken = await PostgresOutboxQueue(box.saga.database).take(10_000, lease_seconds=0)
    return {one.template: one for _, one in taken if str(one.booking_id) == booking_id}
