"""``seathold import``: take a list of films whole; report every row skipped or mended."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import typer
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import SEATHOLD
from domain.movie import Movie, Unusable, mend
from infra.postgres.engine import create_engine
from infra.settings import Settings

LATEST_YEAR = 2012
"""The list was made in 2010 and announces films of 2011: what it dates later than this lies a
century earlier (it has "The Birth of a Nation" in 2015)."""
BATCH = 500

INSERT = text("""
INSERT INTO movies (id, source_key, title, year, released_on, runtime_minutes, rating, genres,
                    director)
SELECT id, source_key, title, year, released_on, runtime, rating,
       CASE WHEN genre = '' THEN '{}'::text[] ELSE ARRAY[genre] END, director
FROM unnest(CAST(:ids AS uuid[]), CAST(:keys AS text[]), CAST(:titles AS text[]),
            CAST(:years AS int[]), CAST(:released AS date[]), CAST(:runtimes AS int[]),
            CAST(:ratings AS text[]), CAST(:genres AS text[]), CAST(:directors AS text[]))
     AS new (id, source_key, title, year, released_on, runtime, rating, genre, director)
ON CONFLICT (source_key) DO NOTHING
""")


@dataclass(frozen=True)
class ImportReport:
    """How many rows there were and what became of them; ``known`` were there before."""

    rows: int
    imported: int
    known: int
    mended: int
    skipped: int


async def import_movies(
    settings: Settings, path: Path, *, report: Callable[[str], None]
) -> ImportReport:
    """Import the file; a repeat imports nothing new.

    Raises:
        typer.BadParameter: the file cannot be read as a JSON list.
    """
    rows = read_rows(path)
    movies: list[Movie] = []
    first_row: dict[str, int] = {}
    mended = skipped = 0
    for number, row in enumerate(rows, 1):
        try:
            movie = mend(row, latest_year=LATEST_YEAR)
        except Unusable as why:
            skipped += 1
            report(f"row {number}: skipped: {why}")
            continue
        if movie.source_key in first_row:
            skipped += 1
            twin = first_row[movie.source_key]
            report(f"row {number}: skipped: “{movie.title}” is the film of row {twin}")
            continue
        first_row[movie.source_key] = number
        movies.append(movie)
        if movie.mended:
            mended += 1
            report(f"row {number}: “{movie.title}”: {'; '.join(movie.mended)}")
    engine = create_engine(settings)
    imported = 0
    async with engine.begin() as connection:
        for start in range(0, len(movies), BATCH):
            imported += await store(connection, movies[start : start + BATCH])
    await engine.dispose()
    known = len(movies) - imported
    report(
        f"{len(rows)} rows: {imported} films imported, {known} known already,"
        f" {mended} mended, {skipped} skipped."
    )
    return ImportReport(len(rows), imported, known, mended, skipped)


def read_rows(path: Path) -> list[Any]:
    """The file's list; one clear sentence when it is none."""
    try:
        # Not orjson: one half of a surrogate pair would make it refuse the whole list.
        rows = json.loads(path.read_bytes(), parse_constant=lambda _: None)
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{path} is not JSON: {error}.") from error
    if not isinstance(rows, list):
        raise typer.BadParameter(f"{path} holds no list of films.")
    return rows


async def store(connection: AsyncConnection, movies: Sequence[Movie]) -> int:
    """Insert what is not there; how many were new."""
    inserted = await connection.execute(
        INSERT,
        {
            "ids": [movie_id(movie.source_key) for movie in movies],
            "keys": [movie.source_key for movie in movies],
            "titles": [movie.title for movie in movies],
            "years": [movie.released_on.year if movie.released_on else None for movie in movies],
            "released": [movie.released_on for movie in movies],
            "runtimes": [movie.runtime_minutes for movie in movies],
            "ratings": [movie.rating for movie in movies],
            "genres": [movie.genres[0] if movie.genres else "" for movie in movies],
            "directors": [movie.director for movie in movies],
        },
    )
    return inserted.rowcount


def movie_id(source_key: str) -> UUID:
    return uuid5(SEATHOLD, f"movie|{source_key}")
