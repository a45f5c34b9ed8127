"""Notices to render, with defaults that a test may override."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from uuid import UUID

from domain.money import Money
from services.notification import Notice, OfferLine, RefundLine

BOOKING = UUID("6f6d5a54-7f0e-4f43-9a3f-0c2f3a0d5b11")


def refund(reason: str, amount: int = 2400, currency: str = "EUR") -> RefundLine:
    return RefundLine(Money(amount, currency), reason)


def offer(*, is_open: bool = True) -> OfferLine:
    return OfferLine(("D4", "D5"), datetime(2026, 12, 1, 17, 45, tzinfo=UTC), is_open)


def notice(template: str = "confirmation", **changes: object) -> Notice:
    """Two seats for a film in Berlin on a winter's evening."""
    usual = Notice(
        booking_id=BOOKING,
        template=template,
        revision=1,
        booking_state="expired" if template in ("lapse", "offer") else "confirmed",
        name="Ada Lovelace",
        email="ada@example.test",
        phone="+4915112345678",
        movie="Metropolis",
        theatre="Kino International",
        city="Berlin",
        address="Karl-Marx-Allee 33",
        auditorium="Saal 1",
        starts_at=datetime(2026, 12, 4, 18, 30, tzinfo=UTC),
        timezone="Europe/Berlin",
        seats=("C12", "C13"),
        total=Money(2400, "EUR"),
        refunds=(refund("late"),) if template.startswith("refund") else (),
        voids=(refund("late"),) if template == "void" else (),
        offer=offer() if template == "offer" else None,
    )
    return dataclasses.replace(usual, **changes)  # type: ignore[arg-type]
