"""Lists page by page: what they are asked with, and cursors, the last row's sort key, opaque."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Query, Response
from fastapi.exceptions import RequestValidationError

from api.schemas.common import CURSOR_EXAMPLE
from domain.limits import PAGE_MAX

Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]
Cursor = Annotated[str | None, Query(max_length=200, examples=[CURSOR_EXAMPLE])]


def cursor(*place: str) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode()


def after(place: tuple[datetime, UUID] | None) -> str | None:
    """The cursor of the next page of a list that is ordered by a time and an id."""
    return cursor(place[0].isoformat(), str(place[1])) if place else None


def answer(items: Sequence[Any], more: str | None) -> Response:
    """One page, with what to ask for to get the next."""
    return Response(orjson.dumps({"items": items, "next": more}), media_type="application/json")


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
