"""The ways of a cancelled show, to be recorded and replayed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from temporalio.client import WorkflowHandle

from contracts.refund import refund_workflow_id
from contracts.show_cancel import ShowCancelContract
from domain.show_cancel import OperatorRequest
from services.process import ProcessUnknown
from tests.factories import Hall
from tests.helpers.eventually import eventually
from tests.helpers.saga import Fault, Saga
from tests.helpers.show_cancel import Box, HardOfHearing, refunds
from tests.sandbox.process import NO_FAULTS, Sandbox


async def show_cancelled(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    """A hold and two sold bookings; an operator pauses and resumes."""
    box = Box(saga, hall, provider)
    async with saga.worker():
        await box.hold()
        for _ in range(2):
            await box.confirm()
        handle = await box.cancel(rate=1.0)
        told = OperatorRequest("operator:ada", "have a look")
        await handle.execute_update(ShowCancelContract.pause, told)
        await handle.execute_update(ShowCancelContract.resume, told)
        await handle.result()
    return handle.id


async def waits_for_balance(saga: Saga, hall: Hall, provider: Sandbox) -> WorkflowHandle[Any, Any]:
    """A cancelled show whose refund waits until it is told that there is money again."""
    box = Box(saga, hall, provider)
    provider.configure(refund_outcome="insufficient_balance")
    await box.confirm()
    handle = await box.cancel()
    await box.until("SELECT paused FROM show_cancellations WHERE show_id = :show", "balance")
    provider.configure(**NO_FAULTS)
    told = OperatorRequest("operator:ada", "topped up")
    await handle.execute_update(ShowCancelContract.resume, told)
    await handle.result()
    return handle


async def show_cancel_short(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    async with saga.worker():
        return (await waits_for_balance(saga, hall, provider)).id


async def refund_short(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    async with saga.worker():
        await waits_for_balance(saga, hall, provider)
        [(booking_id,)] = await saga.rows(
            "SELECT id::text FROM bookings WHERE show_id = :show", show=hall.show_id
        )
        return refund_workflow_id(booking_id, 1)


async def show_cancel_untold(saga: Saga, hall: Hall, provider: Sandbox) -> str:
    """A hold that cannot be told keeps no refund waiting, and is told when they are started."""
    process = HardOfHearing(saga, ProcessUnknown("stuck"))
    box = Box(replace(saga, process_of=lambda _: process), hall, provider)
    steps = Fault()

    async def told_twice() -> bool:
        return steps.times_run("end_holds", str(hall.show_id)) >= 2

    async with box.saga.worker(steps):
        process.deaf.add((await box.hold()).booking_id)
        await box.confirm()
        handle = await box.cancel()
        await box.until(refunds("count(*)", "refunds.status = 'succeeded'"), 1)
        await eventually(told_twice, seconds=30)
        process.deaf.clear()
        await handle.result()
    return handle.id


SHOW_PATHS = [show_cancelled, show_cancel_short, refund_short, show_cancel_untold]
