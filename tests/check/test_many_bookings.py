"""What is held at a time does not grow with the bookings, whatever there is to be found of them."""

from __future__ import annotations

import tracemalloc
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from bench.growth import FILL
from infra.settings import Settings
from seathold.checker import projections, streams, world
from seathold.checker.inputs import Inputs
from seathold.checker.run import run
from tests.check.builders import Connection, id_of
from tests.check.conftest import Checker

# A batch is to a few thousand what the usual one is to a hundred thousand. Where all of them are
# held it is 3 to 9 MiB; 1 is there before the first.
COUNT, BATCH = 6000, 100
MOST_MIB = 2.5
EMPTY_REDIS = "10"
# Beside what bench/growth.sql writes: everything else that has a row or more a booking.
LIVE = """
INSERT INTO projections (name, generation, state)
SELECT name, 1, 'live' FROM unnest('{listing,availability,timeline,sales,demand}'::text[]) AS name
"""
MORE = """
INSERT INTO projected_seats (generation, show_id, label, fence, state, booking_id)
SELECT 1, show_id, label, 7, state, booking_id FROM seat_claims WHERE state = 'sold';
INSERT INTO projected_demand (generation, hour, show_id, bookings, seats, confirmed, lapsed)
SELECT 1, to_timestamp(n * 3600), id, 1, 1, 1, 1 FROM shows, generate_series(1, 100) AS n;
INSERT INTO projected_timeline (generation, booking_id, sequence, text)
SELECT 1, id, 99, '' FROM bookings;
INSERT INTO notification_outbox (booking_id, user_id, channel, template, state, sent_at)
SELECT id, user_id, 'email', 'confirmation', 'sent', now() - interval '1 day' FROM bookings
ON CONFLICT DO NOTHING;
INSERT INTO webhook_inbox (provider, event_id, event_type, body, status)
SELECT 'sandbox', id, 'payment.captured', '', 'pending' FROM bookings;
INSERT INTO audit_log (actor, role, action, target, reason)
SELECT 'ada', 'admin', 'case.resolve', id, '' FROM bookings;
INSERT INTO audit_seals (sequence, audit_id, previous_hash, hash)
SELECT row_number() OVER (ORDER BY id), id, '', '' FROM audit_log;
"""


def test_no_verdict_holds_all_bookings_at_once(
    checker: Checker, db: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(db.info.dsn, password=db.info.password) as filler:
        filler.execute("SET session_replication_role = replica")
        filler.execute(LIVE)
        psycopg.ClientCursor(filler).execute(FILL, {"count": COUNT, "buyer": id_of("ada")})
        filler.execute(MORE)
    db.execute("ANALYZE")
    redis = urlsplit(settings.redis_url.get_secret_value())
    own = urlunsplit(redis._replace(path=f"/{EMPTY_REDIS}"))
    inputs = Inputs.read(None, {**checker.environ, "SEATHOLD_REDIS_URL": own})
    for module in (world, streams, projections):
        monkeypatch.setattr(module, "BATCH", BATCH)
    held = {}
    tracemalloc.start()
    for verdict in run(inputs):
        held[verdict.id] = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.reset_peak()
    tracemalloc.stop()
    assert {id_: mib for id_, mib in held.items() if mib > MOST_MIB} == {}
