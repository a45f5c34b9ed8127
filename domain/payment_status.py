"""How far a payment has come: an order, so that facts may come in any order and number."""

from __future__ import annotations

from enum import StrEnum


class PaymentStatus(StrEnum):
    """A payment's statuses, ours and the provider's, each further on than the one before it.

    An authorisation ends refused, voided or captured; only a capture can still follow another end.
    A dispute lies beside the money and is no status of it: clients see ``disputed`` while one is
    open or lost.
    """

    OPEN = "open"
    PROCESSING = "processing"
    CANCELLED = "cancelled"
    FAILED = "failed"
    AUTHORISED = "authorised"
    REFUSED = "refused"
    VOIDED = "voided"
    CAPTURED = "captured"
    REFUND_PENDING = "refund_pending"
    REFUNDED = "refunded"


_SHOWN: dict[str, str] = {
    PaymentStatus.REFUSED: PaymentStatus.FAILED,
    PaymentStatus.VOIDED: PaymentStatus.CANCELLED,
}
_RANKS = {status: rank for rank, status in enumerate(PaymentStatus)}


def rank(status: PaymentStatus) -> int:
    """The status's place in the order, from 0; the database compares by the same number."""
    return _RANKS[status]


def shown(status: str) -> str:
    """What clients see: to them a promise that was let go is a page cancelled or failed."""
    return _SHOWN.get(status, status)
