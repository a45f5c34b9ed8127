"""What a person has to decide about money."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Index, Table, text

from infra.postgres.tables import columns as c

cases = Table(
    "cases",
    c.metadata,
    c.key(),
    # Not a closed list here: a new kind is a line of code, not a migration.
    c.string("kind"),
    # The same trouble has the same text, and so one case, however often it is seen.
    c.string("dedupe"),
    c.uuid("booking_id", "bookings.id", nullable=True),
    c.uuid("provider_payment_id", "provider_payments.id", nullable=True),
    c.uuid("refund_id", "refunds.id", nullable=True),
    c.string("summary"),
    c.string("status", default="open"),
    c.uuid("assignee", "users.id", nullable=True),
    c.string("resolution", nullable=True),
    c.at("opened_at", now=True),
    c.at("assigned_at", nullable=True),
    c.at("resolved_at", nullable=True),
    c.at("alerted_at", nullable=True),
    c.integer("version", default="1"),
    c.one_of("status", "open", "assigned", "resolved"),
    sa.CheckConstraint(
        "(status = 'resolved') = (resolved_at IS NOT NULL AND resolution IS NOT NULL)",
        name="resolution",
    ),
    sa.CheckConstraint("status <> 'assigned' OR assignee IS NOT NULL", name="assignee"),
    sa.UniqueConstraint("dedupe"),
    Index("cases_status_idx", "status", "opened_at", "id"),
    Index("cases_kind_idx", "kind", "status", "opened_at", "id"),
    Index(
        "cases_booking_idx",
        "booking_id",
        postgresql_where=text("booking_id IS NOT NULL"),
    ),
    Index(
        "cases_unresolved_idx",
        "opened_at",
        postgresql_where=text("status <> 'resolved'"),
    ),
)
