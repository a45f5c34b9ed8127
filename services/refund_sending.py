"""Refunds that somebody asked for, at the provider: asked for, read, asked for again."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from domain.errors import BalanceTooLow, Conflict, NotFound, Unavailable
from domain.money import Money
from domain.payment import ProviderRefund
from domain.refund import RETRY, RefundPart, payment_disputed
from services import case, provider, refund
from services.gateway import PaymentGateway
from services.ports import Transaction, UnitOfWork
from services.refund_retry import try_again


async def ask(
    begin: UnitOfWork,
    gateways: Mapping[str, PaymentGateway],
    booking_id: UUID,
    number: int,
    *,
    request_id: str | None,
) -> None:
    """Ask the provider for each part that it has not accepted yet, under the part's own key.

    A part that was accepted before and failed counts each no as one more failure.

    Raises:
        Unavailable: the outcome is not known; ask again.
        BalanceTooLow: the provider cannot pay it yet; that is on record.
        Conflict: the provider's clear no, or ours (``payment_disputed``) where it has nothing
            under the part's key, to a part that it never accepted.
    """
    async with begin.alone() as tx:
        parts = await tx.refunds.parts(booking_id, number)
        known = await tx.refunds.standing(booking_id)
    assert known is not None, "its refund has rows"
    for part in parts:
        if not part.is_pending or part.reference is not None:
            continue
        try:
            async with begin.alone() as tx:
                receipt = await tx.payments.receipt(part.provider_payment_id)
            gateway, amount = gateways[part.provider], Money(part.amount, known.currency)
            is_disputed = receipt is not None and receipt.disputed
            if is_disputed:
                answer = await _sent_before(gateway, part)
            else:
                answer = await gateway.refund(part.paid_reference, key=part.key, amount=amount)
        except BalanceTooLow:
            async with begin.alone() as tx:
                tx.refunds.short(part.id, is_short=True)
            raise
        except NotFound as error:
            # It has told us of this payment, so our key is another account's now. The refund may
            # have gone out under the one before, its answer lost.
            raise Unavailable("The provider does not know a payment of ours.") from error
        except Conflict:
            if not part.was_accepted:
                raise
            async with begin() as tx:
                await fail(tx, booking_id, part, None, request_id=request_id)
            continue
        async with begin() as tx:
            await refund.accept(
                tx,
                booking_id,
                part,
                answer.reference,
                is_found=is_disputed,
                request_id=request_id,
            )
            if answer.status == "failed":
                await fail(tx, booking_id, part, answer.reference, request_id=request_id)


async def _sent_before(gateway: PaymentGateway, part: RefundPart) -> ProviderRefund:
    """As ``provider.sent_before``; raises Conflict, ``payment_disputed``, where that is nothing."""
    made = await provider.sent_before(gateway, part.paid_reference, part.key)
    if made is None:
        raise payment_disputed()
    return made


async def settle(
    begin: UnitOfWork,
    gateways: Mapping[str, PaymentGateway],
    booking_id: UUID,
    number: int,
    *,
    request_id: str | None,
) -> str:
    """Read the accepted parts at the provider and record how they ended; the refund's outcome.

    ``retry``: a part failed and has to be asked for again. One that the provider does not know any
    more has not failed: it opens a case, and is read again.

    Raises:
        Unavailable: a part is not settled yet, or the provider did not answer; ask again.
    """
    async with begin.alone() as tx:
        parts = await tx.refunds.parts(booking_id, number)
    for part in parts:
        if not part.is_pending or part.reference is None:
            continue
        try:
            answer = await gateways[part.provider].read_refund(part.reference)
        except (Conflict, NotFound):
            # No word that it failed: it may be on its way from an account that our key does not
            # open. So it stays as it is, and a person is told.
            async with begin() as tx:
                await tx.bookings.lock(booking_id)
                case.refund_unknown(tx, booking_id, part)
            continue
        if answer.status == "pending":
            continue
        async with begin() as tx:
            if answer.status == "failed":
                await fail(tx, booking_id, part, part.reference, request_id=request_id)
            else:
                await refund.record_end(tx, booking_id, part, answer.status, request_id=request_id)
    async with begin.alone() as tx:
        parts = await tx.refunds.parts(booking_id, number)
    if any(part.is_pending and part.reference is None for part in parts):
        return RETRY
    if any(part.is_pending for part in parts):
        raise Unavailable("The provider has not settled the refund yet.")
    return "succeeded" if all(part.status == "succeeded" for part in parts) else "failed"


async def fail(
    tx: Transaction,
    booking_id: UUID,
    part: RefundPart,
    reference: str | None,
    *,
    request_id: str | None,
) -> None:
    """The provider says that this try of an accepted part failed: another try, or its end."""
    booking = await tx.bookings.lock(booking_id)
    assert booking is not None, "its refund has rows"
    if not await try_again(
        tx, booking, part.id, reference=reference, tries=part.tries, request_id=request_id
    ):
        await refund.record_end(tx, booking_id, part, "failed", request_id=request_id)
