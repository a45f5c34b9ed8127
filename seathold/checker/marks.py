"""E10 and E11: the marks in Redis and the provider's webhooks, held against the database."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import redis

from seathold.checker.report import NotRun
from seathold.checker.world import BATCH, Row, World, batches

SECONDS = 5.0
# Of some hundred seats each.
SHOWS_AT_ONCE = 20
LOADED = re.compile(r"\{show:([0-9a-f-]{36})\}:loaded")
SEAT = re.compile(r"\{show:([0-9a-f-]{36})\}:seat:(.+)", re.DOTALL)

TAKEN_IN = """
SELECT show_id::text, label, state FROM seat_claims
WHERE show_id = ANY(%(shows)s::uuid[]) AND state IN ('sold', 'blocked')
"""
TAKEN = """
SELECT show_id::text, label, state, booking_id::text
FROM unnest(%(shows)s::uuid[], %(labels)s::text[]) AS marked (show_id, label)
JOIN seat_claims USING (show_id, label) WHERE state IN ('sold', 'blocked')
"""
DONE_WITHOUT_TIME = """
SELECT id, status FROM webhook_inbox WHERE (status = 'pending') <> (processed_at IS NULL)
"""
EVENT_TWICE = """
SELECT provider, event_id, count(*) AS rows FROM webhook_inbox
GROUP BY provider, event_id HAVING count(*) > 1
"""
STORED = "SELECT event_id FROM webhook_inbox"

Seat = tuple[str, str]


def e10(world: World) -> Iterator[str]:
    """E10 Redis at rest agrees: no sold seat looks free in a loaded show, no other looks sold."""
    if world.inputs.redis_url is None:
        raise NotRun("Redis was not named")
    client: Any = redis.Redis.from_url(
        world.inputs.redis_url, decode_responses=True, socket_timeout=SECONDS
    )
    try:
        with client:
            yield from world.settled(lambda: _differences(world, client))
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise NotRun(f"Redis did not answer: {error}", unreachable=True) from error


def e11(world: World) -> Iterator[str]:
    """E11 Every webhook answered with 2xx is in the inbox, once."""
    yield from world.missing_index("webhook_inbox", "provider", "event_id")
    yield from world.found(EVENT_TWICE, "{provider} event {event_id} is stored {rows} times")
    yield from world.found(DONE_WITHOUT_TIME, "webhook {id} is {status}, its time says otherwise")
    taken = [event for event in world.ledger["events"] if _was_taken(event)]
    missing = {event["id"] for event in taken}
    for row in world.each(STORED):
        missing.discard(row["event_id"])
    for event in taken:
        if event["id"] in missing:
            yield f"event {event['id']} ({event['type']}) was answered with 2xx and is not stored"


def _was_taken(event: Row) -> bool:
    answers = [one["last_status"] or 0 for one in event.get("deliveries", ())]
    return any(200 <= answer < 300 for answer in answers)


def _differences(world: World, client: Any) -> set[str]:
    """A part at a time: seats that look free, by show; marks that are untrue, as they are found."""
    loaded = {
        match[1]
        for key in client.scan_iter(match="{show:*}:loaded", count=BATCH)
        if (match := LOADED.fullmatch(key))
    }
    seats = (
        (match[1], match[2])
        for key in client.scan_iter(match="{show:*}:seat:*", count=BATCH)
        if (match := SEAT.fullmatch(key))
    )
    differ: set[str] = set()
    for shows in batches(loaded, SHOWS_AT_ONCE):
        differ |= _hidden(world, client, shows)
    for part in batches(seats):
        differ |= _untrue(world, client, part)
    return differ


def _hidden(world: World, client: Any, shows: list[str]) -> set[str]:
    taken = {
        (row["show_id"], row["label"]): row["state"] for row in world.now(TAKEN_IN, shows=shows)
    }
    marks = _marks(client, taken)
    return {
        f"seat {label} of show {show} is {state}, free in Redis"
        for (show, label), state in taken.items()
        if (show, label) not in marks
    }


def _untrue(world: World, client: Any, seats: list[Seat]) -> set[str]:
    marks = {
        seat: mark
        for seat, mark in _marks(client, seats).items()
        if mark == "blocked" or mark.startswith("sold:")
    }
    shows, labels = [show for show, _ in marks], [label for _, label in marks]
    taken = {
        (row["show_id"], row["label"]): row for row in world.now(TAKEN, shows=shows, labels=labels)
    }
    return {
        f"seat {label} of show {show} is marked {mark} in Redis, not in the database"
        for (show, label), mark in marks.items()
        if mark != _mark(taken.get((show, label)))
    }


def _marks(client: Any, seats: Iterable[Seat]) -> dict[Seat, str]:
    """Those of these seats that are marked, with their marks."""
    asked = list(seats)
    with client.pipeline(transaction=False) as pipe:
        for show, label in asked:
            pipe.get(f"{{show:{show}}}:seat:{label}")
        marks = zip(asked, pipe.execute(), strict=True)
        return {seat: mark for seat, mark in marks if mark is not None}


def _mark(row: dict[str, Any] | None) -> str | None:
    if row is None:
        return None
    return "blocked" if row["state"] == "blocked" else f"sold:{row['booking_id']}"


CHECKS = (e10, e11)
