"""A small town by SQL alone: bookings in each state, with their events, money and mail."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

import psycopg
from psycopg.types.json import Jsonb

PRICE = 1200
LABELS = tuple(f"A{number}" for number in range(1, 13))
Connection = psycopg.Connection[tuple[Any, ...]]
Command = Sequence[tuple[str, dict[str, Any]]]


def id_of(name: str) -> UUID:
    return uuid5(NAMESPACE_OID, f"check|{name}")


SHOW = id_of("show")


@dataclass
class Brief:
    """A booking to write down whole. ``commands`` are what followed its hold, in order."""

    name: str
    state: str
    labels: tuple[str, ...]
    commands: Sequence[Command] = ()
    minutes_ago: float = 60
    hold_minutes: float = 10
    fence: int = 1
    user: str = "ada"
    show: UUID = SHOW
    row: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> UUID:
        return id_of(self.name)

    @property
    def since(self) -> datetime:
        return datetime.now(UTC) - timedelta(minutes=self.minutes_ago)

    @property
    def total(self) -> int:
        return PRICE * len(self.labels)


def add_show(db: Connection) -> None:
    """One show of twelve seats, A12 blocked, and two users."""
    ids = {name: id_of(name) for name in ("movie", "theatre", "auditorium", "map", "show")}
    for user in ("ada", "bob"):
        db.execute(
            "INSERT INTO users (id, email, email_key, name, phone, password_hash)"
            " VALUES (%s, %s, %s, 'A Name', %s, 'x')",
            (id_of(user), f"{user}@example.test", f"{user}@example.test", f"+49{len(user)}"),
        )
    db.execute(
        "INSERT INTO movies (id, source_key, title, released_on)"
        " VALUES (%(movie)s, 'm', 'Metropolis', '1927-01-10')",
        ids,
    )
    db.execute(
        "INSERT INTO theatres (id, name, city, address, timezone)"
        " VALUES (%(theatre)s, 'Odeon', 'Berlin', 'Street 1', 'Europe/Berlin')",
        ids,
    )
    db.execute(
        "INSERT INTO auditoriums (id, theatre_id, name)"
        " VALUES (%(auditorium)s, %(theatre)s, 'Saal 1')",
        ids,
    )
    db.execute(
        "INSERT INTO seat_maps (id, auditorium_id, version, capacity)"
        " VALUES (%(map)s, %(auditorium)s, 1, 12)",
        ids,
    )
    db.execute(
        "INSERT INTO seats (seat_map_id, label, position, section, row, number, x, y, price_class)"
        " SELECT %(map)s, 'A' || n, n, 'Stalls', 'A', n, n, 0, 'standard'"
        " FROM generate_series(1, 12) AS n",
        ids,
    )
    db.execute(
        "INSERT INTO shows (id, movie_id, auditorium_id, auditorium_number, seat_map_id, starts_at,"
        " ends_at, free_at, currency, sales_open_at, sales_close_at)"
        " SELECT %(show)s, %(movie)s, id, number, %(map)s, now() + interval '1 day',"
        " now() + interval '26 hours', now() + interval '26 hours', 'EUR', now(),"
        " now() + interval '1 day' FROM auditoriums WHERE id = %(auditorium)s",
        ids,
    )
    db.execute(
        "INSERT INTO seat_claims (show_id, label, state) VALUES (%s, 'A12', 'blocked')", (SHOW,)
    )


def add_booking(db: Connection, brief: Brief, *, claimed: bool = True) -> None:
    """The row, the seats, the claims and the events of one booking."""
    since, ends = brief.since, brief.since + timedelta(minutes=brief.hold_minutes)
    latest = since + timedelta(minutes=3 * brief.hold_minutes)
    seats = [
        {
            "label": label,
            "price_class": "standard",
            "ticket_type": "standard",
            "amount": PRICE,
            "fence": brief.fence,
        }
        for label in brief.labels
    ]
    created = {
        "user_id": str(id_of(brief.user)),
        "show_id": str(brief.show),
        "currency": "EUR",
        "total_amount": brief.total,
        "hold_expires_at": ends.isoformat(),
        "hold_max_expires_at": latest.isoformat(),
        "extensions_left": 2,
    }
    row = {
        "id": brief.id,
        "user_id": id_of(brief.user),
        "show_id": brief.show,
        "state": brief.state,
        "currency": "EUR",
        "total_amount": brief.total,
        "seat_count": len(seats),
        "extensions_left": 2,
        "hold_expires_at": ends,
        "hold_max_expires_at": latest,
        "created_at": since,
        "updated_at": since,
        **brief.row,
    }
    insert(db, "bookings", row)
    for seat in seats:
        told = {key: seat[key] for key in ("label", "price_class", "ticket_type", "amount")}
        insert(db, "booking_seats", {"booking_id": brief.id, **told})
    held: Command = [("ReservationCreated", created), ("SeatLocked", {"seats": seats})]
    append(db, brief.id, [held, *brief.commands], since)
    if claimed:
        add_claims(db, brief)


def add_claims(db: Connection, brief: Brief) -> None:
    active = {"held": "held", "expiring": "held", "cancelling": "held"}
    active |= {"confirmed": "sold", "disputed": "sold"}
    state = active.get(brief.state)
    for label in brief.labels:
        claim = {
            "show_id": brief.show,
            "label": label,
            "state": state or "free",
            "booking_id": brief.id if state else None,
            "fence": brief.fence if state else brief.fence + 1,
        }
        insert(db, "seat_claims", claim)


def append(db: Connection, id_: UUID, commands: Sequence[Command], since: datetime) -> None:
    """Chain the commands' events and bring the row's counters to the last of them."""
    previous, sequence, version = b"", 0, 1
    for command in commands:
        version += 1
        for event_type, payload in command:
            sequence += 1
            hash_ = chained(previous, id_, sequence, event_type, payload)
            event = {
                "aggregate_id": id_,
                "sequence": sequence,
                "event_type": event_type,
                "payload": Jsonb(payload),
                "actor": "test",
                "version": version,
                "previous_hash": previous,
                "hash": hash_,
                "created_at": since + timedelta(seconds=sequence),
            }
            insert(db, "events", event)
            previous = hash_
    db.execute(
        "UPDATE bookings SET version = %s, sequence = %s, event_hash = %s WHERE id = %s",
        (version, sequence, previous, id_),
    )


def chained(
    previous: bytes, id_: UUID, sequence: int, event_type: str, payload: dict[str, Any]
) -> bytes:
    """The rule in its own words: SHA-256 over the hash before and the sorted, bare JSON."""
    told = [str(id_), sequence, event_type, 1, payload, "test", None]
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(previous + text.encode()).digest()


def insert(db: Connection, table: str, row: dict[str, Any]) -> None:
    statement = psycopg.sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        psycopg.sql.Identifier(table),
        psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, row)),
        psycopg.sql.SQL(", ").join(map(psycopg.sql.Placeholder, row)),
    )
    db.execute(statement, row)


def add_notices(db: Connection, booking: str, template: str) -> None:
    for channel in ("email", "sms"):
        notice = {
            "booking_id": id_of(booking),
            "user_id": id_of("ada"),
            "channel": channel,
            "template": template,
            "state": "sent",
            "attempts": 1,
            "created_at": datetime.now(UTC) - timedelta(minutes=50),
            "sent_at": datetime.now(UTC) - timedelta(minutes=49),
        }
        insert(db, "notification_outbox", notice)


def audited(db: Connection, action: str, target: str) -> None:
    """Somebody with power did it, a moment ago."""
    entry = {"actor": "operator:ada", "role": "operator", "action": action, "target": target}
    insert(db, "audit_log", entry)


def add_case(
    db: Connection, kind: str, booking: str, *, is_over: bool = False, refund_id: UUID | None = None
) -> None:
    """A booking's case of two hours ago, taken on; ``is_over``: resolved a moment ago."""
    case = {
        "id": id_of(f"case-{kind}-{booking}"),
        "kind": kind,
        "dedupe": f"{kind}:{booking}",
        "summary": "x",
        "booking_id": id_of(booking),
        "refund_id": refund_id,
        "status": "assigned",
        "assignee": id_of("ada"),
        "opened_at": datetime.now(UTC) - timedelta(hours=2),
    }
    if is_over:
        ended = {"resolution": "paid another way", "resolved_at": datetime.now(UTC)}
        insert(db, "cases", {**case, **ended, "status": "resolved"})
        audited(db, "case.resolve", f"case:{case['id']}")
        return
    insert(db, "cases", case)
    db.execute("UPDATE bookings SET case_id = %s WHERE id = %s", (case["id"], id_of(booking)))


def add_posting(
    db: Connection,
    kind: str,
    paid: dict[str, Any],
    debit: str,
    credit: str,
    *,
    refund_id: UUID | None = None,
    name: str = "",
) -> None:
    """All that was captured of this payment moves, fifty minutes ago; ``name`` is in its id."""
    db.execute(
        "INSERT INTO ledger_entries (posting_id, kind, booking_id, show_id, provider,"
        " provider_payment_id, refund_id, account, debit, credit, currency, posted_at)"
        " SELECT %(posting)s, %(kind)s, %(booking_id)s, %(show)s, %(provider)s, %(id)s,"
        " %(refund)s, account, sides.debit, sides.credit, %(currency)s, now() - interval '50 min'"
        " FROM (VALUES (%(to)s, %(captured)s, 0), (%(from)s, 0, %(captured)s))"
        " AS sides (account, debit, credit)",
        {
            **paid,
            "posting": id_of(f"{kind}-{paid['id']}-{name}"),
            "kind": kind,
            "show": SHOW,
            "refund": refund_id,
            "to": debit,
            "from": credit,
        },
    )
