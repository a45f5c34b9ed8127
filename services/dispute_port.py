"""What the services need of the disputes' table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from domain.dispute import Dispute, Return
from domain.ledger import Account
from domain.payment import DisputeStatus, ProviderDispute

if TYPE_CHECKING:
    from services.payment_rows import Receipt


class Disputes(Protocol):
    """Disputes of payments; every call is under the booking's lock."""

    async def record(
        self, receipt: Receipt, told: ProviderDispute
    ) -> tuple[Dispute, DisputeStatus | None] | None:
        """Insert or raise the dispute, and what the payment is marked with; None: nothing new.

        Otherwise the dispute, and its status before, if it was known. One that is over stays so.
        """
        ...

    async def of_payment(self, receipt_id: UUID) -> list[Dispute]: ...

    async def bear(self, dispute_id: UUID, account: Account) -> bool:
        """Write down which account a lost dispute is taken from; False: that was decided before."""
        ...

    async def returns(self, receipt_id: UUID) -> list[Return]:
        """Every refund out of this payment, whoever asked for it."""
        ...
