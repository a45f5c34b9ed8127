"""Use cases that ask a provider between two transactions; each may be repeated."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from domain.errors import Conflict, Unavailable
from domain.payment import ProviderSession, SessionStatus
from services import payment
from services.gateway import PaymentGateway
from services.payment import Recorded
from services.ports import Attempt, UnitOfWork

Gateways = Mapping[str, PaymentGateway]


async def open_session(begin: UnitOfWork, gateways: Gateways, attempt: Attempt) -> Attempt:
    """Open the attempt's pay page; a repeat, also after a crash, gets the same page.

    Raises:
        Unavailable: the provider did not answer; the attempt stands and is tried again.
    """
    if attempt.session_id is not None:
        return attempt
    session = await gateways[attempt.provider].open_session(
        key=str(attempt.id),
        booking_id=str(attempt.booking_id),
        amount=attempt.amount,
        return_url=attempt.return_url,
        expires_at=attempt.expires_at,
    )
    async with begin.alone() as tx:
        return await tx.payments.set_session(attempt.id, session.session_id, session.checkout_url)


async def close_sessions(
    begin: UnitOfWork, gateways: Gateways, booking_id: UUID, *, request_id: str | None
) -> tuple[bool, list[UUID]]:
    """Close every pay page of the booking that may still take money.

    Returns:
        Whether all are closed for certain, and the captured payments that may confirm. An
        answer that did not come counts as open: not knowing is a value, not an error.
    """
    async with begin.alone() as tx:
        attempts = await tx.payments.attempts(booking_id)
    closed, captured = True, []
    for attempt in (one for one in attempts if one.session_open):
        try:
            session = await _expire(begin, gateways, attempt)
        except Unavailable:
            closed = False
            continue
        if session is None:
            async with begin() as tx:
                tx.payments.close_session(attempt.id)
            continue
        for recorded in await record_session(begin, attempt, session, request_id=request_id):
            if recorded.confirms is not None:
                captured.append(recorded.confirms)
        closed = closed and session.status in (SessionStatus.EXPIRED, SessionStatus.PAID)
    return closed, captured


async def record_session(
    begin: UnitOfWork, attempt: Attempt, session: ProviderSession, *, request_id: str | None
) -> list[Recorded]:
    """Write down what a session read back from the provider tells, payment by payment."""
    async with begin() as tx:
        recorded = [
            await payment.record_payment(tx, attempt, paid, request_id=request_id)
            for paid in session.payments
        ]
        if session.status in (SessionStatus.EXPIRED, SessionStatus.PAID):
            tx.payments.close_session(attempt.id)
    return recorded


async def send_refund(
    begin: UnitOfWork, gateways: Gateways, receipt_id: UUID, *, request_id: str | None
) -> str:
    """Send the refund that was decided for a payment; ``nothing_due`` when there is none.

    ``disputed``: the buyer's bank holds the money or has taken it, so nothing is sent.

    Raises:
        Unavailable: the provider did not answer or has not settled it yet; ask again.
    """
    async with begin.alone() as tx:
        refund = await tx.payments.refund_of(receipt_id)
        receipt = await tx.payments.receipt(receipt_id)
    if refund is None:
        return "nothing_due"
    if refund.status == "succeeded":
        return refund.status
    if receipt is not None and receipt.disputed:
        # Open: the end of the dispute starts this again. Lost: the buyer has the money.
        return "disputed"
    answer = await gateways[refund.provider].refund(
        refund.reference, key=refund.idempotency_key, amount=refund.amount
    )
    if answer.status == "pending":
        # A repeat of a key answers as the first time, for ever: ask how the refund stands now.
        answer = await gateways[refund.provider].read_refund(answer.reference)
    async with begin() as tx:
        await payment.settle_refund(
            tx, receipt_id, status=answer.status, reference=answer.reference, request_id=request_id
        )
    if answer.status != "succeeded":
        raise Unavailable(f"The provider says the refund is {answer.status}.")
    return answer.status


async def _expire(
    begin: UnitOfWork, gateways: Gateways, attempt: Attempt
) -> ProviderSession | None:
    """A page whose id never reached us is asked for again by its key, then closed.

    None when there is no page: it is refused now, and one opened before had been given again.
    """
    try:
        known = await open_session(begin, gateways, attempt)
    except Conflict:
        return None
    assert known.session_id is not None, "open_session stored it"
    return await gateways[attempt.provider].expire_session(
        known.session_id, key=f"cancel:{attempt.id}"
    )
