"""A refund that the provider says has failed: sent again under a new key, a few times (P8).

A new key pays a second time unless the first one paid nothing. So it is made here only, on the
provider's own word; an answer that did not come keeps the key, for as long as it takes.
"""

from __future__ import annotations

from uuid import UUID

from domain.booking import Booking
from domain.events import Event, EventType
from domain.limits import REFUND_RETRIES
from services.ports import Transaction


async def try_again(
    tx: Transaction,
    booking: Booking,
    refund_id: UUID,
    *,
    reference: str | None,
    tries: int,
    request_id: str | None,
) -> bool:
    """Prepare the next sending of a refund whose try number ``tries`` (from 0) has failed.

    ``reference`` is the provider's id of the failed one, None where it refused to make one. The
    booking is locked. False when that was the last: then it has failed for good. A repeat
    prepares nothing twice.
    """
    if tries >= REFUND_RETRIES:
        return False
    if await tx.refunds.try_again(refund_id, reference, tries):
        told = {"refund_id": str(refund_id), "failed": tries + 1, "reference": reference}
        events = [Event(EventType.REFUND_RETRIED, told)]
        tx.bookings.record(booking, events, actor="system", request_id=request_id)
    return True
