"""A cancelled show on real servers: everybody's seats end and everybody's money goes back."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError

from contracts.refund import refund_workflow_id
from contracts.show_cancel import show_cancel_workflow_id
from domain.errors import Conflict, NotFound
from domain.steps import CancelRequest
from infra.temporal_shows import TemporalShowProcess
from services import booking as bookings
from services import show_cancel
from services.process import ProcessAway, ProcessUnknown
from services.show_cancel import ShowDesk
from services.show_ports import CancelShow
from tests.factories import create_hall
from tests.helpers.eventually import eventually
from tests.helpers.saga import Fault, Saga
from tests.helpers.show_cancel import (
    RATE,
    TOLD,
    WHY,
    Box,
    DiesAtRefund,
    open_accounts,
    refunds,
)
from tests.sandbox.process import Sandbox

CHANGES = """
SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM audit_log),
       (SELECT count(*) FROM notification_outbox), (SELECT count(*) FROM show_cancellations),
       (SELECT sum(version) FROM bookings), (SELECT count(*) FROM refunds),
       (SELECT status FROM shows WHERE id = :show)
"""
CLAIMS = "SELECT count(*) FROM seat_claims WHERE show_id = :show AND state <> 'free'"
STREAM = "SELECT count(*) FROM events WHERE aggregate_id = :show AND event_type = 'ShowCancelled'"
AUDITED = "SELECT count(*) FROM audit_log WHERE target = 'show:' || CAST(:show AS text)"
REPEATED = """
SELECT count(*) FROM (
    SELECT FROM events JOIN bookings ON bookings.id = aggregate_id
    WHERE show_id = :show AND event_type IN ('BookingCalledOff', 'BookingCancelled',
                                             'RefundReserved', 'BookingRefunded')
    GROUP BY aggregate_id, event_type HAVING count(*) > 1
) AS twice
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
        await box.confirm(payments=2)
    await eight(box)


async def eight(box: Box) -> None:
    """Half given up, given up, cancelled, free."""
    for _ in range(2):
        input, _ = await box.confirm()
        await box.refund(input, input.seats[0].label, amount=1200)
    for _ in range(2):
        input, _ = await box.confirm()
        await box.refund(input, *(seat.label for seat in input.seats), amount=2400)
    for _ in range(2):
        input = await box.hold()
        await box.saga.process.cancel(input.booking_id, CancelRequest(input.user_id))
    for _ in range(2):
        await box.free()


@pytest.mark.usefixtures("worker")
async def test_every_kind_of_booking_ends_right(box: Box) -> None:
    await thirty(box)
    before = await box.states()
    assert sum(before.values()) == 30
    desk = ShowDesk(box.saga.begin, box.saga.shows, refunds_per_second=RATE)
    plan = (await desk.plan(box.hall.show_id)).as_json()
    handle = await box.cancel()
    await box.until(refunds("count(*)", "reason = 'cancelled'"), 2)
    await box.send_back_what_was_found()
    report = (await handle.result()).report

    assert await box.states() == {"cancelled": 13, "refunded": 17}
    assert await box.one(CLAIMS) == 0
    payments = await box.payments()
    assert len(payments) == 21
    assert all(paid["captured"] == paid["refunded"] == 2400 for paid in payments)
    assert await open_accounts(box) == NOTHING_OPEN
    amount = {"amount": 11 * 2400 + 2 * 1700 + 2 * 1200, "currency": "EUR"}
    assert report["refunded"] == [{"provider": "sandbox", "count": 15, "amount": amount}]
    assert plan["refunds"] == report["refunded"]
    assert plan["bookings"] == before
    assert (plan["holds"], report["holds_ended"], report["without_money"]) == (9, 9, 2)
    assert report["pending"] == report["failed"] == report["cases"] == []
    # Two whole, two by seat, two by sum; two duplicates, and the two paid while their hold ended.
    [already] = report["already_refunded"]
    assert already["count"] == 10
    # Everybody but the two who cancelled, and the two who had their money back before.
    assert await box.one(TOLD) == 26
    assert await box.one("SELECT status FROM show_cancellations WHERE show_id = :show") == (
        "finished"
    )


@pytest.mark.usefixtures("worker")
async def test_a_dry_run_changes_nothing(box: Box) -> None:
    await box.hold()
    await box.confirm()
    before = await box.saga.rows(CHANGES, show=box.hall.show_id)
    desk = ShowDesk(box.saga.begin, box.saga.shows, refunds_per_second=0.5)
    told = (await desk.plan(box.hall.show_id)).as_json()
    assert told == {
        "bookings": {"confirmed": 1, "held": 1},
        "holds": 1,
        "refunds": [
            {"provider": "sandbox", "count": 1, "amount": {"amount": 2400, "currency": "EUR"}}
        ],
        "refunds_per_second": 0.5,
        "seconds": 2.0,
    }
    assert await box.saga.rows(CHANGES, show=box.hall.show_id) == before
    with pytest.raises(RPCError, match="not found"):
        await run_of(box).describe()


class Unheard(TemporalShowProcess):
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def cancel_show(self, show_id: UUID, *_: Any, **__: Any) -> None:
        raise self._error


@pytest.mark.usefixtures("worker")
async def test_a_repeat_joins_the_first_and_nobody_gets_in_any_more(box: Box) -> None:
    input, _ = await box.confirm()
    desk = ShowDesk(box.saga.begin, box.saga.shows, refunds_per_second=RATE)
    wish = CancelShow(box.hall.show_id, WHY, "operator:test", None)
    for error in (ProcessAway("away"), ProcessUnknown("slow")):
        # It is on record, and that is enough.
        unheard = Unheard(error)
        await ShowDesk(box.saga.begin, unheard, refunds_per_second=RATE).cancel(wish)
    await asyncio.gather(*(desk.cancel(wish) for _ in range(5)))
    await run_of(box).result()
    await desk.cancel(wish)
    await run_of(box).result()
    assert await box.one(STREAM) == 1
    assert await box.one(AUDITED) == 1
    assert await box.one(refunds("count(*)")) == 1
    async with box.saga.begin() as tx:
        # One that ended since it was listed.
        assert await show_cancel.refund_whole(tx, UUID(input.booking_id), request_id=None) is None
    assert await box.saga.state(input) == "refunded"
    with pytest.raises(Conflict) as refused:
        await box.hold()
    assert refused.value.code == "sales_closed"
    with pytest.raises(NotFound):
        await desk.cancel(CancelShow(uuid4(), WHY, "operator:test", None))


async def test_cancelling_waits_for_a_hold_under_way_and_the_next_one_is_refused(
    box: Box,
) -> None:
    """Between the look at the show and the hold's end nobody can cancel the show."""
    first, second = box.brief(), box.brief()
    wish = CancelShow(box.hall.show_id, WHY, "operator:test", None)
    for input in (first, second):
        async with box.saga.begin() as tx:
            await tx.bookings.add_request(input, key_hash=None, body_hash=b"body")
    async with box.saga.begin() as tx:
        assert (await bookings.hold(tx, first)).state == "held"
        cancelling = asyncio.create_task(cancelled(box, wish))
        await eventually(lambda: waits_for_a_lock(box), seconds=20)
        assert not cancelling.done()
    assert await cancelling
    async with box.saga.begin() as tx:
        assert (await bookings.hold(tx, second)).code == "sales_closed"


async def cancelled(box: Box, wish: CancelShow) -> bool:
    async with box.saga.begin() as tx:
        return await show_cancel.cancel(tx, wish, refunds_per_second=1)


async def waits_for_a_lock(box: Box) -> bool:
    return bool(
        await box.saga.rows(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory'"
            " AND datname = current_database()"
        )
    )


@pytest.mark.usefixtures("worker")
async def test_late_money_goes_back_whenever_the_hold_ended(box: Box) -> None:
    """One hold lapsed before the show was cancelled, one ended with it; both are paid after."""
    lapsed, lapsed_page = await box.open_page(hold_seconds=1, hold_max_seconds=2)
    await box.saga.handle(lapsed).result()
    ended, ended_page = await box.open_page()
    await (await box.cancel()).result()
    assert await box.saga.state(ended) == "cancelled"
    for page in (lapsed_page, ended_page):
        box.pay(page, force=True)
        await box.tell(page)
    await box.until(refunds("count(*)", "status = 'succeeded'"), 2)
    assert [paid["refunded"] for paid in await box.payments()] == [2400, 2400]
    assert await box.states() == {"cancelled": 1, "expired": 1}
    assert await open_accounts(box) == NOTHING_OPEN


@pytest.mark.parametrize("fault", [None, Fault("start_refunds", "after", times=1)], ids=str)
async def test_the_pace_is_kept_by_timers_and_the_history_stays_short(
    box: Box, fault: Fault | None
) -> None:
    """Eight refunds at two a second: timers of four seconds at least, over several runs.

    A try that failed after it had started some counts as a full one: never faster.
    """
    async with box.saga.worker(fault):
        for _ in range(8):
            await box.confirm()
        handle = await box.cancel(rate=2.0, bookings_per_run=3)
        await handle.result()
    timers, runs, run_id = 0.0, 0, handle.result_run_id
    while run_id is not None:
        history = await box.saga.client.get_workflow_handle(
            handle.id, run_id=run_id
        ).fetch_history()
        assert len(history.events) < 60
        runs, run_id = runs + 1, None
        for event in history.events:
            if "pace" in await summary_of(box, event):
                waits = event.timer_started_event_attributes.start_to_fire_timeout
                timers += waits.ToTimedelta().total_seconds()
            if event.HasField("workflow_execution_continued_as_new_event_attributes"):
                new = event.workflow_execution_continued_as_new_event_attributes
                run_id = new.new_execution_run_id
    assert timers >= 8 / 2.0
    assert runs > 2
    assert await box.states() == {"refunded": 8}


async def summary_of(box: Box, event: HistoryEvent) -> str:
    """What a person reads at the event; it is stored sealed, as everything else."""
    sealed = event.user_metadata.summary
    if not sealed.data:
        return ""
    [told] = await box.saga.client.data_converter.decode([sealed], [str])
    return str(told)


@pytest.mark.parametrize(
    ("step", "when"),
    [
        ("end_holds", "before"),
        ("end_holds", "after"),
        ("start_refunds", "before"),
        ("start_refunds", "after"),
        ("read_left", "before"),
        ("read_left", "after"),
        ("finish_show", "before"),
        ("finish_show", "after"),
    ],
)
async def test_each_refund_is_sent_once_whatever_fails(box: Box, step: str, when: str) -> None:
    fault = Fault(step, when, times=2)
    async with box.saga.worker(fault):
        await box.open_page()
        for _ in range(3):
            await box.confirm()
        await (await box.cancel()).result()
    assert fault.failed == 2
    await ended_once(box, count=3)


async def test_every_step_run_twice_changes_things_once(box: Box) -> None:
    async with box.saga.worker(Fault(repeat=2)):
        await box.hold()
        await box.free()
        for _ in range(2):
            await box.confirm()
        await (await box.cancel()).result()
    await ended_once(box, count=2)
    assert await box.one(TOLD) == 4


async def test_a_worker_that_dies_in_the_middle_is_followed_by_another(box: Box) -> None:
    """It dies between a refund and the start of its run; the reaper alone knows of that one."""
    process = DiesAtRefund(box.saga, 2)
    async with replace(box.saga, process_of=lambda _: process).worker():
        for _ in range(6):
            await box.confirm()
        handle = await box.cancel()
        booking_id, number = await process.unstarted
    run = box.saga.client.get_workflow_handle(refund_workflow_id(str(booking_id), number))
    with pytest.raises(RPCError, match="not found"):
        await run.describe()
    async with box.saga.worker():
        await box.until(refunds("count(*)", "refunds.status = 'succeeded'"), 5, seconds=90)
        assert (booking_id, number) in await box.saga.work.asked_refunds(seconds=0, limit=10**6)
        await box.saga.process.refund(booking_id, number, None)
        await handle.result()
    await ended_once(box, count=6)


async def ended_once(box: Box, *, count: int) -> None:
    payments = await box.payments()
    assert [paid["refunded"] for paid in payments] == [2400] * count
    for paid in payments:
        assert await box.refunds_of(paid["id"]) == [2400]
    assert await box.one(refunds("count(*)")) == count
    assert await open_accounts(box) == NOTHING_OPEN
    assert await box.one(REPEATED) == 0


def run_of(box: Box) -> WorkflowHandle[Any, Any]:
    return box.saga.client.get_workflow_handle(show_cancel_workflow_id(str(box.hall.show_id)))
