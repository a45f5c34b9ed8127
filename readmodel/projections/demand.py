"""Demand by hour: how much was asked for, sold and left to lapse in each hour, show by show."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from domain.history import History
from infra.postgres.database import Session
from readmodel.projections.base import columns_of, moved
from readmodel.projections.facts import Batch

FIGURES = ("bookings", "seats", "confirmed", "lapsed")
ADD = text("""
INSERT INTO projected_demand AS demand
    (generation, hour, show_id, bookings, seats, confirmed, lapsed)
SELECT :generation, * FROM unnest(
    CAST(:hours AS timestamptz[]), CAST(:shows AS uuid[]), CAST(:bookings AS bigint[]),
    CAST(:seats AS bigint[]), CAST(:confirmed AS bigint[]), CAST(:lapsed AS bigint[]))
ON CONFLICT (generation, hour, show_id) DO UPDATE
SET bookings = demand.bookings + excluded.bookings, seats = demand.seats + excluded.seats,
    confirmed = demand.confirmed + excluded.confirmed, lapsed = demand.lapsed + excluded.lapsed
""")
CLEAR = text("""
DELETE FROM projected_demand WHERE (generation, hour, show_id) IN (
    SELECT generation, hour, show_id FROM projected_demand
    WHERE generation = :generation ORDER BY generation, hour, show_id LIMIT 1000
)
""")


class Demand:
    name = "demand"
    clear = CLEAR

    def apply(self, session: Session, generation: int, batch: Batch) -> None:
        if change := moved(batch, figures_of):
            session.later(
                ADD,
                generation=generation,
                hours=[hour for hour, _ in change],
                shows=[show_id for _, show_id in change],
                **columns_of(change, FIGURES),
            )


def figures_of(history: History) -> dict[tuple[datetime, UUID], tuple[int, ...]]:
    """Each figure in the hour in which it happened; whole hours of UTC."""
    counted: dict[str, Counter[datetime]] = {name: Counter() for name in FIGURES}
    counted["bookings"][_hour(history.made_at)] = 1
    counted["seats"][_hour(history.made_at)] = history.wanted
    if history.confirmed_at is not None:
        counted["confirmed"][_hour(history.confirmed_at)] = 1
    if history.lapsed_at is not None:
        counted["lapsed"][_hour(history.lapsed_at)] = 1
    hours = {hour for name in FIGURES for hour in counted[name]}
    return {
        (hour, history.show_id): tuple(counted[name][hour] for name in FIGURES) for hour in hours
    }


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
