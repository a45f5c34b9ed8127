"""End a hold through its own process, whether or not that is running."""

from __future__ import annotations

from uuid import UUID

from domain.steps import CancelRequest, StepOutcome
from services.ports import UnitOfWork
from services.process import BookingProcess, ProcessOver
from services.work import WorkQueue


async def cancel(
    begin: UnitOfWork,
    process: BookingProcess,
    work: WorkQueue,
    booking_id: UUID,
    request: CancelRequest,
) -> StepOutcome:
    """Cancel an existing booking; one without a process is started again, or is over.

    Raises:
        ProcessAway, ProcessUnknown: it may not have been heard.
        ProcessOver: it ended this very moment; read the booking.
        Conflict: its state does not allow it.
    """
    try:
        return await process.cancel(str(booking_id), request)
    except ProcessOver:
        input = await work.booking_input(booking_id)
        if input is None:
            async with begin.alone() as tx:
                ended = await tx.bookings.peek(booking_id)
            assert ended is not None, "the caller knows the booking"
            return StepOutcome(ended.state)
        await process.ensure_running(input)
        return await process.cancel(str(booking_id), request)
