"""Cases: opened by the steps that meet trouble, assigned and resolved by people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from domain.booking import Booking
from domain.case import Case, CaseKind, CaseStatus
from domain.dispute import Dispute, Return
from domain.errors import Conflict, Invalid, NotFound
from domain.money import Money, format_money
from domain.payment import ProviderPayment
from domain.refund import RefundPart
from services.payment_rows import Receipt
from services.ports import Refund, Transaction
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
    """We set amounts, so another one is a bug or a forgery; the money goes back meanwhile."""
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


def void_uncertain(tx: Transaction, booking: Booking, receipt: Receipt) -> None:
    """The provider does not know money that it had promised, and that is to be let go."""
    tx.cases.open(
        CaseKind.PAYMENT_UNCERTAIN,
        dedupe=f"void_uncertain:{receipt.id}",
        summary=f"{receipt.provider} does not tell of payment {receipt.reference}, of which"
        f" {format_money(receipt.promised)} were authorised. It buys no seat and is to be let go."
        " Look there, in every account and mode, whether it stands or was taken. It is asked again"
        " until it says so.",
        booking_id=booking.id,
        provider_payment_id=receipt.id,
    )


def refund_unknown(tx: Transaction, booking_id: UUID, part: RefundPart) -> None:
    """The provider does not know a refund that it had accepted; its booking is locked.

    The same case as that of a refund which takes too long.
    """
    tx.cases.open(
        CaseKind.REFUND_OVERDUE,
        dedupe=f"refund_overdue:{part.id}",
        summary=f"{part.provider} accepted refund {part.reference} and does not tell of it now."
        " Look there, in every account and mode, whether it went out. It is asked on.",
        booking_id=booking_id,
        provider_payment_id=part.provider_payment_id,
        refund_id=part.id,
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


def rest_of_disputed(
    tx: Transaction, booking: Booking, receipt: Receipt, due: Return, rest: Money
) -> None:
    """A lost dispute took a part of money that was to go back whole."""
    tx.cases.open(
        CaseKind.REFUND_FAILED,
        dedupe=f"refund_failed:{due.id}:{rest.amount}",
        summary=f"The bank took a part of {format_money(receipt.paid)} back by a dispute before its"
        f" refund was sent. {format_money(rest)} is still due to the buyer, and nothing sends it.",
        booking_id=booking.id,
        provider_payment_id=receipt.id,
        refund_id=due.id,
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


def disputed(tx: Transaction, booking: Booking, receipt: Receipt, dispute: Dispute) -> None:
    """Somebody has to answer the bank, and there is a deadline for that."""
    tx.cases.open(
        CaseKind.DISPUTE,
        dedupe=f"dispute:{dispute.id}",
        summary=f"The buyer's bank disputes {format_money(dispute.amount)} of payment"
        f" {receipt.reference} (dispute {dispute.reference}); the booking was {booking.state} then."
        f" No refund of it is sent until the dispute ends. Answer it at {receipt.provider}, and"
        " mind the deadline there.",
        booking_id=booking.id,
        provider_payment_id=receipt.id,
    )


def evidence(
    tx: Transaction,
    booking: Booking,
    receipt: Receipt,
    dispute: Dispute,
    settled: Sequence[Return],
) -> None:
    """The disputed money went back before: that is the answer to the bank."""
    refunds = ", ".join(f"{one.id} of {format_money(one.amount)}" for one in settled)
    tx.cases.open(
        CaseKind.EVIDENCE,
        dedupe=f"evidence:{dispute.id}",
        summary=f"The buyer's bank disputes {format_money(dispute.amount)} of payment"
        f" {receipt.reference} (dispute {dispute.reference}), of which these refunds are settled:"
        f" {refunds}. Answer the dispute at {receipt.provider} with them as evidence, and do not"
        " pay them back again.",
        booking_id=booking.id,
        provider_payment_id=receipt.id,
        refund_id=settled[0].id,
    )


def dispute_reversed(
    tx: Transaction, booking: Booking, receipt: Receipt, dispute: Dispute, now: str
) -> None:
    """An appeal turned a dispute that had ended: the tickets and the books follow by hand."""
    tx.cases.open(
        CaseKind.DISPUTE,
        dedupe=f"dispute_reversed:{dispute.id}:{now}",
        summary=f"Dispute {dispute.reference} over {format_money(dispute.amount)} of payment"
        f" {receipt.reference} had ended {dispute.status}; now {receipt.provider} says {now}. The"
        f" booking is {booking.state} and stays so. Look there where the money is, and tell the"
        " buyer.",
        booking_id=booking.id,
        provider_payment_id=receipt.id,
    )


def inquiry(tx: Transaction, booking: Booking, receipt: Receipt, dispute: Dispute) -> None:
    """A question of the bank: no money has moved."""
    tx.cases.open(
        CaseKind.DISPUTE,
        dedupe=f"inquiry:{dispute.id}",
        summary=f"The buyer's bank asks about {format_money(dispute.amount)} of payment"
        f" {receipt.reference} (inquiry {dispute.reference}). No money has moved, and the booking"
        f" stays as it is. Answer it at {receipt.provider}, or it may become a dispute.",
        booking_id=booking.id,
        provider_payment_id=receipt.id,
    )


def provider_disagrees(tx: Transaction, booking_id: UUID, row: InboxRow, session_id: str) -> None:
    """A signed event says captured, and a minute later the provider still says otherwise (P11).

    The caller holds the booking's lock.
    """
    tx.cases.open(
        CaseKind.PROVIDER_DISAGREES,
        dedupe=f"provider_disagrees:{row.provider}:{session_id[:200]}",
        summary=f"{row.provider} sent {row.event_type[:100]} for {session_id[:200]}, and its API"
        " has shown no captured payment there for a minute since. The booking follows the API. Look"
        f" at {row.provider} whether the money came in: if it did, the next read records it.",
        booking_id=booking_id,
    )


def unknown_payment_key(provider: str, known_by: str, *, is_taken: bool) -> str:
    """One case for a session that nobody knows, and one more as soon as it has taken money.

    ``known_by`` is the provider's text, of any length; an index takes only so much.
    """
    return f"unknown_payment:{provider}:{known_by[:200]}" + (":captured" if is_taken else "")


def unknown_payment(
    tx: Transaction,
    row: InboxRow,
    session_id: str | None,
    payments: Sequence[ProviderPayment] = (),
) -> None:
    """Somebody may have paid for nothing that we know: one case for all events of a session.

    ``payments`` are those the provider has for it; captured ones get a case of their own.
    """
    known_by = session_id or row.event_id
    taken = [paid for paid in payments if paid.captured]
    told = (
        f"{row.provider} told of {row.event_type[:100]} for {known_by[:200]}, which belongs to no"
        " booking."
    )
    dedupe = unknown_payment_key(row.provider, known_by, is_taken=bool(taken))
    if not taken:
        tx.cases.open(
            CaseKind.UNKNOWN_PAYMENT,
            dedupe=dedupe,
            summary=f"{told} Look there whether it took money; what it took, refund there in full.",
        )
        return
    sums = "; ".join(
        f"{format_money(Money(paid.captured, paid.amount.currency))} by payment {paid.reference}"
        f" for reference {paid.booking_reference[:200]}"
        + (f", {paid.refunded} minor units of it refunded" if paid.refunded else "")
        for paid in taken[:10]
    )
    tx.cases.open(
        CaseKind.UNKNOWN_PAYMENT,
        dedupe=dedupe,
        summary=f"{told} It has taken {sums}. Within 24 hours, refund it in full at {row.provider},"
        " by the payment's id, and resolve this case with the id of that refund. Nothing here can"
        " do that for you, for no booking of ours was paid.",
    )


def event_set_aside(tx: Transaction, row: InboxRow, reason: str) -> None:
    """A signed event that is not acted on, such as one of the other mode (P6): it may be money."""
    tx.cases.open(
        CaseKind.UNKNOWN_PAYMENT,
        dedupe=unknown_payment_key(row.provider, row.event_id, is_taken=False),
        summary=f"{row.provider} sent {row.event_type[:100]}, event {row.event_id[:200]}. It is set"
        f" aside: {reason}. Look at {row.provider} whether it is about money. A booking of ours"
        " gets that by the poll or the reconciliation; what was taken for none, refund there in"
        " full within 24 hours.",
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
