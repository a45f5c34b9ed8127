"""How an older version of an event reads today: the checker's own words for ``domain.upcasters``.

The statements of the other checks read payloads in place: where a version changes what one of them
reads, the statement has to read both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from seathold.checker.streams import Fact

# Of the events that have more than one version: none yet.
NEWEST: dict[str, int] = {}
# (event type, the version read) → the same payload as the next version tells it.
NEXT: dict[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]] = {}


def newest(fact: Fact) -> dict[str, Any]:
    """The payload of ``fact`` as the newest version tells it."""
    told = fact.payload
    for version in range(fact.schema_version, NEWEST.get(fact.event_type, 1)):
        told = NEXT[fact.event_type, version](told)
    return told
