"""Cases: opened by the steps that meet trouble, assigned and resolved by people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from domain.booking import Booking
from domain.case import Case, CaseKind, CaseStatus
from domain.errors import Conflict, Invalid, NotFound
from domain.money import Money, format_money
from services.ports import Receipt, Refund, Transaction
from services.work import InboxRow


@dataclass(frozen=True, slots=True)
class CaseChange:
    """Who changes which case. ``versions`` are those that the caller has seen; None is any."""

    case_id: UUID
    versions: frozenset[int] | None
    user_id: UUID
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A case that nobody has resolved for ``age_seconds``."""

    id: UUID
    kind: str
    status: str
    booking_id: UUID | None
    age_seconds: float


class WaitingCases(Protocol):
    async def take(self, *, seconds: float, every_seconds: float) -> Sequence[Waiting]:
        """Unresolved cases older than ``seconds``, each once in ``every_seconds`` to one caller."""
        ...


async def assign(tx: Transaction, change: CaseChange, assignee: UUID) -> None:
    """Give the case to somebody of the staff, also from one to another.

    Raises:
        NotFound: no such case.
        Invalid: ``unknown_assignee``.
        Conflict: ``precondition_failed`` (another version), ``invalid_state`` (resolved).
    """
    case = await _expected(tx, change)
    if not await tx.cases.is_staff(assignee):
        raise Invalid("Nobody of the staff has this id.", code="unknown_assignee")
    if not await tx.cases.assign(case, assignee):
        raise _moved()
    details = {"from": str(case.assignee) if case.assignee else None, "to": str(assignee)}
    tx.audit.note(
        "case.assign",
        target=f"case:{case.id}",
        actor=str(change.user_id),
        details=details,
        request_id=change.request_id,
    )


async def resolve(tx: Transaction, change: CaseChange, reason: str) -> None:
    """Close the case for good; its booking names the newest one that is still open, or none.

    Raises:
        NotFound: no such case.
        Conflict: ``precondition_failed`` (another version), ``invalid_state`` (resolved).
    """
    case = await _expected(tx, change)
    if case.booking_id is not None:
        # Whoever opens a case of a booking holds its lock: bookings first, here as well.
        await tx.bookings.lock(case.booking_id)
    if not await tx.cases.resolve(case, reason):
        raise _moved()
    tx.audit.note(
        "case.resolve",
        target=f"case:{case.id}",
        actor=str(change.user_id),
        reason=reason,
        request_id=change.request_id,
    )


def wrong_amount(tx: Transaction, booking: Booking, receipt: Receipt, refund: Refund) -> None:
    """Amounts are set by us, so another one is a bug or a forgery; the money goes back meanwhile."""
    tx.cases.open(
        CaseKind.WRONG_AMOUNT,
        dedupe=f"wrong_amount:{receipt.id}",
        summary=f"{format_money(receipt.paid)} came in where {format_money(booking.total)} was"
        " asked for. It is being sent back whole.",
        booking_id=booking.id,
        provider_payment_id=receipt.id,
        refund_id=refund.id,
    )


def wrong_amount_promised(tx: Transaction, booking: Booking, receipt: Receipt) -> None:
    """As :func:`wrong_amount`, before anything was taken."""
    tx.cases.open(
        CaseKind.WRONG_AMOUNT,
        dedupe=f"wrong_amount:{receipt.id}",
        summary=f"{format_money(receipt.promised)} was authorised where"
        f" {format_money(booking.total)} was asked for. It is being let go; nothing was taken.",
        booking_id=booking.id,
        provider_payment_id=receipt.id,
    )


def capture_uncertain(tx: Transaction, booking: Booking, receipt: Receipt) -> None:
    """The provider does not say whether it took money that is to be taken."""
    tx.cases.open(
        CaseKind.PAYMENT_UNCERTAIN,
        dedupe=f"capture_uncertain:{receipt.id}",
        summary=f"{receipt.provider} does not answer whether it took"
        f" {format_money(receipt.promised)}. It is asked again until it does; the seats are kept.",
        booking_id=booking.id,
        provider_payment_id=receipt.id,
    )


def refund_failed(
    tx: Transaction,
    *,
    booking_id: UUID,
    provider_payment_id: UUID,
    refund_id: UUID,
    provider: str,
    amount: Money,
) -> None:
    """The provider would not send money back that is due."""
    tx.cases.open(
        CaseKind.REFUND_FAILED,
        dedupe=f"refund_failed:{refund_id}",
        summary=f"{provider} says that a refund of {format_money(amount)} failed.",
        booking_id=booking_id,
        provider_payment_id=provider_payment_id,
        refund_id=refund_id,
    )


def payment_uncertain(tx: Transaction, booking: Booking) -> None:
    """The seats went free while a pay page could still take money."""
    tx.cases.open(
        CaseKind.PAYMENT_UNCERTAIN,
        dedupe=f"payment_uncertain:{booking.id}",
        summary="The booking ended before the provider said that its pay page is closed."
        f" {format_money(booking.total)} may still come in; it would be sent back.",
        booking_id=booking.id,
    )


def unknown_payment(tx: Transaction, row: InboxRow, session_id: str | None) -> None:
    """Somebody may have paid for nothing that we know: one case for all events of a session."""
    # Both are the provider's text, of any length; an index takes only so much.
    known_by = (session_id or row.event_id)[:200]
    tx.cases.open(
        CaseKind.UNKNOWN_PAYMENT,
        dedupe=f"unknown_payment:{row.provider}:{known_by}",
        summary=f"{row.provider} told of {row.event_type[:100]} for {known_by},"
        " which belongs to no booking. Look there whether it took money.",
    )


async def _expected(tx: Transaction, change: CaseChange) -> Case:
    case = await tx.cases.find(change.case_id)
    if case is None:
        raise NotFound("There is no such case.")
    if change.versions is not None and case.version not in change.versions:
        raise _moved()
    if case.status is CaseStatus.RESOLVED:
        raise Conflict("The case is resolved.")
    return case


def _moved() -> Conflict:
    return Conflict(
        "The case was changed in the meantime; read it again.", code="precondition_failed"
    )
