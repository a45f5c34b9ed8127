"""Attempts to pay, what the provider says was paid, and what goes back."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Index, Table, text
from sqlalchemy.dialects import postgresql as pg

from infra.postgres.tables import columns as c

payments = Table(
    "payments",
    c.metadata,
    c.key(),
    c.uuid("booking_id", "bookings.id"),
    c.integer("attempt"),
    c.string("provider"),
    c.string("session_id", nullable=True),
    c.string("status"),
    c.big("amount"),
    c.string("currency"),
    c.string("checkout_url", nullable=True),
    # Where the page sends the buyer: a provider's key must come with the same wish each time.
    c.string("return_url", default=""),
    # How the page was asked to be paid; a repeat asks the same, also after the setting changed.
    c.string("mode", default="capture"),
    c.at("expires_at"),
    c.at("created_at", now=True),
    c.at("updated_at", now=True),
    c.at("next_poll_at", nullable=True),
    c.at("last_read_at", nullable=True),
    c.integer("polls", default="0"),
    # The page may still take money; only the provider's word makes this false.
    c.flag("session_open", default=True),
    # Beside the status: a dispute of its money is open or lost.
    c.flag("disputed", default=False),
    c.one_of(
        "status",
        "open",
        "processing",
        "cancelled",
        "failed",
        "authorised",
        "refused",
        "voided",
        "captured",
        "refund_pending",
        "refunded",
    ),
    c.one_of("mode", "capture", "authorise"),
    sa.UniqueConstraint("booking_id", "attempt"),
    sa.UniqueConstraint("provider", "session_id"),
    Index(
        "payments_one_open_key",
        "booking_id",
        unique=True,
        postgresql_where=text("status IN ('open', 'processing')"),
    ),
    Index(
        "payments_poll_idx",
        "next_poll_at",
        postgresql_where=text("next_poll_at IS NOT NULL"),
    ),
)

# What a provider says was paid, by the provider's own id;
# one attempt can be paid twice by accident.
provider_payments = Table(
    "provider_payments",
    c.metadata,
    c.key(),
    c.string("provider"),
    c.string("reference"),
    c.uuid("booking_id", "bookings.id"),
    c.uuid("payment_id", "payments.id"),
    c.string("status"),
    c.big("amount"),
    c.string("currency"),
    c.big("captured", default="0"),
    c.big("refunded", default="0"),
    # What of it no refund of ours explains: somebody sent it back at the provider.
    c.big("refunded_unasked", default="0"),
    # What the provider keeps of it for itself, as far as it has told.
    c.big("fee", default="0"),
    # NULL until decided: `confirms`, or why the money goes back.
    c.string("decision", nullable=True),
    # Follows from its disputes: one is open or lost.
    c.flag("disputed", default=False),
    c.at("created_at", now=True),
    c.at("updated_at", now=True),
    # When a reconciliation met it in the provider's list; NULL: the next one asks for it by its id.
    c.at("reconciled_at", nullable=True),
    c.one_of("status", "processing", "authorised", "captured", "failed", "voided", "refunded"),
    c.one_of("decision", "confirms", "late", "duplicate", "mismatch", "cancelled", "refused"),
    sa.UniqueConstraint("provider", "reference"),
    Index(
        "provider_payments_one_confirms_key",
        "booking_id",
        unique=True,
        postgresql_where=text("decision = 'confirms'"),
    ),
    Index(None, "booking_id"),
    Index(
        "provider_payments_undecided_idx",
        "created_at",
        postgresql_where=text("decision IS NULL AND status = 'captured'"),
    ),
    Index(
        "provider_payments_authorised_idx",
        "created_at",
        postgresql_where=text("status = 'authorised'"),
    ),
    Index(
        "provider_payments_unreconciled_idx",
        "provider",
        "created_at",
        postgresql_where=text("reconciled_at IS NULL"),
    ),
)

disputes = Table(
    "disputes",
    c.metadata,
    c.key(),
    c.uuid("provider_payment_id", "provider_payments.id"),
    c.uuid("booking_id", "bookings.id"),
    c.string("reference"),
    c.string("status"),
    # What the provider withdraws while it is open.
    c.big("amount"),
    c.string("currency"),
    c.at("created_at", now=True),
    c.at("opened_at", nullable=True),
    c.at("closed_at", nullable=True),
    # The ledger's account that a lost one was taken from; NULL until that is decided.
    c.string("borne_by", nullable=True),
    c.one_of("status", "inquiry", "open", "won", "lost"),
    sa.CheckConstraint("amount > 0", name="amount"),
    sa.CheckConstraint(
        "(closed_at IS NOT NULL) = (status IN ('won', 'lost'))"
        " AND (opened_at IS NULL) = (status = 'inquiry')",
        name="times",
    ),
    sa.CheckConstraint("borne_by IS NULL OR status = 'lost'", name="borne_by"),
    sa.UniqueConstraint("provider_payment_id", "reference"),
    Index(None, "booking_id"),
    Index(
        "disputes_under_way_idx",
        "provider_payment_id",
        postgresql_where=text("status IN ('inquiry', 'open')"),
    ),
)

refunds = Table(
    "refunds",
    c.metadata,
    c.key(),
    c.uuid("booking_id", "bookings.id"),
    c.uuid("provider_payment_id", "provider_payments.id"),
    c.string("idempotency_key"),
    c.string("reason"),
    c.string("status"),
    c.big("amount"),
    c.string("currency"),
    c.string("reference", nullable=True),
    # Sendings that the provider said have failed: each has another key, and these are their ids.
    c.integer("tries", default="0"),
    Column("failed", pg.ARRAY(sa.Text), nullable=False, server_default=text("'{}'::text[]")),
    # Of a refund that somebody asked for; NULL when a verdict on a payment sends the money back.
    c.integer("number", nullable=True),
    # A refund takes its money out of several payments if need be: one part, one row, for each.
    c.integer("part", default="1"),
    Column("seats", pg.ARRAY(sa.Text), nullable=False, server_default=text("'{}'::text[]")),
    c.string("note", nullable=True),
    c.uuid("request_key", nullable=True),
    c.at("created_at", now=True),
    # The provider's balance was too low when it was last asked.
    c.at("short_at", nullable=True),
    c.at("accepted_at", nullable=True),
    c.at("settled_at", nullable=True),
    c.one_of("status", "pending", "succeeded", "failed"),
    sa.CheckConstraint("amount > 0", name="amount"),
    sa.UniqueConstraint("idempotency_key"),
    Index(None, "booking_id"),
    Index(None, "provider_payment_id"),
    Index(
        "refunds_asked_key",
        "booking_id",
        "number",
        "part",
        unique=True,
        postgresql_where=text("number IS NOT NULL"),
    ),
    Index("refunds_pending_idx", "created_at", postgresql_where=text("status = 'pending'")),
)

# One row a provider: what a reconciliation has finished with, and how it went.
reconciliations = Table(
    "reconciliations",
    c.metadata,
    Column("provider", sa.Text, primary_key=True),
    # Everything that the provider listed as changed before this was compared.
    c.at("watermark"),
    c.at("finished_at", now=True),
    c.big("compared", default="0"),
    c.big("repaired", default="0"),
    c.big("left_over", default="0"),
)

# Other seats for late money, claimed for its booking: one offer for each payment, once.
seat_offers = Table(
    "seat_offers",
    c.metadata,
    Column(
        "provider_payment_id",
        pg.UUID(as_uuid=True),
        sa.ForeignKey("provider_payments.id"),
        primary_key=True,
    ),
    c.uuid("booking_id", "bookings.id"),
    c.string("state"),
    # Label, price class, ticket type, amount and fence of each; as many as the booking has.
    c.json("seats"),
    c.at("expires_at"),
    c.at("created_at", now=True),
    c.at("ended_at", nullable=True),
    c.one_of("state", "open", "accepted", "declined", "lapsed"),
    sa.CheckConstraint("(state = 'open') = (ended_at IS NULL)", name="ended"),
    Index(None, "booking_id", "created_at"),
    Index(
        "seat_offers_open_key", "booking_id", unique=True, postgresql_where=text("state = 'open'")
    ),
    Index("seat_offers_expiry_idx", "expires_at", postgresql_where=text("state = 'open'")),
)
