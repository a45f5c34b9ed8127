"""Taking authorised money, or letting it go, at its provider; each may be repeated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from uuid import UUID

from domain.booking import Booking
from domain.errors import Conflict, NotFound, Unavailable
from domain.payment import ProviderPayment, ProviderPaymentStatus, Verdict
from services import case, payment
from services.gateway import PaymentGateway
from services.payment_rows import Receipt
from services.ports import Transaction, UnitOfWork

Gateways = Mapping[str, PaymentGateway]
# About two minutes of asking a provider that does not answer: then a person is told.
TRIES_BEFORE_CASE = 12


async def capture(
    begin: UnitOfWork,
    gateways: Gateways,
    booking_id: UUID,
    receipt_id: UUID,
    *,
    tries: int,
    request_id: str | None,
) -> bool:
    """Take the money for which the booking's seats are final; whether it is taken.

    Asked again after a lost answer, the provider knows the same capture by its key. ``tries``
    counts the calls for this payment; a provider that cannot be asked for long opens a case.

    Raises:
        Unavailable: the provider did not say; ask again.
    """
    async with begin.alone() as tx:
        booking = await tx.bookings.peek(booking_id)
        receipt = await tx.payments.receipt(receipt_id)
    if booking is None or receipt is None:
        raise LookupError(f"booking {booking_id} or its payment {receipt_id} has no row")
    if booking.confirming != receipt.id or not receipt.is_promise:
        return receipt.paid.amount > 0
    gateway = gateways[receipt.provider]
    try:
        try:
            told = await gateway.capture(receipt.reference, key=f"capture:{receipt.id}")
        except (Conflict, NotFound):
            # A clear no. Whether anything is left to let go is the provider's word too.
            told = await gateway.read_payment(receipt.reference)
    except Unavailable:
        if tries == TRIES_BEFORE_CASE:
            await _report(begin, receipt, case.capture_uncertain)
        raise
    return await _record(begin, receipt, told, request_id)


async def void(
    begin: UnitOfWork, gateways: Gateways, receipt_id: UUID, *, request_id: str | None
) -> str:
    """Let an authorised payment go that buys no seat.

    Returns:
        ``voided``, ``nothing_due`` for one that is to stay, or ``captured``: somebody took it
        first, and a refund of it was decided.

    A payment that the provider does not tell of opens a case: gone is not voided.

    Raises:
        Unavailable: the provider did not say, or would not do it now; ask again.
    """
    async with begin.alone() as tx:
        receipt = await tx.payments.receipt(receipt_id)
    if receipt is None or receipt.verdict in (None, Verdict.CONFIRMS):
        return "nothing_due"
    if not receipt.is_promise:
        return receipt.status
    gateway = gateways[receipt.provider]
    try:
        try:
            told = await gateway.void(receipt.reference, key=f"void:{receipt.id}")
        except (Conflict, NotFound):
            told = await gateway.read_payment(receipt.reference)
    except (Conflict, NotFound) as error:
        # The promise may stand in an account that our key does not open, so this ends nothing.
        await _report(begin, receipt, case.void_uncertain)
        raise Unavailable("The provider does not tell of a payment of ours.") from error
    if told.status is ProviderPaymentStatus.FAILED:
        # The bank took its promise back: gone is gone.
        told = replace(told, status=ProviderPaymentStatus.VOIDED)
    taken = await _record(begin, receipt, told, request_id)
    if taken:
        return "captured"
    if told.status is not ProviderPaymentStatus.VOIDED:
        raise Unavailable(f"The provider says the payment is {told.status}.")
    return "voided"


async def _record(
    begin: UnitOfWork, receipt: Receipt, told: ProviderPayment, request_id: str | None
) -> bool:
    """Write down what the provider said; whether it has taken money."""
    async with begin() as tx:
        attempt = await tx.payments.attempt(receipt.payment_id)
        await payment.record_payment(tx, attempt, told, request_id=request_id)
    return told.captured > 0


async def _report(
    begin: UnitOfWork,
    receipt: Receipt,
    open_case: Callable[[Transaction, Booking, Receipt], None],
) -> None:
    async with begin() as tx:
        booking = await tx.bookings.lock(receipt.booking_id)
        assert booking is not None, "its payment has a row"
        open_case(tx, booking, receipt)
