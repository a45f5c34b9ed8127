"""Lists that are ordered by a time and an id, newest first, a page at a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

Place = tuple[datetime, UUID]


def page_of(
    rows: list[Any], limit: int, shape: Callable[[Any], dict[str, Any]], *, at: str = "created_at"
) -> tuple[list[dict[str, Any]], Place | None]:
    """The first ``limit`` rows and the place to go on before, if there is more.

    ``rows``: one more than the page was asked for, ordered by their column ``at`` and their id.
    """
    page = rows[:limit]
    more = len(rows) > limit
    place = (getattr(page[-1], at), page[-1].id) if more else None
    return [shape(row) for row in page], place
