"""The schema as SQLAlchemy Core tables; ``alembic check`` holds the migrations to it.

Money columns are integer minor units. Times are ``timestamptz`` written by the database clock.
"""

from __future__ import annotations

# Each module adds its tables to ``metadata``: one that is missing here is one that Alembic drops.
from infra.postgres.tables import (
    booking,
    case,
    catalogue,
    edge,
    ledger,
    partner,
    payment,
    people,
    projection,
    record,
    show_cancel,
)
from infra.postgres.tables.columns import NOW, Xid8, metadata

__all__ = [
    "NOW",
    "Xid8",
    "booking",
    "case",
    "catalogue",
    "edge",
    "ledger",
    "metadata",
    "partner",
    "payment",
    "people",
    "projection",
    "record",
    "show_cancel",
]
