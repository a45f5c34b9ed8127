"""The chain of events: what is written once cannot be changed, moved or left out unnoticed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events import ChainedEvent, Event, EventType, chain, event_hash

STREAM = UUID(int=7)
BY = "user-1", "req-1"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
events = st.builds(Event, st.sampled_from(EventType), st.dictionaries(st.text(), JSON, max_size=3))


def chained(
    facts: list[Event], *, sequence: int = 0, previous_hash: bytes = b""
) -> list[ChainedEvent]:
    actor, request_id = BY
    return chain(
        STREAM,
        facts,
        sequence=sequence,
        previous_hash=previous_hash,
        actor=actor,
        request_id=request_id,
    )


def written(*labels: str) -> list[ChainedEvent]:
    return chained([Event(EventType.SEAT_LOCKED, {"label": label, "fence": 1}) for label in labels])


def first_break(
    stream: list[ChainedEvent], aggregate_id: UUID = STREAM, by: tuple[str, str | None] = BY
) -> int | None:
    """The place at which a reader, who recomputes every hash, finds the chain broken."""
    previous = b""
    for place, link in enumerate(stream, start=1):
        digest = event_hash(
            previous, aggregate_id, link.sequence, link.event, link.schema_version, *by
        )
        if (link.sequence, link.previous_hash, link.hash) != (place, previous, digest):
            return place
        previous = link.hash
    return None


def test_events_are_numbered_on_from_the_last_one() -> None:
    head = written("A1")[-1]
    tail = chained(
        [Event(EventType.PAYMENT_STARTED, {}), Event(EventType.PAYMENT_FAILED, {})],
        sequence=head.sequence,
        previous_hash=head.hash,
    )
    assert [link.sequence for link in tail] == [2, 3]
    assert tail[0].previous_hash == head.hash
    assert tail[1].previous_hash == tail[0].hash
    assert first_break([head, *tail]) is None


def test_no_events_are_no_links() -> None:
    assert chained([], sequence=4, previous_hash=b"x") == []


@pytest.mark.parametrize(
    "forged",
    [
        Event(EventType.SEAT_LOCKED, {"label": "A9", "fence": 1}),
        Event(EventType.SEAT_LOCKED, {"label": "A2", "fence": "1"}),
        Event(EventType.SEAT_LOCKED, {"label": "A2"}),
        Event(EventType.SEAT_RELEASED, {"label": "A2", "fence": 1}),
    ],
)
def test_a_changed_event_breaks_the_chain_at_its_place(forged: Event) -> None:
    stream = written("A1", "A2", "A3")
    stream[1] = replace(stream[1], event=forged)
    assert first_break(stream) == 2


def test_a_changed_event_with_a_new_hash_breaks_the_chain_after_it() -> None:
    stream = written("A1", "A2", "A3")
    forged = Event(EventType.SEAT_LOCKED, {"label": "A9"})
    digest = event_hash(stream[1].previous_hash, STREAM, 2, forged, 1, *BY)
    stream[1] = replace(stream[1], event=forged, hash=digest)
    assert first_break(stream) == 3


def test_events_left_out_or_swapped_break_the_chain() -> None:
    first, second, third = written("A1", "A2", "A3")
    assert first_break([first, third]) == 2
    assert first_break([second, third]) == 1
    assert first_break([first, third, second]) == 2


@pytest.mark.parametrize("by", [("user-2", "req-1"), ("user-1", "req-2"), ("user-1", None)])
def test_who_did_it_and_by_which_request_is_part_of_the_chain(by: tuple[str, str | None]) -> None:
    assert first_break(written("A1"), by=by) == 1


def test_an_event_that_passes_for_another_version_breaks_the_chain() -> None:
    stream = written("A1", "A2")
    stream[1] = replace(stream[1], schema_version=2)
    assert first_break(stream) == 2


def test_a_stream_passes_for_no_other_aggregates() -> None:
    assert first_break(written("A1"), aggregate_id=uuid4()) == 1


@given(st.lists(events, max_size=5))
def test_a_chain_is_the_same_however_it_was_cut_into_commits(facts: list[Event]) -> None:
    whole = chained(facts)
    pieces: list[ChainedEvent] = []
    for fact in facts:
        last = pieces[-1].hash if pieces else b""
        pieces += chained([fact], sequence=len(pieces), previous_hash=last)
    assert pieces == whole
    assert first_break(whole) is None


@given(events)
def test_the_hash_survives_a_round_trip_through_json(fact: Event) -> None:
    """The database gives a payload back with its keys in another order."""
    payload: dict[str, Any] = json.loads(json.dumps(dict(reversed(list(fact.payload.items())))))
    stored = Event(fact.type, payload)
    told = [event_hash(b"p", STREAM, 1, one, 1, *BY) for one in (stored, fact)]
    assert told[0] == told[1]


def test_the_hash_is_what_it_was_when_the_first_events_were_written() -> None:
    """Committed: a change of it would break every chain in every database."""
    fact = Event(EventType.SEAT_LOCKED, {"label": "Ä1", "fence": 1})
    digest = event_hash(b"", STREAM, 1, fact, 1, *BY)
    assert digest.hex() == "48422c96f56bb57fa23636e705c1f468bb632cdbc7df7fc5db2913ec882f7944"
