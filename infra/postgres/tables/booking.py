"""What was asked for, what came of it, and the claims on the seats of a show."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, Index, Table, text
from sqlalchemy.dialects import postgresql as pg

from infra.postgres.tables import columns as c

booking_requests = Table(
    "booking_requests",
    c.metadata,
    c.key(),
    c.uuid("user_id", "users.id"),
    c.uuid("show_id", "shows.id"),
    Column("key_hash", pg.BYTEA, nullable=True),
    Column("body_hash", pg.BYTEA, nullable=False),
    Column("seats", pg.ARRAY(sa.Text), nullable=False),
    Column("ticket_types", pg.ARRAY(sa.Text), nullable=False),
    c.at("created_at", now=True),
    # NULL: not known yet. `held`, or the refusal's code with its data.
    c.string("outcome", nullable=True),
    c.json("refusal", nullable=True),
    Index(
        "booking_requests_unsettled_idx",
        "created_at",
        postgresql_where=text("outcome IS NULL"),
    ),
    Index(
        "booking_requests_user_unsettled_idx",
        "user_id",
        postgresql_where=text("outcome IS NULL"),
    ),
)

bookings = Table(
    "bookings",
    c.metadata,
    c.key(),
    c.uuid("user_id", "users.id"),
    c.uuid("show_id", "shows.id"),
    c.string("state"),
    c.integer("version", default="1"),
    c.integer("sequence", default="0"),
    Column("event_hash", pg.BYTEA, nullable=False, server_default=text("''::bytea")),
    c.string("currency"),
    c.big("total_amount"),
    c.integer("seat_count"),
    c.at("hold_expires_at"),
    c.at("hold_max_expires_at"),
    c.integer("extensions_left", default="0"),
    # Set by checkout before the provider is called; from then on the clock alone frees nothing.
    c.flag("lapses", default=True),
    c.at("closing_since", nullable=True),
    c.flag("payment_uncertain"),
    c.string("close_reason", nullable=True),
    c.uuid("provider_payment_id", nullable=True),
    # While `held`: the seats are final for this payment, whose money is being taken.
    c.uuid("confirming_payment_id", nullable=True),
    c.uuid("case_id", nullable=True),
    c.at("created_at", now=True),
    c.at("updated_at", now=True),
    c.one_of(
        "state",
        "held",
        "expiring",
        "confirmed",
        "expired",
        "cancelling",
        "cancelled",
        "refund_pending",
        "refunded",
        "disputed",
        "charged_back",
    ),
    Index("bookings_user_idx", "user_id", text("created_at DESC"), text("id DESC")),
    Index("bookings_user_show_idx", "user_id", "show_id"),
    Index(
        "bookings_open_idx",
        text("least(hold_expires_at, closing_since)"),
        postgresql_where=text("state IN ('held', 'expiring', 'cancelling')"),
    ),
    Index("bookings_show_idx", "show_id", "state"),
    Index(
        "bookings_user_open_idx",
        "user_id",
        postgresql_where=text("state IN ('held', 'expiring', 'cancelling')"),
    ),
)

booking_seats = Table(
    "booking_seats",
    c.metadata,
    Column("booking_id", pg.UUID(as_uuid=True), ForeignKey("bookings.id"), primary_key=True),
    Column("label", sa.Text, primary_key=True),
    c.string("price_class"),
    c.string("ticket_type", default="standard"),
    c.big("amount"),
    # Given up for a refund: the seat went back on sale, its price stands for what was paid.
    c.at("released_at", nullable=True),
)

seat_claims = Table(
    "seat_claims",
    c.metadata,
    Column("show_id", pg.UUID(as_uuid=True), ForeignKey("shows.id"), nullable=False),
    Column("label", sa.Text, nullable=False),
    c.string("state"),
    c.uuid("booking_id", nullable=True),
    # Rises with every new holder: a write that names an older fence changes nothing.
    c.big("fence", default="1"),
    c.at("updated_at", now=True),
    c.one_of("state", "free", "held", "sold", "blocked"),
    # The guard: one row, so at most one claim, per seat of a show. No primary key beside it:
    # this index alone decides, and start-up refuses to run without it.
    Index("seat_claims_show_label_key", "show_id", "label", unique=True),
    Index(
        "seat_claims_booking_idx",
        "booking_id",
        postgresql_where=text("booking_id IS NOT NULL"),
    ),
)
