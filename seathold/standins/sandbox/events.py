"""Events and the queue of their deliveries, both part of the transaction they tell about."""

from __future__ import annotations

import random
from collections.abc import Iterable
from sqlite3 import Connection
from typing import Any

import orjson

from seathold.standins.sandbox.answers import Refused
from seathold.standins.sandbox.shapes import Webhooks
from seathold.standins.sandbox.store import new_id
from seathold.standins.sandbox.times import MILLISECOND, to_text

Json = dict[str, Any]


def emit(conn: Connection, kind: str, data: Json, now: int) -> str:
    """Record an event; the id it returns is also its ``webhook-id``. Nothing is sent yet."""
    event_id = new_id("evt")
    body = orjson.dumps({"type": kind, "timestamp": to_text(now), "data": data}).decode()
    conn.execute("INSERT INTO events (id, body) VALUES (?, ?)", (event_id, body))
    return event_id


def schedule(conn: Connection, event_ids: Iterable[str], how: Webhooks, now: int) -> None:
    """Queue the deliveries of events that have just happened."""
    if not how.deliver:
        return
    queue = [event_id for event_id in event_ids for _ in range(how.copies)]
    if how.shuffle:
        random.shuffle(queue)
    first = now + how.delay_ms * MILLISECOND
    conn.executemany(
        "INSERT INTO deliveries (event_id, due_at_us) VALUES (?, ?)",
        [(event_id, first + place * MILLISECOND) for place, event_id in enumerate(queue)],
    )


def announce(conn: Connection, kind: str, data: Json, now: int) -> None:
    """Record an event and queue one delivery of it."""
    schedule(conn, [emit(conn, kind, data, now)], Webhooks(), now)


def redeliver(conn: Connection, event_ids: list[str] | None, shuffle: bool, now: int) -> int:
    """Queue one more delivery of each event, delivered before or not; returns how many.

    Raises:
        Refused: 404 for an event that never happened.
    """
    known = [row["id"] for row in conn.execute("SELECT id FROM events ORDER BY number")]
    wanted = known if event_ids is None else event_ids
    if missing := set(wanted).difference(known):
        raise Refused(404, "not_found", f"no event {min(missing)!r}")
    schedule(conn, wanted, Webhooks(shuffle=shuffle), now)
    return len(wanted)


def ledger_events(conn: Connection) -> list[Json]:
    """Every event in the order it happened, each with what became of its deliveries."""
    deliveries: dict[str, list[Json]] = {}
    for row in conn.execute(
        "SELECT event_id, state, attempts, last_status FROM deliveries ORDER BY id"
    ):
        told = {key: row[key] for key in ("state", "attempts", "last_status")}
        deliveries.setdefault(row["event_id"], []).append(told)
    return [
        {"id": row["id"], **orjson.loads(row["body"]), "deliveries": deliveries.get(row["id"], [])}
        for row in conn.execute("SELECT id, body FROM events ORDER BY number")
    ]
