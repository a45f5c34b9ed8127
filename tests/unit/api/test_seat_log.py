"""From any snapshot, and from any place it was at, a reader comes to the exact seats."""

from __future__ import annotations

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from api.streams import events
from api.streams.events import SeatLog, differences

LABELS = st.sampled_from([f"A{number}" for number in range(1, 7)])
SEATS = st.dictionaries(LABELS, st.sampled_from(["held", "sold", "blocked"]))
STEPS = st.lists(st.tuples(SEATS, st.integers(1, 5)), max_size=20)


def body(version: int, seats: dict[str, str]) -> bytes:
    return orjson.dumps({"show_id": "x", "version": version, "seats": seats})


class Page:
    """A reader in its thirty lines; what it shows is ``seats``."""

    def __init__(self) -> None:
        self.version: int | None = None
        self.seats: dict[str, str] = {}

    def take(self, stream: bytes) -> None:
        for text in stream.decode().split("\n\n")[:-1]:
            fields = dict(line.partition(": ")[::2] for line in text.split("\n"))
            if "event" not in fields:
                continue
            data = orjson.loads(fields["data"])
            if fields["event"] == "snapshot":
                self.seats = {}
            for label, state in data["seats"].items():
                if state == "available":
                    del self.seats[label]
                else:
                    self.seats[label] = state
            assert int(fields["id"]) == data["version"]
            self.version = data["version"]


@given(first=SEATS, steps=STEPS, data=st.data())
@settings(max_examples=300, deadline=None)
def test_every_reader_sees_the_exact_seats(
    first: dict[str, str], steps: list[tuple[dict[str, str], int]], data: st.DataObject
) -> None:
    """One listens to everything; others come, go, come back where they were, or read a snapshot."""
    version = data.draw(st.integers(0, 3))
    log, listener, visitor = SeatLog(body(version, first)), Page(), Page()
    listener.take(log.since(None))
    for seats, more in steps:
        version += more
        step = log.advance(body(version, seats))
        assert step is not None
        listener.take(step)
        if data.draw(st.booleans()):
            visitor.take(log.since(visitor.version))
            assert (visitor.version, visitor.seats) == (version, seats)
        fresh = Page()
        fresh.take(log.snapshot())
        for page in (listener, fresh):
            assert (page.version, page.seats) == (version, seats)


@given(old=SEATS, new=SEATS)
def test_differences_lead_from_one_state_to_the_other(
    old: dict[str, str], new: dict[str, str]
) -> None:
    told = differences(old, new)
    assert {k: v for k, v in {**old, **told}.items() if v != "available"} == new
    assert all(old.get(label, "available") != state for label, state in told.items())


def test_what_is_not_newer_is_no_step() -> None:
    log = SeatLog(body(5, {"A1": "held"}))
    assert log.advance(body(5, {"A1": "held"})) is None
    assert log.advance(body(4, {})) is None
    assert log.since(5) == events.HEARTBEAT


def test_many_missed_steps_are_a_snapshot() -> None:
    log = SeatLog(body(0, {}))
    for version in range(1, events.KEPT_DELTAS + 2):
        log.advance(body(version, {"A1": ("held", "sold")[version % 2]}))
    assert log.since(0) == log.snapshot()
    assert log.since(1).count(b"event: delta") == events.KEPT_DELTAS
    assert len(log.since(1)) <= events.SMALL_BYTES


def test_a_crowd_of_slow_readers_holds_one_snapshot() -> None:
    log = SeatLog(body(1, {"A1": "sold"}))
    first = log.since(None)
    assert log.since(7) is first
    log.advance(body(2, {}))
    assert log.since(None) == b"event: snapshot\nid: 2\ndata: %b\n\n" % body(2, {})
