"""Old payloads: read as the newest version tells them, one version at a time."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from domain import upcasters
from domain.events import Event, EventType, chain
from domain.upcasters import FromTheFuture, newest, upcast

EVENT = str(EventType.SEAT_RELEASED)


def split(told: dict[str, Any]) -> dict[str, Any]:
    """Version 1 told the labels in one text."""
    return {"labels": told["seats"].split(",")}


def give_reason(told: dict[str, Any]) -> dict[str, Any]:
    """Version 2 gave no reason."""
    return {**told, "why": "unknown"}


@pytest.fixture
def three_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(upcasters.UPCASTERS, (EVENT, 1), split)
    monkeypatch.setitem(upcasters.UPCASTERS, (EVENT, 2), give_reason)


@pytest.mark.parametrize(
    ("version", "stored"),
    [
        (1, {"seats": "A1,A2"}),
        (2, {"labels": ["A1", "A2"]}),
        (3, {"labels": ["A1", "A2"], "why": "unknown"}),
    ],
)
def test_every_version_reads_as_the_newest(
    three_versions: None, version: int, stored: dict[str, Any]
) -> None:
    before = dict(stored)
    assert upcast(EVENT, version, stored) == {"labels": ["A1", "A2"], "why": "unknown"}
    assert stored == before


def test_an_event_of_one_version_reads_as_it_was_written() -> None:
    assert upcast("SeatLocked", 1, {"seats": []}) == {"seats": []}
    assert newest("SeatLocked") == 1


def test_a_newer_version_than_is_known_is_not_guessed_at(three_versions: None) -> None:
    with pytest.raises(FromTheFuture, match="SeatReleased version 4, known up to 3"):
        upcast(EVENT, 4, {})


def test_the_second_version_is_the_newest_while_there_is_no_third(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(upcasters.UPCASTERS, (EVENT, 1), split)
    assert newest(EVENT) == 2


def test_the_newest_version_is_the_one_that_is_written(three_versions: None) -> None:
    facts = [Event(EventType.SEAT_RELEASED, {}), Event(EventType.SEAT_LOCKED, {})]
    written = chain(
        UUID(int=1), facts, sequence=0, previous_hash=b"", actor="test", request_id=None
    )
    assert [one.schema_version for one in written] == [3, 1]
