"""Old payloads brought up to the newest version of their event, one version at a time.

A stored event is never rewritten. When the meaning of a payload changes, its event gets the next
version, writers write that one, and a function here tells how an older payload would read today.
Every reader of ``events`` calls ``upcast`` first and knows the newest version only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Payload = dict[str, Any]
Upcaster = Callable[[Payload], Payload]

# (event type, the version it reads) → the same fact, as the version after it tells it. No event
# has a second version yet.
UPCASTERS: dict[tuple[str, int], Upcaster] = {}


class FromTheFuture(Exception):
    """The event was written by a newer release: deploy readers before writers."""


def newest(event_type: str) -> int:
    """The version that is written today; versions count from 1."""
    version = 1
    while (event_type, version) in UPCASTERS:
        version += 1
    return version


def upcast(event_type: str, version: int, payload: Mapping[str, Any]) -> Payload:
    """The payload as the newest version tells it; what was given stays as it is.

    Raises:
        FromTheFuture: ``version`` is newer than any that is known here.
    """
    told = dict(payload)
    while upcaster := UPCASTERS.get((event_type, version)):
        told, version = upcaster(told), version + 1
    if version > newest(event_type):
        raise FromTheFuture(f"{event_type} version {version}, known up to {newest(event_type)}")
    return told
