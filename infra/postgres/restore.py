"""After a dump is restored into another cluster: transaction ids that mean nothing there.

A reader waits for transactions above the horizon, and those of the dump may lie above it for years.
So every id is set to one that is long over anywhere; where each reader had come to is kept.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

# The lowest id of a normal transaction; those of a new cluster begin after hundreds of others.
OLDEST = 3
# Whoever reads the events keeps the place of the last one in columns of these names.
READERS = """
SELECT relname FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'events' AND 2 = (
    SELECT count(*) FROM pg_attribute WHERE attrelid = pg_class.oid
    AND (attname, atttypid) IN (('xid', 'xid8'::regtype), ('event_id', 'bigint'::regtype)))
ORDER BY relname
"""
# The readers' places cut the events into stretches, and each stretch gets an id: what lay after a
# place still does.
EVENTS = """
WITH places AS (SELECT DISTINCT xid, event_id FROM ({places}) AS them)
UPDATE events SET xid = CAST(({oldest} + (
    SELECT count(*) FROM places WHERE (places.xid, places.event_id) < (events.xid, events.id)
))::text AS xid8)
"""
NEW_PLACES = """
CREATE TEMPORARY TABLE new_places ON COMMIT DROP AS
SELECT xid, event_id,
       CAST(({oldest} - 1 + row_number() OVER (ORDER BY xid, event_id))::text AS xid8) AS stretch
FROM (SELECT DISTINCT xid, event_id FROM ({places}) AS them) AS places
"""
MOVE = """
UPDATE {table} AS place SET xid = stretch, event_id = 9223372036854775807
FROM new_places WHERE (place.xid, place.event_id) = (new_places.xid, new_places.event_id)
"""
# What has a seal comes before what has none.
AUDIT = """
UPDATE audit_log SET xid = CAST((CASE WHEN EXISTS (
    SELECT FROM audit_seals WHERE audit_id = audit_log.id) THEN {oldest} ELSE {oldest} + 1 END
)::text AS xid8)
"""


def forget_transaction_ids(url: str) -> int:
    """Do it, as the owner, while nothing else runs; how many events there are."""
    with psycopg.connect(url) as connection:
        connection.execute("SET LOCAL lock_timeout = '5s'")
        for table in ("events", "audit_log"):
            _guard(connection, table, "DISABLE")
        readers = [sql.Identifier(name) for (name,) in connection.execute(READERS).fetchall()]
        place = sql.SQL("SELECT xid, event_id FROM {}")
        nowhere = sql.SQL("SELECT CAST(NULL AS xid8) AS xid, 0::bigint AS event_id WHERE false")
        places = sql.SQL(" UNION ALL ").join([nowhere, *map(place.format, readers)])
        names = {"oldest": sql.Literal(OLDEST), "places": places}
        connection.execute(sql.SQL(NEW_PLACES).format(**names))
        events = connection.execute(sql.SQL(EVENTS).format(**names)).rowcount
        for reader in readers:
            connection.execute(sql.SQL(MOVE).format(table=reader))
        connection.execute(sql.SQL(AUDIT).format(**names))
        for table in ("events", "audit_log"):
            _guard(connection, table, "ENABLE")
    return events


def _guard(connection: psycopg.Connection[Any], table: str, change: str) -> None:
    statement = sql.SQL("ALTER TABLE {} " + change + " TRIGGER record_is_append_only")
    connection.execute(statement.format(sql.Identifier(table)))
