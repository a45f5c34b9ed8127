"""Cursors: the last row's sort key, opaque to clients."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from uuid import UUID

import orjson
from fastapi.exceptions import RequestValidationError


def cursor(*place: str) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode()


def after(place: tuple[datetime, UUID] | None) -> str | None:
    """The cursor of the next page of a list that is ordered by a time and an id."""
    return cursor(place[0].isoformat(), str(place[1])) if place else None


def place(cursor: str | None, parts: int) -> list[str] | None:
    """The sort key in a cursor.

    Raises:
        RequestValidationError: it is none that we made.
    """
    if cursor is None:
        return None
    try:
        found = orjson.loads(base64.urlsafe_b64decode(cursor))
    except (ValueError, binascii.Error) as error:
        raise foreign() from error
    if not isinstance(found, list) or len(found) != parts:
        raise foreign()
    if not all(isinstance(part, str) and "\x00" not in part for part in found):
        raise foreign()
    return found


def foreign() -> RequestValidationError:
    """What is wrong with a cursor that is not one of ours, named like every other field."""
    message = "It is not one of ours; start again without it."
    return RequestValidationError(
        [{"type": "value_error", "loc": ("query", "cursor"), "msg": message}]
    )


def moment(value: str | None) -> tuple[datetime, UUID] | None:
    """The place in a list that is ordered by a time and an id; raises as ``foreign`` says."""
    parts = place(value, 2)
    if parts is None:
        return None
    try:
        return datetime.fromisoformat(parts[0]), UUID(parts[1])
    except ValueError as error:
        raise foreign() from error
