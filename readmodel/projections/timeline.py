"""Booking timeline: what happened and why, a plain sentence for each event."""

from __future__ import annotations

from sqlalchemy import text

from infra.postgres.database import Session
from readmodel.projections.facts import Batch
from readmodel.sentences import SENTENCES, sentence

PUT = text("""
INSERT INTO projected_timeline (generation, booking_id, sequence, text)
SELECT :generation, * FROM unnest(CAST(:bookings AS uuid[]), CAST(:sequences AS int[]),
                                  CAST(:texts AS text[]))
ON CONFLICT (generation, booking_id, sequence) DO UPDATE SET text = excluded.text
""")
CLEAR = text("""
DELETE FROM projected_timeline WHERE (generation, booking_id, sequence) IN (
    SELECT generation, booking_id, sequence FROM projected_timeline
    WHERE generation = :generation ORDER BY generation, booking_id, sequence LIMIT 1000
)
""")


class Timeline:
    name = "timeline"
    clear = CLEAR

    def apply(self, session: Session, generation: int, batch: Batch) -> None:
        told = [fact for fact in batch.facts if fact.type in SENTENCES]
        if told:
            session.later(
                PUT,
                generation=generation,
                bookings=[fact.aggregate_id for fact in told],
                sequences=[fact.sequence for fact in told],
                texts=[sentence(fact.type, fact.payload) for fact in told],
            )
