"""Sales and occupancy: of each show, what was held, sold, given back, earned and lost again."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text

from domain.history import History
from infra.postgres.database import Session
from readmodel.projections.base import columns_of, moved
from readmodel.projections.facts import Batch

FIGURES = (
    "bookings",
    "confirmed",
    "lapsed",
    "seats_sold",
    "seats_returned",
    "revenue",
    "refunded",
    "charged_back",
)
ADD = text("""
INSERT INTO projected_sales AS sales
    (generation, show_id, currency, bookings, confirmed, lapsed, seats_sold, seats_returned,
     revenue, refunded, charged_back)
SELECT :generation, * FROM unnest(
    CAST(:shows AS uuid[]), CAST(:currencies AS text[]), CAST(:bookings AS bigint[]),
    CAST(:confirmed AS bigint[]), CAST(:lapsed AS bigint[]), CAST(:seats_sold AS bigint[]),
    CAST(:seats_returned AS bigint[]), CAST(:revenue AS bigint[]), CAST(:refunded AS bigint[]),
    CAST(:charged_back AS bigint[]))
ON CONFLICT (generation, show_id, currency) DO UPDATE
SET bookings = sales.bookings + excluded.bookings,
    confirmed = sales.confirmed + excluded.confirmed,
    lapsed = sales.lapsed + excluded.lapsed,
    seats_sold = sales.seats_sold + excluded.seats_sold,
    seats_returned = sales.seats_returned + excluded.seats_returned,
    revenue = sales.revenue + excluded.revenue,
    refunded = sales.refunded + excluded.refunded,
    charged_back = sales.charged_back + excluded.charged_back
""")
CLEAR = text("""
DELETE FROM projected_sales WHERE (generation, show_id, currency) IN (
    SELECT generation, show_id, currency FROM projected_sales
    WHERE generation = :generation ORDER BY generation, show_id, currency LIMIT 1000
)
""")


class Sales:
    name = "sales"
    clear = CLEAR

    def apply(self, session: Session, generation: int, batch: Batch) -> None:
        if change := moved(batch, figures_of):
            session.later(
                ADD,
                generation=generation,
                shows=[show_id for show_id, _ in change],
                currencies=[currency for _, currency in change],
                **columns_of(change, FIGURES),
            )


def figures_of(history: History) -> dict[tuple[UUID, str], tuple[int, ...]]:
    return {
        (history.show_id, history.currency): (
            1,
            int(history.confirmed_at is not None),
            int(history.lapsed_at is not None),
            history.count("sold"),
            history.count("returned"),
            history.revenue,
            history.refunded,
            history.charged_back,
        )
    }
