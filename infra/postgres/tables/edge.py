"""What comes in and goes out: webhooks, notifications, answers kept for a repeated request."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Index, Table, text
from sqlalchemy.dialects import postgresql as pg

from infra.postgres.tables import columns as c

webhook_inbox = Table(
    "webhook_inbox",
    c.metadata,
    c.serial(),
    c.string("provider"),
    c.string("event_id"),
    c.string("event_type"),
    Column("body", pg.BYTEA, nullable=False),
    c.string("status", default="pending"),
    c.integer("attempts", default="0"),
    c.at("received_at", now=True),
    c.at("next_attempt_at", now=True),
    c.at("processed_at", nullable=True),
    c.string("reason", nullable=True),
    c.string("request_id", nullable=True),
    c.integer("failures", default="0"),
    # Why it is for a person only; known when it came, before anybody acted on it.
    c.string("set_aside", nullable=True),
    c.one_of("status", "pending", "done", "quarantined"),
    sa.UniqueConstraint("provider", "event_id"),
    Index(
        "webhook_inbox_pending_idx",
        "next_attempt_at",
        postgresql_where=text("status = 'pending'"),
    ),
)

notification_outbox = Table(
    "notification_outbox",
    c.metadata,
    c.serial(),
    # Either a booking, or what it tells of the account: a mailed token's row,
    # else an id of its own.
    c.uuid("booking_id", "bookings.id", nullable=True),
    c.uuid("reference", nullable=True),
    c.uuid("user_id", "users.id"),
    c.string("channel"),
    c.string("template"),
    c.integer("revision", default="1"),
    c.string("state", default="pending"),
    c.integer("attempts", default="0"),
    c.integer("ambiguous_attempts", default="0"),
    # Kept only of a mail's last try for doubt.
    c.flag("handed_over"),
    c.at("created_at", now=True),
    c.at("next_attempt_at", nullable=True, now=True),
    c.at("sent_at", nullable=True),
    c.string("reason", nullable=True),
    c.one_of("channel", "email", "sms"),
    c.one_of("state", "pending", "sending", "sent", "failed", "suppressed"),
    sa.CheckConstraint("(booking_id IS NULL) <> (reference IS NULL)", name="subject"),
    sa.UniqueConstraint("booking_id", "template", "revision", "channel"),
    Index(
        "notification_outbox_due_idx",
        "next_attempt_at",
        postgresql_where=text("state IN ('pending', 'sending')"),
    ),
    Index(
        "notification_outbox_account_idx",
        "next_attempt_at",
        postgresql_where=text("booking_id IS NULL AND state = 'pending'"),
    ),
    Index(
        "notification_outbox_user_idx",
        "user_id",
        postgresql_where=text("booking_id IS NULL"),
    ),
)

idempotency_keys = Table(
    "idempotency_keys",
    c.metadata,
    Column("user_id", pg.UUID(as_uuid=True), primary_key=True),
    Column("route", sa.Text, primary_key=True),
    Column("key_hash", pg.BYTEA, primary_key=True),
    Column("body_hash", pg.BYTEA, nullable=False),
    c.at("lease_until"),
    c.at("created_at", now=True),
    c.integer("status", nullable=True),
    Column("answer", pg.BYTEA, nullable=True),
    c.string("content_type", nullable=True),
    c.uuid("owner"),
    Index(None, "created_at"),
)
