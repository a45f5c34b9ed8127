"""E10 and E11: the marks in Redis and the provider's webhooks, held against the database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import redis

from seathold.checker.report import NotRun
from seathold.checker.world import World

SECONDS = 5.0
SCAN_COUNT = 1000
LOADED = re.compile(r"\{show:([0-9a-f-]{36})\}:loaded")
SEAT = re.compile(r"\{show:([0-9a-f-]{36})\}:seat:(.+)", re.DOTALL)

TAKEN = """
SELECT show_id::text, label, state, booking_id::text FROM seat_claims
WHERE state IN ('sold', 'blocked')
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
    stored = {row["event_id"] for row in world.rows(STORED)}
    for event in world.ledger["events"]:
        answers = [one["last_status"] or 0 for one in event.get("deliveries", ())]
        if any(200 <= answer < 300 for answer in answers) and event["id"] not in stored:
            yield f"event {event['id']} ({event['type']}) was answered with 2xx and is not stored"


def _differences(world: World, client: Any) -> set[str]:
    taken = {(row["show_id"], row["label"]): row for row in world.now(TAKEN)}
    loaded = {
        match[1]
        for key in client.scan_iter(match="{show:*}:loaded", count=SCAN_COUNT)
        if (match := LOADED.fullmatch(key))
    }
    marks = _marks(client)
    hidden = {
        f"seat {label} of show {show} is {row['state']}, free in Redis"
        for (show, label), row in taken.items()
        if show in loaded and (show, label) not in marks
    }
    return hidden | {
        f"seat {label} of show {show} is marked {mark} in Redis, not in the database"
        for (show, label), mark in marks.items()
        if mark == "blocked" or mark.startswith("sold:")
        if mark != _mark(taken.get((show, label)))
    }


def _marks(client: Any) -> dict[Seat, str]:
    """Every seat that is marked in Redis, with its mark."""
    keys = [
        (key, match)
        for key in client.scan_iter(match="{show:*}:seat:*", count=SCAN_COUNT)
        if (match := SEAT.fullmatch(key))
    ]
    marks: dict[Seat, str] = {}
    for start in range(0, len(keys), SCAN_COUNT):
        part = keys[start : start + SCAN_COUNT]
        with client.pipeline(transaction=False) as pipe:
            for key, _ in part:
                pipe.get(key)
            for (_, match), mark in zip(part, pipe.execute(), strict=True):
                if mark is not None:
                    marks[match[1], match[2]] = mark
    return marks


def _mark(row: dict[str, Any] | None) -> str | None:
    if row is None:
        return None
    return "blocked" if row["state"] == "blocked" else f"sold:{row['booking_id']}"


CHECKS = (e10, e11)
