"""Shows that were cancelled: who wanted it and why, what it meant to do, what came of it."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, Index, Table, text
from sqlalchemy.dialects import postgresql as pg

from infra.postgres.tables import columns as c

show_cancellations = Table(
    "show_cancellations",
    c.metadata,
    Column("show_id", pg.UUID(as_uuid=True), ForeignKey("shows.id"), primary_key=True),
    c.string("status", default="running"),
    c.string("reason"),
    c.string("actor"),
    c.string("request_id", nullable=True),
    # Why it waits: `balance`, or what an operator said.
    c.string("paused", nullable=True),
    c.json("plan"),
    c.json("report", nullable=True),
    c.at("requested_at", now=True),
    c.at("finished_at", nullable=True),
    c.one_of("status", "running", "paused", "finished"),
    sa.CheckConstraint("(status = 'paused') = (paused IS NOT NULL)", name="paused"),
    sa.CheckConstraint(
        "(status = 'finished') = (finished_at IS NOT NULL AND report IS NOT NULL)",
        name="finished",
    ),
    Index(
        "show_cancellations_running_idx",
        "requested_at",
        postgresql_where=text("status <> 'finished'"),
    ),
)
