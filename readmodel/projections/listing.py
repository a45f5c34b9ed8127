"""Show listing: how many seats of each show are held and sold, and whether it was cancelled."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text

from domain.events import EventType
from domain.history import History
from infra.postgres.database import Session
from readmodel.projections.base import moved
from readmodel.projections.facts import Batch

ADD = text("""
INSERT INTO projected_listing AS listing (generation, show_id, held, sold)
SELECT :generation, * FROM unnest(CAST(:shows AS uuid[]), CAST(:held AS int[]),
                                  CAST(:sold AS int[]))
ON CONFLICT (generation, show_id) DO UPDATE
SET held = listing.held + excluded.held, sold = listing.sold + excluded.sold
""")
CANCEL = text("""
INSERT INTO projected_listing (generation, show_id, held, sold, cancelled)
SELECT :generation, show_id, 0, 0, true FROM unnest(CAST(:shows AS uuid[])) AS asked (show_id)
ON CONFLICT (generation, show_id) DO UPDATE SET cancelled = true
""")
CLEAR = text("""
DELETE FROM projected_listing WHERE (generation, show_id) IN (
    SELECT generation, show_id FROM projected_listing
    WHERE generation = :generation ORDER BY generation, show_id LIMIT 1000
)
""")


class Listing:
    name = "listing"
    clear = CLEAR

    def apply(self, session: Session, generation: int, batch: Batch) -> None:
        if change := moved(batch, seats_of):
            held, sold = zip(*change.values(), strict=True)
            session.later(
                ADD, generation=generation, shows=list(change), held=list(held), sold=list(sold)
            )
        if ended := {
            fact.aggregate_id for fact in batch.facts if fact.type == EventType.SHOW_CANCELLED
        }:
            session.later(CANCEL, generation=generation, shows=sorted(ended))


def seats_of(history: History) -> dict[UUID, tuple[int, ...]]:
    return {history.show_id: (history.count("held"), history.count("sold"))}
