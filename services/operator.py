"""What an operator does to a booking by hand leaves an entry in the audit log."""

from __future__ import annotations

from uuid import UUID

from services.ports import Transaction

PREFIX = "operator:"
SYSTEM = "system"
# A cancelled show ends its holds in an operator's name; the show's own entry tells who and why.
SHOW_CANCEL = "operator:show-cancel"


def said(actor: str, reason: str) -> str:
    """The reason as an event may carry it: a buyer's own words are theirs, and none may.

    Events are for ever, so no erasure would reach what a buyer writes there of a person.
    """
    return reason if actor == SYSTEM or actor.startswith(PREFIX) else ""


def note(
    tx: Transaction,
    action: str,
    booking_id: UUID,
    *,
    actor: str,
    reason: str | None,
    request_id: str | None,
) -> None:
    """Nothing for whoever is no operator."""
    if actor.startswith(PREFIX) and actor != SHOW_CANCEL:
        tx.audit.note(
            action,
            target=f"booking:{booking_id}",
            actor=actor,
            reason=reason,
            request_id=request_id,
        )
