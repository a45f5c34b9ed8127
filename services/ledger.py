"""Whether a booking's books are closed."""

from __future__ import annotations

from uuid import UUID

from services.ports import Transaction


async def is_settled(tx: Transaction, booking_id: UUID) -> bool:
    """Every captured unit is revenue, gone back, or due with a refund under way; no promise and
    no dispute is left. A booking that took no money is settled.

    A workflow may end when this holds, or when a case about the booking is open.
    """
    return all(balance.is_settled for balance in await tx.ledger.balances(booking_id))
