"""Use cases that ask a provider between two transactions; each may be repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from domain.errors import BalanceTooLow, Conflict, NotFound, Unavailable
from domain.payment import ProviderRefund, ProviderSession, SessionStatus
from domain.refund import RETRY
from services import capture, dispute, payment
from services.gateway import PaymentGateway
from services.payment import Recorded
from services.payment_rows import Attempt
from services.ports import Refund, UnitOfWork
from services.refund_retry import try_again

log = structlog.get_logger(__name__)
Gateways = Mapping[str, PaymentGateway]


async def open_session(
    begin: UnitOfWork, gateways: Gateways, attempt: Attempt
) -> tuple[Attempt, bool]:
    """Open the attempt's pay page; a repeat, also after a crash, gets the same page.

    Of calls at one moment one is told True: it opened the page.

    Raises:
        Unavailable: the provider did not answer; the attempt stands and is tried again.
    """
    if attempt.session_id is not None:
        return attempt, False
    session = await gateways[attempt.provider].open_session(
        key=str(attempt.id),
        booking_id=str(attempt.booking_id),
        amount=attempt.amount,
        return_url=attempt.return_url,
        expires_at=attempt.expires_at,
        mode=attempt.mode,
    )
    async with begin.alone() as tx:
        return await tx.payments.set_session(attempt.id, session.session_id, session.checkout_url)


@dataclass(slots=True)
class Closing:
    """``closed``: all pages are, for certain. ``captured``: payments found that may confirm.

    ``is_settling``: money is on its way on a page that is open.
    """

    closed: bool = True
    captured: list[UUID] = field(default_factory=list)
    is_settling: bool = False


async def close_sessions(
    begin: UnitOfWork, gateways: Gateways, booking_id: UUID, *, request_id: str | None
) -> Closing:
    """Close every pay page of the booking that may still take money.

    An answer that did not come counts as open, and so does a clear no: not knowing is a value, not
    an error. A page that the provider does not know may be open in another account.
    """
    async with begin.alone() as tx:
        attempts = await tx.payments.attempts(booking_id)
    found = Closing()
    for attempt in (one for one in attempts if one.session_open):
        try:
            session = await _expire(begin, gateways, attempt)
        except (Unavailable, Conflict, NotFound) as error:
            log.warning("page_not_closed", payment_id=str(attempt.id), reason=str(error))
            found.closed = False
            continue
        if session is None:
            async with begin() as tx:
                tx.payments.close_session(attempt.id)
            continue
        for recorded in await record_session(begin, attempt, session, request_id=request_id):
            if recorded.confirms is not None:
                found.captured.append(recorded.confirms)
        if session.status not in (SessionStatus.EXPIRED, SessionStatus.PAID):
            found.closed = False
            found.is_settling |= session.status is SessionStatus.PROCESSING
    return found


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
    """Send the refund that was decided for a payment, or void it where nothing was taken.

    ``nothing_due`` when neither was decided.

    ``retry``: the provider says that it failed, or will have none of it: send it again later,
    under the new key that it has now. ``failed``: that was the last try, and a case is open.
    ``disputed``: the buyer's bank holds the money or has taken it, so nothing is sent; what was
    sent before is read until it ends.

    Raises:
        Unavailable: the provider did not answer or has not settled it yet; ask again.
    """
    async with begin.alone() as tx:
        refund = await tx.payments.refund_of(receipt_id)
        receipt = await tx.payments.receipt(receipt_id)
    if refund is None:
        outcome = await capture.void(begin, gateways, receipt_id, request_id=request_id)
        if outcome != "captured":
            return outcome
        async with begin.alone() as tx:
            refund = await tx.payments.refund_of(receipt_id)
        assert refund is not None, "recording the capture decided it"
    if refund.status == "succeeded":
        return refund.status
    is_disputed = receipt is not None and receipt.disputed
    try:
        ask = _found_refund if is_disputed else _ask_refund
        answer = await ask(gateways[refund.provider], refund)
    except BalanceTooLow:
        async with begin.alone() as tx:
            tx.refunds.short(refund.id, is_short=True)
        raise
    if answer is None:
        # Open: the end of the dispute starts this again. Lost: the buyer has the money.
        return "disputed"
    if answer.status == "pending":
        async with begin.alone() as tx:
            await tx.refunds.accept(refund.id, answer.reference, refund.tries, is_found=is_disputed)
        raise Unavailable("The provider has not settled the refund yet.")
    async with begin() as tx:
        if answer.status == "failed" and is_disputed:
            await dispute.refund_failed(
                tx, refund.booking_id, receipt_id, refund.id, request_id=request_id
            )
            return "disputed"
        if answer.status == "failed":
            booking = await tx.bookings.lock(refund.booking_id)
            assert booking is not None, "its refund has a row"
            if await try_again(
                tx,
                booking,
                refund.id,
                reference=answer.reference or None,
                tries=refund.tries,
                request_id=request_id,
            ):
                return RETRY
        await payment.settle_refund(
            tx, receipt_id, status=answer.status, reference=answer.reference, request_id=request_id
        )
    return answer.status


async def sent_before(gateway: PaymentGateway, paid: str, key: str) -> ProviderRefund | None:
    """What the provider made of the refund's key before the bank disputed the payment ``paid``.

    That nothing is sent now is our word: it tells nothing of one that was sent and whose answer
    was lost, which a new key, or seats that stay sold, would pay for a second time.

    Raises:
        Unavailable: the provider did not say which refunds it has; ask again.
    """
    try:
        made = await gateway.list_refunds(paid)
    except (Conflict, NotFound) as error:
        # No word on the refund: a no to the question must not be taken for a no to the money.
        raise Unavailable("The provider does not tell of the refunds it has made.") from error
    return next((one for one in made if one.key == key), None)


async def _found_refund(gateway: PaymentGateway, refund: Refund) -> ProviderRefund | None:
    return await sent_before(gateway, refund.reference, refund.idempotency_key)


async def _ask_refund(gateway: PaymentGateway, refund: Refund) -> ProviderRefund:
    """What becomes of the refund under its key; a clear no is a failure without a reference.

    Raises:
        Unavailable: the provider did not answer, or does not know what it had accepted; ask again.
    """
    try:
        answer = await gateway.refund(
            refund.reference, key=refund.idempotency_key, amount=refund.amount
        )
    except NotFound as error:
        # It has told us of this payment, so our key is another account's now. The refund may have
        # gone out under the one before, and a new key might pay a second time.
        raise Unavailable("The provider does not tell of a payment of ours.") from error
    except Conflict as error:
        if refund.is_accepted:
            # No word that it failed, so a new key might pay a second time.
            raise Unavailable("The provider does not tell of a refund it had accepted.") from error
        return ProviderRefund("", "failed")
    if answer.status == "succeeded":
        return answer
    try:
        # A repeat of a key answers as the first time, for ever: ask how the refund stands now.
        return await gateway.read_refund(answer.reference)
    except (Conflict, NotFound) as error:
        raise Unavailable(
            "The provider does not tell of the refund that it has just named."
        ) from error


async def _expire(
    begin: UnitOfWork, gateways: Gateways, attempt: Attempt
) -> ProviderSession | None:
    """A page whose id never reached us is asked for again by its key, then closed.

    None when there is no page: it is refused now, and one opened before had been given again.
    """
    try:
        known, _ = await open_session(begin, gateways, attempt)
    except Conflict:
        return None
    assert known.session_id is not None, "open_session stored it"
    return await gateways[attempt.provider].expire_session(known.session_id)
