"""A cancelled show that has to wait: for the provider's balance, for an operator, for a person."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from contracts.refund import RefundContract
from contracts.show_cancel import ShowCancelContract
from domain.show_cancel import OperatorRequest, PauseStep, Probe
from infra.notify.render import render
from infra.postgres.outbox import PostgresOutboxQueue
from services import show_cancel
from services.notification import Notice
from services.process import ProcessAway, ProcessUnknown
from services.show_ports import CancelShow
from tests.factories import create_hall
from tests.helpers.eventually import eventually
from tests.helpers.saga import Fault, Saga
from tests.helpers.show_cancel import TOLD, WHY, Box, HardOfHearing, open_accounts, refunds
from tests.sandbox.process import NO_FAULTS, Sandbox
from tests.workflows.test_show_cancel import NOTHING_OPEN

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
    handle = await box.ask_refund(input, amount=2400)
    await box.until(SHORT, 1)
    assert await box.one(refunds("status")) == "pending"
    async with box.saga.begin() as tx:
        # Nor does its show take the seats: there is money again, should it be withdrawn.
        assert await show_cancel.refund_whole(tx, UUID(input.booking_id), request_id=None) is None
        # A hold that was paid since it was listed: its buyer is told when the money goes.
        assert not await show_cancel.tell_holder(tx, UUID(input.booking_id), request_id=None)
    assert await box.saga.state(input) == "confirmed"
    assert "BookingCalledOff" not in await box.saga.events(input)
    broke.configure(refund_outcome="succeeded")
    await handle.signal(RefundContract.ask_again)
    assert (await handle.result())["outcome"] == "succeeded"
    assert await box.refunds_of(reference) == [2400]


@pytest.mark.usefixtures("worker")
async def test_a_refund_that_is_refused_for_another_reason_waits_for_no_balance(
    box: Box, broke: Sandbox
) -> None:
    """It was disputed meanwhile: the run asks for the next one, and its own process ends it."""
    input, reference = await box.confirm()
    handle = await box.ask_refund(input, amount=2400)
    await box.until(SHORT, 1)
    broke.dispute(reference, "opened")
    begin, gateways = box.saga.begin, box.saga.gateways
    for wanted in (Probe.SENT, Probe.NOTHING):
        found, _ = await show_cancel.probe(begin, gateways, box.hall.show_id, request_id=None)
        assert found is wanted
    await handle.signal(RefundContract.ask_again)
    assert (await handle.result())["outcome"] == "failed"
    assert await box.refunds_of(reference) == []


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


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_pause_whose_note_fails_does_not_come_back_after_the_resume(
    box: Box, broke: Sandbox, when: str
) -> None:
    """The note of the pause is tried again while the operator resumes already."""
    broke.configure(refund_outcome="pending")
    fault, pause = Fault("note_pause", when, times=1), OperatorRequest("operator:ada", "wait")
    async with box.saga.worker(fault):
        _, reference = await box.confirm()
        handle = await box.cancel()
        await box.until(refunds("count(*)", "accepted_at IS NOT NULL"), 1)
        pausing = asyncio.create_task(handle.execute_update(ShowCancelContract.pause, pause))
        await eventually(lambda: is_paused(handle), seconds=30)
        view = await handle.execute_update(ShowCancelContract.resume, TOPPED_UP)
        await pausing
        assert fault.failed == 1
        assert (view.paused, await box.one(PAUSED)) == (None, None)
        assert await box.one(STATUS) == "running"
        assert await refused(box, handle.id, "resume", TOPPED_UP) == "invalid_state"
        settle(broke, reference)
        await handle.result()
    assert await box.one(AUDITED) == (
        "show.cancel operator:test: The projector is broken.,"
        " show.cancel.pause operator:ada: wait, show.cancel.resume operator:ada: topped up"
    )


async def is_paused(handle: WorkflowHandle[Any, Any]) -> bool:
    return (await handle.query(ShowCancelContract.progress)).paused is not None


async def test_a_note_that_is_written_again_changes_nothing(box: Box) -> None:
    """Though the pause was ended since: only the answer of the first had been lost."""
    show = str(box.hall.show_id)
    pause = PauseStep(show, "wait", OperatorRequest("operator:ada", "wait"), None, "pause-1")
    resume = PauseStep(show, None, TOPPED_UP, None, "resume-1")
    wish = CancelShow(box.hall.show_id, WHY, "operator:test", None)
    async with box.saga.begin() as tx:
        await show_cancel.cancel(tx, wish, refunds_per_second=1)
    for step, paused in ((pause, "wait"), (resume, None), (pause, None)):
        async with box.saga.begin() as tx:
            await show_cancel.pause(tx, step)
        assert await box.one(PAUSED) == paused
    assert (await box.one(AUDITED)).count("show.cancel.pause") == 1


class SecondLook(Fault):
    """After the first, a show's refunds are started only once that is ``opened``."""

    def __init__(self, show_id: UUID) -> None:
        super().__init__()
        self._show_id = str(show_id)
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def hold(self, name: str) -> None:
        is_ours = self._show_id in (activity.info().workflow_id or "")
        if is_ours and name == "start_refunds" and self.times_run(name, self._show_id) > 1:
            self.reached.set()
            await self.opened.wait()


async def test_an_operators_pause_stands_above_that_of_the_balance(
    box: Box, broke: Sandbox
) -> None:
    """It was paused already when it hears that the balance is too low."""
    look = SecondLook(box.hall.show_id)
    async with box.saga.worker(look):
        for _ in range(2):
            await box.confirm()
        handle = await box.cancel(rate=1.0)
        await look.reached.wait()
        pause = OperatorRequest("operator:ada", "wait")
        await handle.execute_update(ShowCancelContract.pause, pause)
        await box.until(SHORT, 1)
        look.opened.set()
        await box.until(BALANCE_CASES, 1)
        await box.until(PAUSED, "wait")
        await handle.execute_update(ShowCancelContract.resume, TOPPED_UP)
        assert await box.one(PAUSED) == "balance"
        broke.configure(refund_outcome="succeeded")
        await handle.execute_update(ShowCancelContract.resume, TOPPED_UP)
        await handle.result()


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
async def test_money_in_dispute_that_is_to_go_back_keeps_no_report_waiting(box: Box) -> None:
    """Paid twice, and disputed before the payment too many went back: won, it goes back."""
    input, session_id = await box.open_page()
    box.pay(session_id)
    await box.tell(session_id)
    assert (await box.saga.handle(input).result())["state"] == "confirmed"
    extra = box.pay(session_id, force=True)
    box.provider.dispute(extra, "opened")
    await box.tell(session_id)
    handle = await box.cancel()
    report = (await asyncio.wait_for(handle.result(), 60)).report
    assert await box.one(STATUS) == "finished"
    assert await box.states() == {"refunded": 1}
    [summary] = await left_over(box, report["cases"])
    assert "in dispute" in summary
    assert box.provider.payment(extra)["refunded"] == 0

    box.provider.dispute(extra, "won")
    await box.tell(session_id)
    await box.until(refunds("count(*)", "refunds.status = 'succeeded'"), 2)
    assert [paid["refunded"] for paid in await box.payments()] == [2400, 2400]
    assert await box.refunds_of(extra) == [2400]
    assert await open_accounts(box) == NOTHING_OPEN


@pytest.mark.usefixtures("worker")
async def test_a_refund_on_its_way_is_waited_for_though_its_payment_is_disputed(
    box: Box, broke: Sandbox
) -> None:
    """The bank has it already, so it settles in days, whatever becomes of the dispute."""
    input, session_id = await box.open_page()
    box.pay(session_id)
    await box.tell(session_id)
    assert (await box.saga.handle(input).result())["state"] == "confirmed"
    broke.configure(refund_outcome="pending")
    extra = box.pay(session_id, force=True)
    await box.tell(session_id)
    await box.until(refunds("count(*)", "refunds.reference IS NOT NULL"), 1)
    broke.configure(refund_outcome="succeeded")
    broke.dispute(extra, "opened", amount=2400)
    await box.tell(session_id)
    async with box.saga.begin.alone() as tx:
        left = await tx.shows.left(box.hall.show_id)
        [one] = await tx.shows.leftovers(box.hall.show_id)
    assert left.pending == 1
    assert not one.waits_for_bank, "it is there because it is confirmed"


async def left_over(box: Box, case_ids: list[str]) -> list[str]:
    """What the cases of a report say that are about what could not go back."""
    found = await box.saga.rows(
        "SELECT summary FROM cases WHERE id = ANY(CAST(:ids AS uuid[]))"
        " AND kind = 'show_cancel_left'",
        ids=case_ids,
    )
    return [summary for (summary,) in found]


@pytest.mark.usefixtures("worker")
async def test_refunds_that_settle_later_are_waited_for(box: Box, broke: Sandbox) -> None:
    input, reference = await box.confirm()
    broke.configure(refund_outcome="pending")
    handle = await box.cancel()
    await box.until(refunds("count(*)", "accepted_at IS NOT NULL"), 1)
    assert await box.one(STATUS) == "running"
    told = await notices(box, input.booking_id)
    assert "24.00 EUR goes back to you" in render(told["show_cancelled"], "email").text
    settle(broke, reference)
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


def settle(provider: Sandbox, reference: str) -> None:
    """The one refund of this payment, which the provider had left pending."""
    made = provider.get("/test/ledger").json()["refunds"]
    [refund] = [one for one in made if one["payment_id"] == reference]
    provider.post(f"/test/refunds/{refund['id']}/settle", {"outcome": "succeeded"})


async def notices(box: Box, booking_id: str) -> dict[str, Notice]:
    """What waits to be sent to this buyer, by template."""
    taken = await PostgresOutboxQueue(box.saga.database).take(10_000, lease_seconds=0)
    return {one.template: one for _, one in taken if str(one.booking_id) == booking_id}
