"""``seathold events``: look at the event store as it grows, at one stream, and at its chains."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

from domain.events import Event, EventType, event_hash
from domain.upcasters import FromTheFuture, upcast
from seathold.progress import HOW_MANY, Progress, Say
from seathold.reading import Connection, connect

BATCH = 2000
NEXT_AT_MOST = 500
LOOK_AGAIN_SECONDS = 0.5

# Below the horizon of running transactions nothing can be added any more, so that the order of
# (xid, id) is one that a follower can trust; the order of ids alone is not.
LAST = """
SELECT xid::text AS xid, id FROM events WHERE xid < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY events.xid DESC, id DESC LIMIT 1
"""
NEWEST = """
SELECT *, events.xid::text AS place FROM events
WHERE (events.xid, id) <= (CAST(%(xid)s AS xid8), %(id)s)
  AND (CAST(%(event_type)s AS text) IS NULL OR event_type = %(event_type)s)
  AND (CAST(%(aggregate)s AS uuid) IS NULL OR aggregate_id = %(aggregate)s)
ORDER BY events.xid DESC, id DESC LIMIT %(limit)s
"""
NEXT = """
SELECT *, events.xid::text AS place FROM events
WHERE (events.xid, id) > (CAST(%(xid)s AS xid8), %(id)s)
  AND events.xid < pg_snapshot_xmin(pg_current_snapshot())
  AND (CAST(%(event_type)s AS text) IS NULL OR event_type = %(event_type)s)
  AND (CAST(%(aggregate)s AS uuid) IS NULL OR aggregate_id = %(aggregate)s)
ORDER BY events.xid, id LIMIT %(limit)s
"""
# A booking's row names the last event of its stream, so that a stream cut short is noticed.
STREAM = """
SELECT events.*, bookings.sequence AS end_sequence, event_hash AS end_hash
FROM events LEFT JOIN bookings ON bookings.id = aggregate_id
WHERE aggregate_id = %s ORDER BY events.sequence
"""
# The bookings begin where the page does, too: a merge join would walk them from the first on.
PAGE = """
SELECT events.*, bookings.sequence AS end_sequence, event_hash AS end_hash
FROM events LEFT JOIN bookings ON bookings.id = aggregate_id AND bookings.id >= %(id)s
WHERE (aggregate_id, events.sequence) > (%(id)s, %(sequence)s)
ORDER BY aggregate_id, events.sequence LIMIT %(limit)s
"""


def tail(
    url: str,
    say: Say,
    *,
    limit: int,
    follow: bool,
    event_type: str | None,
    aggregate: UUID | None,
    as_json: bool,
) -> None:
    """Tell the newest events, oldest first; with ``follow`` go on until interrupted."""
    wanted = {"event_type": event_type, "aggregate": aggregate}
    render = as_line if not as_json else as_json_line
    with connect(url) as db:
        last = db.execute(LAST).fetchone()
        place = (last.xid, last.id) if last else ("0", 0)
        newest = {**wanted, "xid": place[0], "id": place[1], "limit": limit}
        for row in reversed(db.execute(NEWEST, newest).fetchall()):
            say(render(row))
        asked = {**wanted, "limit": NEXT_AT_MOST}
        while follow:
            last = db.execute(LAST).fetchone()
            rows = db.execute(NEXT, {**asked, "xid": place[0], "id": place[1]}).fetchall()
            for row in rows:
                say(render(row))
                place = (row.place, row.id)
            if last and len(rows) < NEXT_AT_MOST:
                # What was not wanted is not looked through again and again.
                place = max(place, (last.xid, last.id), key=lambda at: (int(at[0]), at[1]))
            time.sleep(LOOK_AGAIN_SECONDS)


def show(url: str, say: Say, aggregate: UUID, *, as_json: bool) -> bool:
    """Tell one stream from its beginning; False when there is none."""
    render = as_line if not as_json else as_json_line
    with connect(url) as db:
        rows = db.execute(STREAM, (aggregate,)).fetchall()
    for row in rows:
        say(render(row))
    return bool(rows)


def verify(url: str, say: Say, whisper: Say, aggregate: UUID | None) -> bool:
    """Recompute the chain of one stream, or of all; name what broke. True when all is whole.

    ``whisper`` hears now and then how far it is.
    """
    events = streams = broken = 0
    with connect(url) as db:
        for found in _streams(db, aggregate, whisper):
            streams += 1
            events += len(found)
            for sentence in breaks(found):
                broken += 1
                say(sentence)
    if aggregate is not None and streams == 0:
        say(f"There is no event of {aggregate}.")
        return False
    say(f"{events} events of {streams} aggregates: {broken or 'none'} broken.")
    return not broken


def breaks(stream: list[Any]) -> Iterator[str]:
    """What is wrong with a stream, in sentences that name the event."""
    previous, sequence = b"", 0
    for row in stream:
        sequence += 1
        name = f"{row.aggregate_id} no. {row.sequence} (event {row.id}, {row.event_type})"
        if row.sequence != sequence:
            yield f"{name}: no. {sequence} is missing before it"
            sequence = row.sequence
        if bytes(row.previous_hash) != previous:
            yield f"{name}: does not follow the event before it"
        if bytes(row.hash) != _digest(row):
            yield f"{name}: is not what was written"
        previous = bytes(row.hash)
    last = stream[-1]
    if last.end_hash is not None and bytes(last.end_hash) != previous:
        yield (
            f"{last.aggregate_id}: its booking names no. {last.end_sequence} as its last event,"
            f" and that is not no. {sequence} as it stands here"
        )


def as_json_line(row: Any) -> str:
    return json.dumps(
        {
            "id": row.id,
            "aggregate_id": str(row.aggregate_id),
            "sequence": row.sequence,
            "type": row.event_type,
            "schema_version": row.schema_version,
            "payload": row.payload,
            "actor": row.actor,
            "request_id": row.request_id,
            "at": row.created_at.isoformat(),
            "hash": bytes(row.hash).hex(),
        }
    )


def as_line(row: Any) -> str:
    """One line for people, the payload as it reads today."""
    try:
        told = upcast(row.event_type, row.schema_version, row.payload)
    except FromTheFuture:
        told = row.payload
    by = f"by {row.actor}" + (f" (request {row.request_id})" if row.request_id else "")
    at = row.created_at.isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
    payload = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
    return f"{at} {row.aggregate_id} {row.sequence:>3} {row.event_type} {by} {payload}"


def _digest(row: Any) -> bytes | None:
    """None for an event of no type that is known here."""
    try:
        event = Event(EventType(row.event_type), row.payload)
    except ValueError:
        return None
    return event_hash(
        bytes(row.previous_hash),
        row.aggregate_id,
        row.sequence,
        event,
        row.schema_version,
        row.actor,
        row.request_id,
    )


def _streams(db: Connection, aggregate: UUID | None, whisper: Say) -> Iterator[list[Any]]:
    """Read in batches, so that no long transaction is needed."""
    if aggregate is not None:
        stream = db.execute(STREAM, (aggregate,)).fetchall()
        yield from [stream] if stream else []
        return
    for _, rows in groupby(_all(db, whisper), key=attrgetter("aggregate_id")):
        yield list(rows)


def _all(db: Connection, whisper: Say) -> Iterator[Any]:
    progress = Progress(db.execute(HOW_MANY).fetchall()[0].events, whisper)
    place = {"id": UUID(int=0), "sequence": 0}
    while page := db.execute(PAGE, {**place, "limit": BATCH}).fetchall():
        yield from page
        progress.add(len(page))
        place = {"id": page[-1].aggregate_id, "sequence": page[-1].sequence}
