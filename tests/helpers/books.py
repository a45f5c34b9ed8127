"""A booking's books, added up a second time: what the ledger's own SQL is held against."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from domain.ledger import Account, Posting
from infra.postgres.uow import PostgresTransaction

# Refunds under way come as a row of their own, without an account.
BALANCES = text("""
SELECT currency, account, (sum(debit) - sum(credit))::bigint AS amount
FROM ledger_entries WHERE booking_id = :booking_id GROUP BY currency, account
UNION ALL
SELECT currency, NULL, sum(amount)::bigint
FROM refunds WHERE booking_id = :booking_id AND status = 'pending' GROUP BY currency
""")


@dataclass(frozen=True, slots=True)
class Balance:
    """What a booking's rows come to in one currency, minor units; debit counts as plus.

    ``open_refunds`` are the refunds that were asked for and may still settle.
    """

    currency: str
    accounts: Mapping[Account, int]
    open_refunds: int = 0

    @property
    def is_settled(self) -> bool:
        """Every captured unit is revenue, gone back, or due with a refund on its way."""
        undecided = (Account.BUYER, Account.AUTHORISED, Account.DISPUTED)
        due = -self.accounts.get(Account.REFUNDS_DUE, 0)
        return due == self.open_refunds and not any(self.accounts.get(one, 0) for one in undecided)


def balances_of(
    postings: Iterable[Posting], open_refunds: Mapping[str, int] | None = None
) -> list[Balance]:
    """The balance of each currency; a posting that comes twice counts once."""
    sums: dict[str, dict[Account, int]] = {}
    for posting in {posting.id: posting for posting in postings}.values():
        accounts = sums.setdefault(posting.amount.currency, dict.fromkeys(Account, 0))
        accounts[posting.debit] += posting.amount.amount
        accounts[posting.credit] -= posting.amount.amount
    still_open = open_refunds or {}
    return [
        Balance(currency, sums.get(currency, {}), still_open.get(currency, 0))
        for currency in sorted({*sums, *still_open})
    ]


async def balances(tx: PostgresTransaction, booking_id: UUID) -> list[Balance]:
    """What the booking's rows come to, by currency, and its refunds under way."""
    accounts: dict[str, dict[Account, int]] = defaultdict(dict)
    still_open: dict[str, int] = {}
    for row in await tx.session.all(BALANCES, booking_id=booking_id):
        if row.account is None:
            still_open[row.currency] = row.amount
        else:
            accounts[row.currency][Account(row.account)] = row.amount
    return [
        Balance(currency, accounts.get(currency, {}), still_open.get(currency, 0))
        for currency in sorted({*accounts, *still_open})
    ]


async def is_settled(tx: PostgresTransaction, booking_id: UUID) -> bool:
    """Every captured unit is revenue, gone back, or due with a refund under way; no promise and
    no dispute is left. A booking that took no money is settled."""
    return all(balance.is_settled for balance in await balances(tx, booking_id))
