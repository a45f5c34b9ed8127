"""Double entry: each fact about money moves one amount from one account to another."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from domain import ids
from domain.money import Money


class Account(StrEnum):
    """Where money stands. Debit rises the first four, credit the last three."""

    PROVIDER = "provider"  # captured money that the provider has for us
    AUTHORISED = "authorised"  # promised by a buyer's bank, not taken
    DISPUTED = "disputed"  # withdrawn by the provider until a dispute ends
    FEES = "fees"
    BUYER = "buyer"  # promised or paid, and nobody has decided what for
    REVENUE = "revenue"  # earned by a confirmed booking
    REFUNDS_DUE = "refunds_due"  # decided to go back, not yet gone


class Kind(StrEnum):
    AUTHORISED = "authorised"
    RELEASED = "released"
    CAPTURED = "captured"
    CONFIRMED = "confirmed"
    REFUND_REQUESTED = "refund_requested"
    REFUND_SETTLED = "refund_settled"
    REFUND_FAILED = "refund_failed"
    REFUND_WITHDRAWN = "refund_withdrawn"
    FEE = "fee"
    DISPUTE_OPENED = "dispute_opened"
    DISPUTE_WON = "dispute_won"
    DISPUTE_LOST = "dispute_lost"


@dataclass(frozen=True, slots=True)
class Subject:
    """The payment at a provider that a posting is about, and what it was for."""

    booking_id: UUID
    show_id: UUID
    provider: str
    provider_payment_id: UUID


@dataclass(frozen=True, slots=True)
class Posting:
    """One fact: ``amount`` to ``debit`` from ``credit``, so that debits equal credits always.

    ``id`` derives from what the fact is about: the same fact twice has the same id.
    """

    id: UUID
    kind: Kind
    subject: Subject
    debit: Account
    credit: Account
    amount: Money
    refund_id: UUID | None = None

    def __post_init__(self) -> None:
        if self.amount.amount <= 0:
            raise ValueError(f"a posting moves more than nothing, not {self.amount.amount}")
        if self.debit is self.credit:
            raise ValueError(f"a posting moves money, not from {self.debit} to itself")


def authorised(subject: Subject, amount: Money) -> Posting:
    return _post(Kind.AUTHORISED, subject, amount, Account.AUTHORISED, Account.BUYER)


def released(subject: Subject, amount: Money) -> Posting:
    """An authorisation of ``amount`` ended: it was voided, it lapsed, or it was captured."""
    return _post(Kind.RELEASED, subject, amount, Account.BUYER, Account.AUTHORISED)


def captured(subject: Subject, amount: Money, *, total: int = 0) -> Posting:
    """``amount`` more was captured, which makes ``total`` of this payment (0: it is all)."""
    key = str(total or amount.amount)
    return _post(Kind.CAPTURED, subject, amount, Account.PROVIDER, Account.BUYER, key=key)


def confirmed(subject: Subject, amount: Money) -> Posting:
    return _post(Kind.CONFIRMED, subject, amount, Account.BUYER, Account.REVENUE)


def refund_requested(
    subject: Subject, refund_id: UUID, amount: Money, *, source: Account = Account.BUYER
) -> Posting:
    """``source``: the buyer's undecided money, or the revenue of a confirmed booking."""
    return _post(Kind.REFUND_REQUESTED, subject, amount, source, Account.REFUNDS_DUE, refund_id)


def refund_settled(subject: Subject, refund_id: UUID, amount: Money) -> Posting:
    due = Account.REFUNDS_DUE
    return _post(Kind.REFUND_SETTLED, subject, amount, due, Account.PROVIDER, refund_id)


def refund_failed(subject: Subject, refund_id: UUID, amount: Money) -> Posting:
    """A settled refund came back: the money is due again.

    A refund that fails before it settled moved nothing and needs no posting: it stays due.
    """
    due = Account.REFUNDS_DUE
    return _post(Kind.REFUND_FAILED, subject, amount, Account.PROVIDER, due, refund_id)


def refund_withdrawn(subject: Subject, refund_id: UUID, amount: Money) -> Posting:
    """The provider refused a refund of a sale before anything moved: the seats stay sold."""
    due = Account.REFUNDS_DUE
    return _post(Kind.REFUND_WITHDRAWN, subject, amount, due, Account.REVENUE, refund_id)


def fee(subject: Subject, amount: Money, *, key: str = "") -> Posting:
    """What the provider keeps for itself; ``key`` tells several fees of one payment apart."""
    return _post(Kind.FEE, subject, amount, Account.FEES, Account.PROVIDER, key=key)


def dispute_opened(subject: Subject, dispute: str, amount: Money) -> Posting:
    """``dispute``: the provider's id of it."""
    disputed = Account.DISPUTED
    return _post(Kind.DISPUTE_OPENED, subject, amount, disputed, Account.PROVIDER, key=dispute)


def dispute_won(subject: Subject, dispute: str, amount: Money) -> Posting:
    disputed = Account.DISPUTED
    return _post(Kind.DISPUTE_WON, subject, amount, Account.PROVIDER, disputed, key=dispute)


def dispute_lost(
    subject: Subject, dispute: str, amount: Money, *, source: Account = Account.REVENUE
) -> Posting:
    """``source``: what bears the loss; ``refunds_due`` where a refund of it was never sent."""
    return _post(Kind.DISPUTE_LOST, subject, amount, source, Account.DISPUTED, key=dispute)


def _post(
    kind: Kind,
    subject: Subject,
    amount: Money,
    debit: Account,
    credit: Account,
    refund_id: UUID | None = None,
    *,
    key: str = "",
) -> Posting:
    about = refund_id or subject.provider_payment_id
    return Posting(
        ids.posting_id(about, kind, key), kind, subject, debit, credit, amount, refund_id
    )
