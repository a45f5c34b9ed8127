"""What an API key may be for. Who may do what at all is in the API's policy."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """Each names things and what is done with them; a key can do nothing beside its scopes.

    What is open to everybody needs no scope.
    """

    BOOKINGS_READ = "bookings:read"
    BOOKINGS_WRITE = "bookings:write"
    EVENTS_READ = "events:read"
    ENDPOINTS_WRITE = "endpoints:write"
