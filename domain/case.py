"""Cases: what a machine may not decide alone, for a person to see within a day."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class CaseKind(StrEnum):
    UNKNOWN_PAYMENT = "unknown_payment"
    WRONG_AMOUNT = "wrong_amount"
    REFUND_FAILED = "refund_failed"
    PAYMENT_UNCERTAIN = "payment_uncertain"
    REFUND_OVERDUE = "refund_overdue"
    UNKNOWN_REFUND = "unknown_refund"
    DIFFERENCE = "difference"
    BOOKS_OPEN = "books_open"
    BALANCE_TOO_LOW = "balance_too_low"
    SHOW_CANCEL_LEFT = "show_cancel_left"
    DISPUTE = "dispute"
    EVIDENCE = "evidence"
    PROVIDER_DISAGREES = "provider_disagrees"
    PARTNER_ENDPOINT = "partner_endpoint"


class CaseStatus(StrEnum):
    OPEN = "open"
    ASSIGNED = "assigned"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Case:
    """What a change of a case is judged by; ``version`` counts the changes."""

    id: UUID
    status: CaseStatus
    version: int
    booking_id: UUID | None
    assignee: UUID | None
