"""What happened: the events of every aggregate, and the acts of administrators.

Rows are added and never changed: the migration has the triggers, and the application no right.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Index, Table, text
from sqlalchemy.dialects import postgresql as pg

from infra.postgres.tables import columns as c

events = Table(
    "events",
    c.metadata,
    Column("id", sa.BigInteger, primary_key=True, autoincrement=True),
    c.uuid("aggregate_id"),
    c.integer("sequence"),
    c.string("event_type"),
    c.integer("schema_version", default="1"),
    c.json("payload"),
    c.string("actor"),
    c.string("request_id", nullable=True),
    c.integer("version"),
    Column("previous_hash", pg.BYTEA, nullable=False),
    Column("hash", pg.BYTEA, nullable=False),
    # `id` order is not commit order: a projector reads below the horizon of running transactions.
    Column("xid", c.Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
    c.at("created_at", now=True),
    sa.UniqueConstraint("aggregate_id", "sequence"),
    Index("events_type_idx", "event_type", "created_at"),
    # The order in which events became certain.
    Index("events_place_idx", "xid", "id"),
)

audit_log = Table(
    "audit_log",
    c.metadata,
    c.serial(),
    c.at("at", now=True),
    c.string("actor"),
    c.string("role"),
    c.string("action"),
    c.string("target"),
    c.string("reason", nullable=True),
    c.json("details", nullable=True),
    c.string("request_id", nullable=True),
    Column("xid", c.Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
    Index("audit_log_actor_idx", "actor", "id"),
    Index("audit_log_action_idx", "action", "id"),
    Index("audit_log_target_idx", "target", "id"),
    Index("audit_log_place_idx", "xid", "id"),
)

# Each entry once, chained in the order of (xid, id): a worker does it a moment after the commit.
audit_seals = Table(
    "audit_seals",
    c.metadata,
    Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    Column("audit_id", sa.BigInteger, sa.ForeignKey("audit_log.id"), nullable=False, unique=True),
    Column("previous_hash", pg.BYTEA, nullable=False),
    Column("hash", pg.BYTEA, nullable=False),
    c.at("sealed_at", now=True),
)
