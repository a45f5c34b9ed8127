"""The ledger: two rows a fact about money, never changed; the migration adds the guards of that."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Index, Table

from infra.postgres.tables import columns as c

# No foreign keys, as with `events`: a record stands by itself, and `seathold check` compares it.
ledger_entries = Table(
    "ledger_entries",
    c.metadata,
    c.serial(),
    c.uuid("posting_id"),
    c.string("kind"),
    c.uuid("booking_id"),
    c.uuid("show_id"),
    c.string("provider"),
    c.uuid("provider_payment_id"),
    c.uuid("refund_id", nullable=True),
    c.string("account"),
    c.big("debit", default="0"),
    c.big("credit", default="0"),
    c.string("currency"),
    c.at("posted_at", now=True),
    c.one_of(
        "account",
        "provider",
        "authorised",
        "disputed",
        "fees",
        "buyer",
        "revenue",
        "refunds_due",
    ),
    sa.CheckConstraint(
        "debit >= 0 AND credit >= 0 AND (debit > 0) <> (credit > 0)", name="one_side"
    ),
    # A posting goes to an account once, so this makes its repetition do nothing.
    sa.UniqueConstraint("posting_id", "account"),
    Index(None, "booking_id"),
    Index(None, "posted_at"),
)
