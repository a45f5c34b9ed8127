"""What anybody may read: films, theatres, shows, seat maps, availability."""

from __future__ import annotations

from datetime import date
from hashlib import blake2b
from typing import Annotated
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Response

from api.deps.read import PathId, ReadConnection
from api.queries import page
from api.queries.etag import IfNoneMatch, is_kept
from api.schemas.catalogue import (
    AvailabilityOut,
    MovieList,
    MovieOut,
    SeatMapOut,
    ShowOut,
    ShowsOfMovie,
    TheatreList,
)
from api.schemas.common import CURSOR_EXAMPLE
from domain.errors import NotFound
from domain.limits import PAGE_DEFAULT, PAGE_MAX
from readmodel import catalogue as readmodel
from readmodel.bookings import Json

router = APIRouter(prefix="/api", tags=["catalogue"])
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]
Cursor = Annotated[str | None, Query(max_length=1000, examples=[CURSOR_EXAMPLE])]
Words = Annotated[str | None, Query(max_length=200, examples=["metropolis fritz"])]
Genre = Annotated[str | None, Query(max_length=200, examples=["Drama"])]
City = Annotated[str | None, Query(max_length=200, examples=["Berlin"])]
Day = Annotated[date | None, Query(examples=["2026-12-04"])]
NO_SHOW = "There is no such show."


@router.get("/movies", response_model=MovieList)
async def movies(
    connection: ReadConnection,
    q: Words = None,
    genre: Genre = None,
    city: City = None,
    date: Day = None,
    limit: Limit = PAGE_DEFAULT,
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
    return _json({"items": items[:limit], "next": more})


@router.get("/movies/{movie_id}", response_model=MovieOut)
async def movie(movie_id: PathId, connection: ReadConnection) -> Response:
    """One film."""
    return _json(await _movie(connection, movie_id))


@router.get("/theatres", response_model=TheatreList)
async def theatres(
    connection: ReadConnection, city: City = None, limit: Limit = PAGE_MAX, cursor: Cursor = None
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
    return _json({"items": items[:limit], "next": more})


@router.get("/shows/{movie_id}", response_model=ShowsOfMovie)
async def shows(
    movie_id: PathId, connection: ReadConnection, city: City = None, date: Day = None
) -> Response:
    """A film's shows by theatre: from now on, or those of one local day."""
    found = await _movie(connection, movie_id)
    groups = await readmodel.shows_by_theatre(connection, movie_id, city=city or None, day=date)
    return _json({"movie": found, "theatres": groups})


@router.get("/show/{show_id}", response_model=ShowOut)
async def show(show_id: PathId, connection: ReadConnection) -> Response:
    """One show."""
    found = await readmodel.show(connection, show_id)
    if found is None:
        raise NotFound(NO_SHOW)
    return _json(found)


@router.get("/show/{show_id}/seatmap", response_model=SeatMapOut)
async def seat_map(
    show_id: PathId,
    connection: ReadConnection,
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
    headers = {"ETag": f'"{asked}"', "Cache-Control": "public, max-age=31536000, immutable"}
    if is_kept(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    return _json(await readmodel.seat_map(connection, asked, v), headers)


@router.get("/show/{show_id}/availability", response_model=AvailabilityOut)
async def availability(
    show_id: PathId,
    connection: ReadConnection,
    if_none_match: IfNoneMatch,
) -> Response:
    """The seats that are not available."""
    found = await readmodel.availability(connection, show_id)
    if found is None:
        raise NotFound(NO_SHOW)
    # A hold can lapse or be sold without a new version, so the tag speaks for the seats as well.
    seats = blake2b(orjson.dumps(found["seats"]), digest_size=8).hexdigest()
    headers = {"ETag": f'"{found["version"]}-{seats}"', "Cache-Control": "no-cache"}
    if is_kept(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    return _json(found, headers)


async def _movie(connection: ReadConnection, movie_id: UUID) -> Json:
    found = await readmodel.movie(connection, movie_id)
    if found is None:
        raise NotFound("There is no such film.")
    return found


def _uuid(part: str) -> UUID:
    try:
        return UUID(part)
    except ValueError as error:
        raise page.foreign() from error


def _json(content: Json, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), headers=headers, media_type="application/json")
