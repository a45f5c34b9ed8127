"""What anybody may read: films, theatres, shows, seat maps, availability."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Request, Response

from api.deps.read import PathId, ReadConnection
from api.deps.shelf import FromShelf, ReadAfter
from api.hot import sources
from api.hot.document import Document
from api.middleware.gate import HEAD_ONLY
from api.problems import problem
from api.queries import page
from api.queries.etag import IfNoneMatch
from api.schemas.catalogue import (
    AvailabilityOut,
    MovieList,
    MovieOut,
    SeatMapOut,
    ShowOut,
    ShowsOfMovie,
    TheatreList,
)
from api.schemas.common import CURSOR_EXAMPLE, Day
from api.streams.availability import HEADERS
from domain.errors import NotFound
from domain.limits import PAGE_DEFAULT, PAGE_MAX
from readmodel import catalogue as readmodel
from readmodel.bookings import Json

STREAM = (
    "`snapshot` (as the availability), then `delta` `{version, seats}`, where a seat may also be"
    " `available`. `id:` is the version; `Last-Event-ID` resumes."
)
STREAM_HEADERS = {name.decode(): value.decode() for name, value in HEADERS}
TOO_MANY = "Your address has enough streams open; end one, or poll the availability."
TOO_MANY_SECONDS = 10

router = APIRouter(prefix="/api", tags=["catalogue"])

# A title of 300 characters, of four bytes each, in base64 beside its id.
Cursor = Annotated[str | None, Query(max_length=2000, examples=[CURSOR_EXAMPLE])]
Words = Annotated[str | None, Query(max_length=200, examples=["metropolis fritz"])]
Genre = Annotated[str | None, Query(max_length=200, examples=["Drama"])]
City = Annotated[str | None, Query(max_length=200, examples=["Berlin"])]
OnDay = Annotated[Day | None, Query(examples=["2026-12-04"])]
NO_SHOW = "There is no such show."
NO_MOVIE = "There is no such film."


@router.get("/movies", response_model=MovieList)
async def movies(
    request: Request,
    connection: ReadConnection,
    q: Words = None,
    genre: Genre = None,
    city: City = None,
    date: OnDay = None,
    limit: page.Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Films by title; ``q`` finds words and beginnings of words of title and director."""
    after = page.place(cursor, 2)
    items = await readmodel.movies(
        connection,
        words=q or None,
        genre=genre or None,
        city=city or None,
        day=date,
        after=(after[0], _uuid(after[1])) if after else None,
        limit=limit + 1,
    )
    last = items[limit - 1] if len(items) > limit else None
    more = page.cursor(last["title"], last["id"]) if last else None
    return _cached(request, {"items": items[:limit], "next": more})


@router.get("/movies/{movie_id}", response_model=MovieOut)
async def movie(movie_id: PathId, request: Request, connection: ReadConnection) -> Response:
    """One film."""
    found = await readmodel.movie(connection, movie_id)
    if found is None:
        raise NotFound(NO_MOVIE)
    return _cached(request, found)


@router.get("/theatres", response_model=TheatreList)
async def theatres(
    request: Request,
    connection: ReadConnection,
    city: City = None,
    limit: page.Limit = PAGE_MAX,
    cursor: Cursor = None,
) -> Response:
    """Theatres by city and name."""
    after = page.place(cursor, 2)
    items = await readmodel.theatres(
        connection,
        city=city or None,
        after=(after[0], after[1]) if after else None,
        limit=limit + 1,
    )
    last = items[limit - 1] if len(items) > limit else None
    more = page.cursor(last["city"], last["name"]) if last else None
    return _cached(request, {"items": items[:limit], "next": more})


@router.get("/shows/{movie_id}", response_model=ShowsOfMovie)
async def shows(
    movie_id: PathId, shelf: FromShelf, city: City = None, date: OnDay = None
) -> Response:
    """A film's shows by theatre: from now on, or those of one local day."""
    return await shelf(sources.shows_of_movie(movie_id, city or None, date), NO_MOVIE)


@router.get("/show/{show_id}", response_model=ShowOut)
async def show(show_id: PathId, shelf: FromShelf) -> Response:
    """One show."""
    return await shelf(sources.show(show_id), NO_SHOW)


@router.get(
    "/show/{show_id}/seatmap",
    response_model=SeatMapOut,
    responses={302: {"description": "The version of now, where no version was asked for."}},
)
async def seat_map(
    show_id: PathId,
    connection: ReadConnection,
    shelf: FromShelf,
    if_none_match: IfNoneMatch,
    v: Annotated[int | None, Query(ge=1, le=2**31 - 1, examples=[1])] = None,
) -> Response:
    """The seats and where they are; one version never changes. Without ``v``: 302 to it."""
    versions = await readmodel.map_version(connection, show_id, v)
    if versions is None:
        raise NotFound(NO_SHOW)
    current, asked = versions
    if v is None:
        url = f"/api/show/{show_id}/seatmap?v={current}"
        return Response(status_code=302, headers={"Location": url, "Cache-Control": "max-age=60"})
    if asked is None:
        raise NotFound("The seat map has no such version.")
    return await shelf(sources.seat_map(asked, v), NO_SHOW)


@router.get("/show/{show_id}/availability", response_model=AvailabilityOut)
async def availability(
    show_id: PathId, shelf: FromShelf, if_none_match: IfNoneMatch, read_after: ReadAfter = None
) -> Response:
    """The seats that are not available."""
    return await shelf(sources.availability(show_id), NO_SHOW)


@router.get(
    "/show/{show_id}/availability/stream",
    response_class=Response,
    responses={200: {"description": STREAM, "content": {"text/event-stream": {}}}},
)
async def stream(request: Request, show_id: PathId, shelf: FromShelf) -> Response:
    """Availability as it changes: `snapshot`, then `delta` events, at most one a second.

    Here come only those that are not streamed to: see `api.streams`.
    """
    await shelf(sources.availability(show_id), NO_SHOW)
    if HEAD_ONLY in request.scope:
        return Response(headers=STREAM_HEADERS)
    headers = {"Retry-After": str(TOO_MANY_SECONDS)}
    return problem(429, "rate_limited", TOO_MANY, headers=headers)


def _uuid(part: str) -> UUID:
    try:
        return UUID(part)
    except ValueError as error:
        raise page.foreign() from error


def _cached(request: Request, content: Json) -> Response:
    """What changes by the staff's hand only, for everybody's caches."""
    return Document(orjson.dumps(content), sources.CATALOGUE_CACHED).answer(request)
