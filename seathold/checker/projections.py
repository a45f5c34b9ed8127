"""P: projections. Each says what its events come to, and none stays behind."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Any

from psycopg.rows import tuple_row

from seathold.checker.report import NotRun, Tally
from seathold.checker.world import BATCH, Row, World

LAG_SECONDS = 60

LIVE = """
SELECT name, generation, xid::text AS xid, event_id FROM projections
WHERE state = 'live' ORDER BY xid, event_id, name
"""
# Show by show, in the order of text, so that no more than one show is held at a time.
EVENTS = """
WITH made AS (
    SELECT DISTINCT ON (aggregate_id) aggregate_id, coalesce(payload ->> 'show_id', '') AS show
    FROM events
    WHERE event_type = 'ReservationCreated' AND (xid, id) <= (%(xid)s::xid8, %(event_id)s)
    ORDER BY aggregate_id, sequence
)
SELECT show, aggregate_id, event_type, payload, created_at
FROM events JOIN made USING (aggregate_id)
WHERE (xid, id) <= (%(xid)s::xid8, %(event_id)s)
ORDER BY show COLLATE "C", aggregate_id, sequence
"""
LISTING = """
SELECT show_id::text AS show, show_id::text AS key, held, sold FROM projected_listing
WHERE generation = %(generation)s AND (held <> 0 OR sold <> 0) ORDER BY show_id
"""
SEATS = """
SELECT show_id::text AS show, show_id::text || ' ' || label AS key, state, booking_id
FROM projected_seats WHERE generation = %(generation)s AND state <> 'free' ORDER BY show_id
"""
SALES = """
SELECT show_id::text AS show, show_id::text || ' ' || currency AS key, bookings, confirmed, lapsed,
       seats_sold, seats_returned, revenue, refunded, charged_back
FROM projected_sales WHERE generation = %(generation)s ORDER BY show_id
"""
DEMAND = """
SELECT show_id::text AS show, show_id::text || ' ' || to_char(hour, 'YYYY-MM-DD HH24') AS key,
       bookings, seats, confirmed, lapsed
FROM projected_demand WHERE generation = %(generation)s ORDER BY show_id
"""
UNTOLD = """
SELECT aggregate_id, events.sequence, events.event_type
FROM events JOIN bookings ON bookings.id = aggregate_id
WHERE (xid, events.id) <= (%(xid)s::xid8, %(event_id)s) AND NOT EXISTS (
    SELECT FROM projected_timeline AS told
    WHERE told.generation = %(generation)s AND told.booking_id = aggregate_id
      AND told.sequence = events.sequence
)
"""
INVENTED = """
SELECT booking_id, sequence FROM projected_timeline AS told
WHERE generation = %(generation)s AND NOT EXISTS (
    SELECT FROM events
    WHERE aggregate_id = told.booking_id AND events.sequence = told.sequence
      AND (xid, id) <= (%(xid)s::xid8, %(event_id)s)
)
"""
BEHIND = """
SELECT name, oldest.created_at FROM projections CROSS JOIN LATERAL (
    SELECT created_at FROM events
    WHERE (events.xid, events.id) > (projections.xid, projections.event_id)
    ORDER BY events.xid, events.id LIMIT 1
) AS oldest
WHERE state = 'live' AND oldest.created_at < clock_timestamp() - make_interval(secs => %(most)s)
"""


@dataclass
class Told:
    """What the events of a show come to, by the keys of the statements above."""

    seats: dict[str, tuple[int, str, Any]] = field(default_factory=dict)
    listing: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    sales: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    demand: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    unreadable: list[str] = field(default_factory=list)


def p1(world: World) -> Iterator[str]:
    """P1 Each projection says what the events up to its checkpoint come to."""
    live = world.rows(LIVE)
    if not live:
        raise NotRun("no projector has run here yet")
    for place, rows in groupby(live, key=itemgetter("xid", "event_id")):
        yield from _compared(world, place, list(rows))


def p2(world: World) -> Iterator[str]:
    """P2 No projection is more than 60 s behind the events."""
    if not world.rows(LIVE):
        raise NotRun("no projector has run here yet")
    yield from world.settled(
        lambda: {
            f"{row['name']} does not have an event of {row['created_at']} yet"
            for row in world.now(BEHIND, most=LAG_SECONDS)
        }
    )


def _compared(world: World, place: tuple[str, int], rows: list[Row]) -> Iterator[str]:
    """Found show by show, told projection by projection."""
    kept = [row for row in rows if row["name"] != TIMELINE]
    unreadable, differ = Tally(), {row["name"]: Tally() for row in kept}
    sides = (_read(world, *place), *(_found(world, row) for row in kept))
    for _, parts in groupby(merge(*sides, key=itemgetter(0)), key=itemgetter(0)):
        said: dict[str, Any] = {name: what for _, name, what in parts}
        told = said.get(TOLD, Told())
        unreadable.add(told.unreadable)
        for name, tally in differ.items():
            tally.add(_differ(name, said.get(name, {}), KEPT[name].wanted(told)))
    yield from unreadable
    for row in rows:
        yield from _timeline(world, row) if row["name"] == TIMELINE else differ[row["name"]]


def _found(world: World, row: Row) -> Iterator[tuple[str, str, dict[str, Any]]]:
    kept = KEPT[row["name"]]
    rows = world.each(kept.statement, generation=row["generation"])
    for show, of_show in groupby(rows, key=itemgetter("show")):
        yield show, row["name"], _not_empty((one["key"], kept.says(one)) for one in of_show)


def _read(world: World, xid: str, event_id: int) -> Iterator[tuple[str, str, Told]]:
    with world.snapshot.cursor("check_projected", row_factory=tuple_row) as cursor:
        cursor.itersize = BATCH
        found = cursor.execute(EVENTS, {"xid": xid, "event_id": event_id}, binary=True)
        for show, bookings in groupby(found, key=itemgetter(0)):
            told = Told()
            for booking_id, stream in groupby(bookings, key=itemgetter(1)):
                facts = [(what, say, at) for _, _, what, say, at in stream]
                try:
                    _add(told, booking_id, facts)
                except (KeyError, TypeError, ValueError) as error:
                    told.unreadable.append(f"stream {booking_id} cannot be read: {error!r}")
            yield show, TOLD, told


def _add(told: Told, booking_id: Any, facts: list[tuple[str, dict[str, Any], datetime]]) -> None:
    made = next(say for what, say, _ in facts if what == "ReservationCreated")
    show, sales = made["show_id"], told.sales[f"{made['show_id']} {made['currency']}"]
    seats: dict[str, list[Any]] = {}
    back: dict[str, int] = {}
    lost: dict[str, int] = {}
    for what, say, at in facts:
        hour = told.demand[f"{show} {at:%Y-%m-%d %H}"]
        if what in ("SeatLocked", "SeatsOffered"):
            hour["seats"] += 0 if seats else len(say["seats"])
            seats |= {one["label"]: [one["fence"], "held", one["amount"]] for one in say["seats"]}
        elif what == "SeatReleased":
            _give_back(seats, say["labels"])
        elif what in ("RefundSettled", "RefundFailed") and "number" in say:
            back[say["refund_id"]] = say["amount"] * (what == "RefundSettled")
        elif what == "DisputeClosed" and say["provider_payment_id"] == _payer(facts):
            lost[say["dispute_id"]] = say["amount"] * (say["outcome"] == "lost")
        elif name := _counted_as(what, say):
            sales[name] += 1
            hour[name] += 1
            sales["revenue"] += _sell(seats) if name == "confirmed" else 0
    sales["refunded"] += sum(back.values())
    sales["charged_back"] += sum(lost.values())
    _place(told, show, booking_id, seats, sales)


def _counted_as(what: str, say: dict[str, Any]) -> str | None:
    if what == "BookingExpired":
        return "lapsed" if say["why"] == "lapsed" else None
    return {"ReservationCreated": "bookings", "BookingConfirmed": "confirmed"}.get(what)


def _payer(facts: list[tuple[str, dict[str, Any], datetime]]) -> str | None:
    """The payment that confirmed it; a dispute of another one takes no revenue away."""
    return next(
        (say["provider_payment_id"] for what, say, _ in facts if what == "BookingConfirmed"), None
    )


def _sell(seats: dict[str, list[Any]]) -> int:
    sold = [seat for seat in seats.values() if seat[1] == "held"]
    for seat in sold:
        seat[1] = "sold"
    return sum(seat[2] for seat in sold)


def _give_back(seats: dict[str, list[Any]], labels: list[str]) -> None:
    for label in labels:
        if label in seats:
            seats[label][1] = "returned" if seats[label][1] == "sold" else "free"


def _place(
    told: Told, show: str, booking_id: Any, seats: dict[str, list[Any]], sales: Counter[str]
) -> None:
    """The seat's last holder is who has its highest fence."""
    for label, (fence, state, _) in seats.items():
        told.listing[show][0] += state == "held"
        told.listing[show][1] += state == "sold"
        sales["seats_sold"] += state == "sold"
        sales["seats_returned"] += state == "returned"
        key = f"{show} {label}"
        if key not in told.seats or told.seats[key][0] < fence:
            told.seats[key] = fence, state, booking_id


def _differ(name: str, found: dict[str, Any], wanted: dict[str, Any]) -> Iterator[str]:
    for key in found.keys() | wanted.keys():
        if found.get(key) != wanted.get(key):
            yield f"{name} of {key} says {found.get(key)}, its events {wanted.get(key)}"


def _timeline(world: World, row: Row) -> Iterator[str]:
    at = {name: row[name] for name in ("generation", "xid", "event_id")}
    words = "timeline of {aggregate_id} does not tell no. {sequence}, {event_type}"
    yield from world.found(UNTOLD, words, **at)
    yield from world.found(INVENTED, "timeline of {booking_id} tells no. {sequence}", **at)


def _counts(told: Mapping[str, Any]) -> dict[str, int]:
    return {name: n for name, n in told.items() if name not in ("show", "key") and n}


def _not_empty(told: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {key: said for key, said in told if said}


def _counted(told: Mapping[str, Counter[str]]) -> dict[str, Any]:
    return _not_empty((key, _counts(counts)) for key, counts in told.items())


def _held(told: Told) -> dict[str, Any]:
    return {
        key: (state, booking_id)
        for key, (_, state, booking_id) in told.seats.items()
        if state in ("held", "sold")
    }


@dataclass(frozen=True)
class Kept:
    """A projection's rows, what each says under its key, and what the events say of all keys."""

    statement: str
    says: Callable[[Row], Any]
    wanted: Callable[[Told], dict[str, Any]]


TIMELINE, TOLD = "timeline", "events"
KEPT = {
    "listing": Kept(
        LISTING,
        lambda one: (one["held"], one["sold"]),
        lambda told: {show: tuple(counts) for show, counts in told.listing.items() if any(counts)},
    ),
    "availability": Kept(SEATS, lambda one: (one["state"], one["booking_id"]), _held),
    "sales": Kept(SALES, _counts, lambda told: _counted(told.sales)),
    "demand": Kept(DEMAND, _counts, lambda told: _counted(told.demand)),
}
CHECKS = (p1, p2)
