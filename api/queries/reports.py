"""Reports for the staff, and the seats of a show as they once were."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query, Response

from api.deps.read import PathId, ReadConnection
from api.schemas.common import Day, Id, Moment
from api.schemas.reports import DemandReport, PastAvailability, SalesReport
from domain.errors import Invalid, NotFound
from readmodel import past, reports
from readmodel.bookings import Json
from readmodel.reports import MOST_LINES, By

router = APIRouter(prefix="/api/admin", tags=["reports"])

MOST_DAYS = 366
# Without a question: what was lately, and what is to come.
BEFORE, AFTER = timedelta(days=90), timedelta(days=275)

CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "As asked for."}
}
Form = Annotated[Literal["json", "csv"], Query(alias="format")]
Since = Annotated[Day | None, Query(alias="from", examples=["2026-12-01"])]
Until = Annotated[Day | None, Query(alias="to", examples=["2026-12-31"])]


@router.get("/reports/sales", response_model=SalesReport, responses=CSV)
async def sales(
    connection: ReadConnection,
    by: By = By.SHOW,
    since: Since = None,
    until: Until = None,
    form: Form = "json",
) -> Response:
    """Seats sold, occupancy, money and lapses of the shows of these days, at most a year."""
    first, last = _days(since, until)
    lines = _whole(await reports.sales(connection, by=by, since=first, until=last))
    if form == "csv":
        return _csv(f"sales-by-{by}-{first}-{last}", reports.sales_csv(by, lines))
    return _json({"by": by, "from": first, "to": last, "items": lines})


@router.get("/reports/demand", response_model=DemandReport, responses=CSV)
async def demand(
    connection: ReadConnection,
    since: Since = None,
    until: Until = None,
    show_id: Id | None = None,
    movie_id: Id | None = None,
    theatre_id: Id | None = None,
    form: Form = "json",
) -> Response:
    """Bookings and seats asked for, sold and left to lapse, hour by hour, at most a year."""
    first, last = _days(since, until)
    found = await reports.demand(
        connection,
        since=first,
        until=last,
        show_id=show_id,
        movie_id=movie_id,
        theatre_id=theatre_id,
    )
    lines = _whole(found)
    if form == "csv":
        return _csv(f"demand-{first}-{last}", reports.demand_csv(lines))
    return _json({"from": first, "to": last, "items": lines})


@router.get("/show/{show_id}/availability", response_model=PastAvailability)
async def availability(
    show_id: PathId,
    connection: ReadConnection,
    at: Annotated[Moment | None, Query(examples=["2026-12-04T09:15:00Z"])] = None,
) -> Response:
    """The seat map as it was at any instant, from the events up to then."""
    found = await past.availability(connection, show_id, at)
    if found is None:
        raise NotFound("There is no such show.")
    return _json(found)


def _days(since: date | None, until: date | None) -> tuple[date, date]:
    """Both included; the one that was not given follows from the other.

    Raises:
        Invalid: they are the wrong way round, or further apart than a year.
    """
    today = datetime.now(UTC).date()
    try:
        first = since or (until - timedelta(days=MOST_DAYS - 1) if until else today - BEFORE)
        last = until or (since + timedelta(days=MOST_DAYS - 1) if since else today + AFTER)
    except OverflowError as error:
        raise Invalid("There are no such days.") from error
    if not 0 <= (last - first).days < MOST_DAYS:
        raise Invalid(f"Ask for 1 to {MOST_DAYS} days, `from` before `to`.")
    return first, last


def _whole(lines: list[Json] | None) -> list[Json]:
    if lines is None:
        raise Invalid(f"That would be more than {MOST_LINES} lines; ask for fewer days.")
    return lines


def _json(content: Json) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")


def _csv(name: str, content: bytes) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(content, headers=headers, media_type="text/csv; charset=utf-8")
