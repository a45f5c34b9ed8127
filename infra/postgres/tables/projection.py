"""What projections tell, built from events; all of it can be dropped and built again.

Rows of a projection that is being rebuilt stand beside those that are read, under another
``generation``; ``projections`` says which one is live.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Index, Table, text
from sqlalchemy.dialects import postgresql as pg

from infra.postgres.tables import columns as c


def _generation() -> Column[object]:
    return Column("generation", sa.Integer, primary_key=True, autoincrement=False)


def _key(name: str) -> Column[object]:
    return Column(name, pg.UUID(as_uuid=True), primary_key=True)


projections = Table(
    "projections",
    c.metadata,
    Column("name", sa.Text, primary_key=True),
    _generation(),
    c.string("state"),
    # The place of the last event that is in it.
    Column("xid", c.Xid8, nullable=False, server_default=text("'0'::xid8")),
    c.big("event_id", default="0"),
    c.at("updated_at", now=True),
    c.one_of("state", "live", "building", "old"),
    Index("projections_one_live_key", "name", unique=True, postgresql_where=text("state = 'live'")),
)

projected_listing = Table(
    "projected_listing",
    c.metadata,
    _generation(),
    _key("show_id"),
    c.integer("held"),
    c.integer("sold"),
    c.flag("cancelled"),
)

projected_seats = Table(
    "projected_seats",
    c.metadata,
    _generation(),
    _key("show_id"),
    Column("label", sa.Text, primary_key=True),
    c.big("fence"),
    c.string("state"),
    c.uuid("booking_id"),
    # When a hold ends by the clock alone.
    c.at("free_at", nullable=True),
    c.one_of("state", "free", "held", "sold"),
)

projected_timeline = Table(
    "projected_timeline",
    c.metadata,
    _generation(),
    _key("booking_id"),
    Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    c.string("text"),
)

projected_sales = Table(
    "projected_sales",
    c.metadata,
    _generation(),
    _key("show_id"),
    Column("currency", sa.Text, primary_key=True),
    c.big("bookings"),
    c.big("confirmed"),
    c.big("lapsed"),
    c.big("seats_sold"),
    c.big("seats_returned"),
    c.big("revenue"),
    c.big("refunded"),
    c.big("charged_back"),
)

projected_demand = Table(
    "projected_demand",
    c.metadata,
    _generation(),
    Column("hour", pg.TIMESTAMP(timezone=True), primary_key=True),
    _key("show_id"),
    c.big("bookings"),
    c.big("seats"),
    c.big("confirmed"),
    c.big("lapsed"),
)
