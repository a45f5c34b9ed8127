"""Disputes of payments, and the refunds that answer them, as they are on record."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from domain.money import Money
from domain.payment import DisputeStatus


@dataclass(frozen=True, slots=True)
class Dispute:
    """A row of ``disputes``."""

    id: UUID
    reference: str
    status: DisputeStatus
    amount: Money


@dataclass(frozen=True, slots=True)
class Return:
    """What a dispute must know of a refund; ``number`` None: a verdict sends it.

    ``in_flight``: the provider has accepted it, and the bank has not ended it.
    """

    id: UUID
    number: int | None
    status: str
    amount: Money
    in_flight: bool = False
