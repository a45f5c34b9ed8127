"""Bookings that commit in any order, and projectors that die: driven by Hypothesis."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID, uuid5

import psycopg
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from psycopg.types.json import Jsonb

from infra.postgres.database import Database, Session
from readmodel.projections.base import Projection
from readmodel.projections.facts import Batch
from readmodel.projections.projector import LIVE, PROJECTIONS, Checkpoint, Projector
from readmodel.projections.rebuild import Rebuild
from tests.projections.reference import Told, expected

SPACE = UUID("6f1c3f6e-0d2c-4f0a-8a55-1a9d5c6c3b10")
SHOWS = [str(uuid5(SPACE, f"show {number}")) for number in range(2)]
LABELS = ["A1", "A2", "A3"]
PRICE = 1200
BEGAN = datetime(2026, 12, 4, 10, 30, tzinfo=UTC)
EMPTY = """
TRUNCATE events, projections, projected_listing, projected_seats, projected_timeline,
         projected_sales, projected_demand
"""
APPEND = """
INSERT INTO events (aggregate_id, sequence, event_type, payload, actor, version, previous_hash,
                    hash, created_at)
VALUES (%s, %s, %s, %s, 'test', 1, '', '', %s) RETURNING xid::text::bigint, id
"""
HORIZON = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"


class Killed(Exception):
    """The process ended here."""


class Mortal:
    """A projection whose process dies before it commits, when it is told to."""

    def __init__(self, projection: Projection, doomed: set[str]) -> None:
        self.name, self.clear = projection.name, projection.clear
        self._projection, self._doomed = projection, doomed

    def apply(self, session: Session, generation: int, batch: Batch) -> None:
        self._projection.apply(session, generation, batch)
        if self.name in self._doomed:
            raise Killed


@dataclass
class Model:
    """A booking as its writers know it; ``holder``: whose open transaction has its lock."""

    id: UUID
    show: str
    state: str = "new"
    sequence: int = 0
    labels: tuple[str, ...] = ()
    holder: int | None = None
    refunds: int = 0


@dataclass
class Writer:
    """A connection, what its open transaction wrote, and how to undo it in the model."""

    connection: psycopg.Connection[Any]
    written: list[Told] = field(default_factory=list)
    undo: dict[UUID, Model] = field(default_factory=dict)


class Machine(RuleBasedStateMachine):
    url: ClassVar[str]
    database: ClassVar[Database]
    runner: ClassVar[asyncio.Runner]
    connections: ClassVar[list[psycopg.Connection[Any]]]
    steps: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.reader = self.connections[0]
        self.writers = [Writer(connection) for connection in self.connections[1:]]
        self.reader.execute(EMPTY)
        self.committed: list[Told] = []
        self.bookings: list[Model] = []
        self.fences = Counter[str]()
        self.names = itertools.count()
        self.clock = BEGAN
        self.doomed: set[str] = set()
        mortal = [Mortal(one, self.doomed) for one in PROJECTIONS]
        self.projector = Projector(self.database, mortal, batch=7)
        self.building: dict[str, tuple[Rebuild, Checkpoint]] = {}

    @rule(writer=st.integers(0, 1), show=st.integers(0, 1), labels=st.sets(st.sampled_from(LABELS)))
    def reserve(self, writer: int, show: int, labels: set[str]) -> None:
        self.steps["reserve"] += 1
        name = f"booking {next(self.names)}"
        booking = Model(uuid5(SPACE, name), SHOWS[show], labels=tuple(sorted(labels or {"A1"})))
        self.bookings.append(booking)
        ends = self.clock + timedelta(minutes=10)
        made = {"show_id": booking.show, "currency": "EUR", "hold_expires_at": ends.isoformat()}
        self._lock(writer, booking)
        self._append(writer, booking, "ReservationCreated", made)
        self._append(writer, booking, "SeatLocked", {"seats": self._seats(booking.labels)})
        booking.state = "held"

    @rule(writer=st.integers(0, 1), which=st.integers(0, 5), what=st.integers(0, 3))
    def go_on(self, writer: int, which: int, what: int) -> None:
        self._go_on(writer, which, what)

    def _go_on(self, writer: int, which: int, what: int) -> None:
        """Whatever the booking allows: the other writer waits for who has its lock."""
        self.steps["go on"] += 1
        free = [one for one in self.bookings if one.holder in (None, writer)]
        if not free:
            return
        booking = free[-1 - which % len(free)]
        then = {
            "held": [self._check_out, self._confirm, self._lapse, self._cancel],
            "paying": [self._confirm, self._lapse],
            "expired": [self._offer, self._reinstate, self._refund_late],
            "offered": [self._accept],
            "confirmed": [self._refund, self._give_up, self._bounce],
        }.get(booking.state)
        if then:
            self._lock(writer, booking)
            then[what % len(then)](writer, booking)

    @rule(writer=st.integers(0, 1), which=st.integers(0, 5), what=st.integers(0, 3))
    def go_on_again(self, writer: int, which: int, what: int) -> None:
        self._go_on(writer, which, what)

    @rule(writer=st.integers(0, 1), which=st.integers(0, 5), what=st.integers(0, 3))
    def go_on_once_more(self, writer: int, which: int, what: int) -> None:
        """What costs least is asked for most."""
        self._go_on(writer, which, what)

    @rule(hours=st.integers(0, 3))
    def wait(self, hours: int) -> None:
        self.steps["wait"] += 1
        self.clock += timedelta(minutes=25 * hours + 1)

    @rule(writer=st.integers(0, 1))
    def commit(self, writer: int) -> None:
        self.steps["commit"] += 1
        one = self.writers[writer]
        one.connection.commit()
        self.committed += one.written
        self._release(writer)

    @rule(writer=st.integers(0, 1))
    def roll_back(self, writer: int) -> None:
        self.steps["roll back"] += 1
        self.writers[writer].connection.rollback()
        known = self.writers[writer].undo
        self.bookings = [
            known.get(one.id, one)
            for one in self.bookings
            if one.id not in known or known[one.id].state != "new"
        ]
        self._release(writer)

    @rule()
    def turn(self) -> None:
        self.steps["turn"] += 1
        self.runner.run(self.projector.turn())

    @rule()
    def turns(self) -> None:
        """Until nothing is left below the horizon: then nothing below it may be missing."""
        self.steps["turns"] += 1
        horizon = self.reader.execute(HORIZON).fetchone()
        assert horizon is not None
        while self.runner.run(self.projector.turn()):
            pass
        below = [told.place for told in self.committed if told.place[0] < horizon[0]]
        for row in self._live():
            assert (row.xid, row.event_id) >= max(below, default=(0, 0))

    @rule(names=st.sets(st.sampled_from([one.name for one in PROJECTIONS]), min_size=1))
    def crash(self, names: set[str]) -> None:
        """The process dies between the batch and the commit; another goes on."""
        self.steps["crash"] += 1
        self.doomed |= names
        try:
            self.runner.run(self.projector.turn())
        except Killed:
            pass
        self.doomed.clear()

    @rule(which=st.sampled_from(PROJECTIONS), batches=st.integers(0, 3))
    def rebuild(self, which: Projection, batches: int) -> None:
        """Begin or go on; the next one that begins finds what this one left."""
        self.steps["rebuild"] += 1
        if which.name not in self.building:
            rebuild = Rebuild(self.database, which, batch=5)
            self.runner.run(rebuild.clear_left_over())
            self.building[which.name] = rebuild, self.runner.run(rebuild.begin())
        rebuild, checkpoint = self.building[which.name]
        for _ in range(batches):
            checkpoint, _ = self.runner.run(rebuild.build(checkpoint))
        self.building[which.name] = rebuild, checkpoint

    @rule(dies=st.booleans())
    def install(self, dies: bool) -> None:
        """No precondition: what is drawn must not depend on how far the servers let us come."""
        self.steps["install"] += 1
        if not self.building:
            return
        name, (rebuild, checkpoint) = self.building.popitem()
        if not dies and not self.runner.run(rebuild.install(checkpoint)):
            self.building[name] = rebuild, checkpoint

    @rule(name=st.sampled_from([one.name for one in PROJECTIONS]))
    def compare(self, name: str) -> None:
        """At its own checkpoint a projection says what its events come to."""
        self.steps["compare"] += 1
        self._compare(name)

    def _compare(self, *names: str) -> None:
        for row in self._live():
            if row.name not in names:
                continue
            place = row.xid, row.event_id
            want = expected([told for told in self.committed if told.place <= place])
            found = getattr(self, f"_{row.name}")(row.generation)
            assert found == self._wanted(row.name, want), row.name

    def teardown(self) -> None:
        for writer in range(2):
            self.commit(writer)
        self.turns()
        self._compare(*(one.name for one in PROJECTIONS))

    # What the writers do.

    def _check_out(self, writer: int, booking: Model) -> None:
        ends = (self.clock + timedelta(minutes=5)).isoformat()
        told = {"provider": "sandbox", "hold_expires_at": ends}
        self._append(writer, booking, "PaymentStarted", told)
        booking.state = "paying"

    def _confirm(self, writer: int, booking: Model) -> None:
        self._append(writer, booking, "BookingConfirmed", {"provider_payment_id": None})
        booking.state = "confirmed"

    def _lapse(self, writer: int, booking: Model) -> None:
        self._append(writer, booking, "BookingExpired", {"why": "lapsed"})
        self._append(writer, booking, "SeatReleased", {"labels": list(booking.labels)})
        booking.state = "expired"

    def _cancel(self, writer: int, booking: Model) -> None:
        told = {"why": "cancelled", "note": "Changed my mind."}
        self._append(writer, booking, "BookingCancelled", told)
        self._append(writer, booking, "SeatReleased", {"labels": list(booking.labels)})
        booking.state = "cancelled"

    def _offer(self, writer: int, booking: Model) -> None:
        booking.labels = tuple(f"B{label[1:]}" for label in booking.labels)
        self._append(writer, booking, "SeatsOffered", {"seats": self._seats(booking.labels)})
        booking.state = "offered"

    def _accept(self, writer: int, booking: Model) -> None:
        self._append(writer, booking, "LatePaymentAccepted", {})
        self._append(writer, booking, "SeatLocked", {"seats": self._seats(booking.labels, 0)})
        self._confirm(writer, booking)

    def _reinstate(self, writer: int, booking: Model) -> None:
        self._append(writer, booking, "LatePaymentAccepted", {})
        self._append(writer, booking, "SeatLocked", {"seats": self._seats(booking.labels)})
        self._confirm(writer, booking)

    def _refund_late(self, writer: int, booking: Model) -> None:
        self._append(writer, booking, "RefundSettled", {"refund_id": "late", "amount": PRICE})

    def _refund(self, writer: int, booking: Model) -> None:
        booking.refunds += 1
        told = {"number": 1, "refund_id": str(booking.refunds), "amount": 100}
        self._append(writer, booking, "RefundSettled", told)

    def _bounce(self, writer: int, booking: Model) -> None:
        told = {"number": 1, "refund_id": str(booking.refunds), "amount": 100}
        self._append(writer, booking, "RefundFailed", told)

    def _give_up(self, writer: int, booking: Model) -> None:
        if booking.labels:
            self._append(writer, booking, "SeatReleased", {"labels": [booking.labels[0]]})
            booking.labels = booking.labels[1:]

    def _seats(self, labels: tuple[str, ...], rise: int = 1) -> list[dict[str, Any]]:
        self.fences.update(dict.fromkeys(labels, rise))
        return [{"label": one, "fence": self.fences[one], "amount": PRICE} for one in labels]

    def _append(self, writer: int, booking: Model, what: str, payload: dict[str, Any]) -> None:
        booking.sequence += 1
        values = (booking.id, booking.sequence, what, Jsonb(payload), self.clock)
        row = self.writers[writer].connection.execute(APPEND, values).fetchone()
        assert row is not None
        told = Told((row[0], row[1]), booking.id, booking.sequence, what, payload, self.clock)
        self.writers[writer].written.append(told)

    def _lock(self, writer: int, booking: Model) -> None:
        if booking.holder is None:
            self.writers[writer].undo[booking.id] = Model(**vars(booking))
            booking.holder = writer

    def _release(self, writer: int) -> None:
        self.writers[writer].written, self.writers[writer].undo = [], {}
        for one in self.bookings:
            one.holder = None if one.holder == writer else one.holder

    # What the projections say, and what they must.

    def _live(self) -> list[Any]:
        async def read() -> list[Any]:
            async with self.database.statements() as session:
                return await session.all(LIVE)

        return self.runner.run(read())

    def _rows(self, query: str, generation: int) -> list[Any]:
        return self.reader.execute(query.encode(), (generation,)).fetchall()

    def _listing(self, generation: int) -> dict[Any, int]:
        query = "SELECT show_id::text, held, sold FROM projected_listing WHERE generation = %s"
        return _nonzero(
            {
                (show, name): count
                for show, *counts in self._rows(query, generation)
                for name, count in zip(("seats_held", "seats_sold"), counts, strict=True)
            }
        )

    def _availability(self, generation: int) -> dict[Any, Any]:
        query = """SELECT show_id::text, label, fence, state, booking_id, free_at
                   FROM projected_seats WHERE generation = %s"""
        return {(show, label): tuple(rest) for show, label, *rest in self._rows(query, generation)}

    def _timeline(self, generation: int) -> dict[Any, str]:
        query = "SELECT booking_id, sequence, text FROM projected_timeline WHERE generation = %s"
        return {(id_, sequence): words for id_, sequence, words in self._rows(query, generation)}

    def _sales(self, generation: int) -> dict[Any, int]:
        names = ("bookings", "confirmed", "lapsed", "seats_sold", "seats_returned")
        query = """SELECT show_id::text, bookings, confirmed, lapsed, seats_sold, seats_returned,
                          revenue, refunded FROM projected_sales WHERE generation = %s"""
        return _nonzero(
            {
                (show, name): figure
                for show, *figures in self._rows(query, generation)
                for name, figure in zip((*names, "revenue", "refunded"), figures, strict=True)
            }
        )

    def _demand(self, generation: int) -> dict[Any, int]:
        query = """SELECT hour, show_id::text, bookings, seats, confirmed, lapsed
                   FROM projected_demand WHERE generation = %s"""
        names = ("bookings", "seats", "confirmed", "lapsed")
        return _nonzero(
            {
                (hour, show, name): count
                for hour, show, *counts in self._rows(query, generation)
                for name, count in zip(names, counts, strict=True)
            }
        )

    def _wanted(self, name: str, want: dict[str, Any]) -> Any:
        sales = _nonzero(want["sales"])
        if name == "listing":
            return {key: n for key, n in sales.items() if key[1] in ("seats_held", "seats_sold")}
        if name == "sales":
            skip = ("seats_held", "seats_free")
            return {key: n for key, n in sales.items() if key[1] not in skip}
        return _nonzero(want["demand"]) if name == "demand" else want[name]


def _nonzero(counts: dict[Any, int]) -> dict[Any, int]:
    return {key: count for key, count in counts.items() if count}
