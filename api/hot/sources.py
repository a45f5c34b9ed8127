"""What is kept on the shelf: where it comes from, how long it lives, who may cache it."""

from __future__ import annotations

from datetime import date
from hashlib import blake2b
from uuid import UUID

import orjson

from api.hot.shelf import Route, Source
from infra.redis.news import movie_stamp, seats_stamp, show_stamp
from infra.redis.shared_copies import Place
from readmodel import catalogue

SHOW_SECONDS = 300.0
# Seats change without news too, when a hold runs out: this often PostgreSQL is asked.
SEATS_SECONDS = 2.0
SEATS_FRESH_SECONDS = 1.0
MAP_SECONDS = 3600.0

SHOWS_CACHED = b"public, max-age=5, s-maxage=5, stale-while-revalidate=30"
# No browser may show its owner the seats as they were before he took some.
SEATS_CACHED = b"public, max-age=0, s-maxage=1"
FOR_EVER_CACHED = b"public, max-age=31536000, immutable"
CATALOGUE_CACHED = b"public, max-age=60, s-maxage=300, stale-while-revalidate=600"


def availability(show_id: UUID) -> Source:
    return Source(
        name=f"availability:{show_id}",
        route=Route.AVAILABILITY,
        place=Place(f"{{show:{show_id}}}:availability", seats_stamp(show_id)),
        read=lambda session: catalogue.availability(session, show_id),
        seconds=SEATS_SECONDS,
        cache_control=SEATS_CACHED,
        fresh_seconds=SEATS_FRESH_SECONDS,
        of_seats=True,
    )


def show(show_id: UUID) -> Source:
    return Source(
        name=f"show:{show_id}",
        route=Route.SHOW,
        place=Place(f"{{show:{show_id}}}:show", show_stamp(show_id)),
        read=lambda session: catalogue.show(session, show_id),
        seconds=SHOW_SECONDS,
        cache_control=SHOWS_CACHED,
    )


def shows_of_movie(movie_id: UUID, city: str | None, day: date | None) -> Source:
    question = blake2b(orjson.dumps([city, day]), digest_size=12).hexdigest()
    return Source(
        name=f"shows:{movie_id}:{question}",
        route=Route.SHOWS_OF_MOVIE,
        place=Place(f"{{movie:{movie_id}}}:shows:{question}", movie_stamp(movie_id)),
        read=lambda session: catalogue.shows_of_movie(session, movie_id, city=city, day=day),
        seconds=SHOW_SECONDS,
        cache_control=SHOWS_CACHED,
    )


def seat_map(seat_map_id: UUID, version: int) -> Source:
    return Source(
        name=f"seatmap:{seat_map_id}",
        route=Route.SEAT_MAP,
        place=Place(f"{{seatmap:{seat_map_id}}}", f"{{seatmap:{seat_map_id}}}:edits"),
        read=lambda session: catalogue.seat_map(session, seat_map_id, version),
        seconds=MAP_SECONDS,
        cache_control=FOR_EVER_CACHED,
        is_fixed=True,
    )
