"""What partners are told: endpoints, the feed of events, deliveries and the log of their tries."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table, text
from sqlalchemy.dialects import postgresql as pg

from infra.postgres.tables import columns as c

partner_endpoints = Table(
    "partner_endpoints",
    c.metadata,
    c.key(),
    # Whose it is; goes with its owner.
    Column(
        "owner_id",
        pg.UUID(as_uuid=True),
        ForeignKey("users.id", ondelete="CASCADE"),
        nullable=False,
    ),
    c.string("url"),
    c.string("description"),
    Column("event_types", pg.ARRAY(sa.Text), nullable=False),
    # Since when it is owed these types.
    c.at("types_since", now=True),
    # Sealed, see infra/sealing.py.
    Column("secret", pg.BYTEA, nullable=False),
    Column("previous_secret", pg.BYTEA, nullable=True),
    c.at("previous_until", nullable=True),
    c.string("state", default="active"),
    c.string("disabled_reason", nullable=True),
    c.at("disabled_at", nullable=True),
    # The first failure since anything was taken.
    c.at("failing_since", nullable=True),
    c.integer("version", default="1"),
    c.at("created_at", now=True),
    c.at("updated_at", now=True),
    c.one_of("state", "active", "disabled"),
    CheckConstraint(
        "(state = 'disabled') = (disabled_at IS NOT NULL AND disabled_reason IS NOT NULL)",
        name="disabled",
    ),
    CheckConstraint(
        "(previous_secret IS NULL) = (previous_until IS NULL)",
        name="previous",
    ),
    Index(None, "owner_id", "created_at", "id"),
)

# One row: how far the events of the store are in the feed.
partner_feed = Table(
    "partner_feed",
    c.metadata,
    Column("single", sa.Boolean, primary_key=True, server_default=text("true")),
    Column("xid", c.Xid8, nullable=False, server_default=text("'0'")),
    c.big("event_id", default="0"),
    CheckConstraint("single", name="single"),
)

partner_events = Table(
    "partner_events",
    c.metadata,
    c.serial(),
    # None of a test, which is told to one endpoint alone.
    Column("event_id", sa.BigInteger, nullable=True),
    Column(
        "only_for",
        pg.UUID(as_uuid=True),
        ForeignKey("partner_endpoints.id", ondelete="CASCADE"),
        nullable=True,
    ),
    c.string("type"),
    c.string("body"),
    c.at("projected_at", now=True),
    CheckConstraint("(event_id IS NULL) = (only_for IS NOT NULL)", name="only_for"),
    sa.UniqueConstraint("event_id"),
    Index(None, "projected_at"),
    Index("partner_events_only_for_idx", "only_for", postgresql_where=text("only_for IS NOT NULL")),
)

partner_deliveries = Table(
    "partner_deliveries",
    c.metadata,
    Column("id", pg.UUID(as_uuid=True), primary_key=True, server_default=text("gen_random_uuid()")),
    Column(
        "endpoint_id",
        pg.UUID(as_uuid=True),
        ForeignKey("partner_endpoints.id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column(
        "partner_event_id",
        sa.BigInteger,
        ForeignKey("partner_events.id", ondelete="CASCADE"),
        nullable=False,
    ),
    c.string("state", default="pending"),
    c.string("reason", nullable=True),
    # Since it was due or replayed, and over all of its life.
    c.integer("attempts", default="0"),
    c.integer("total_attempts", default="0"),
    # Whether somebody has it under a lease that ends at `next_attempt_at`.
    c.flag("sending"),
    c.at("due_since", now=True),
    c.at("next_attempt_at", nullable=True, now=True),
    c.at("created_at", now=True),
    c.at("delivered_at", nullable=True),
    c.one_of("state", "pending", "delivered", "failed", "skipped"),
    CheckConstraint("(state = 'pending') = (next_attempt_at IS NOT NULL)", name="next_attempt"),
    CheckConstraint("state <> 'skipped' OR reason IS NOT NULL", name="reason"),
    sa.UniqueConstraint("endpoint_id", "partner_event_id"),
    Index(None, "partner_event_id"),
    Index("partner_deliveries_state_idx", "endpoint_id", "state", "created_at", "id"),
    Index(
        "partner_deliveries_due_idx",
        "endpoint_id",
        "next_attempt_at",
        postgresql_where=text("state = 'pending'"),
    ),
)

partner_attempts = Table(
    "partner_attempts",
    c.metadata,
    c.serial(),
    Column(
        "delivery_id",
        pg.UUID(as_uuid=True),
        ForeignKey("partner_deliveries.id", ondelete="CASCADE"),
        nullable=False,
    ),
    c.integer("number"),
    c.at("started_at"),
    c.at("ended_at", now=True),
    c.integer("status", nullable=True),
    c.string("error", nullable=True),
    # SHA-256 of what was sent.
    Column("body_hash", pg.BYTEA, nullable=False),
    CheckConstraint("(status IS NULL) = (error IS NOT NULL)", name="outcome"),
    sa.UniqueConstraint("delivery_id", "number"),
)
