"""``seathold import``: whatever the list holds, what is usable comes in and the rest is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner

from infra.settings import Settings
from seathold.catalogue.demo import MOVIES
from seathold.catalogue.importer import BATCH, ImportReport, import_movies, read_rows
from seathold.cli import app

DIRTY: list[Any] = [
    {"Title": "Metropolis", "Release Date": "Jan 10 2027", "Running Time min": 153},
    {"Title": 1941, "Release Date": "Dec 14 1979", "Running Time min": None},
    {"Title": "DÈj‡ Vu", "Release Date": "Nov 22 2006", "Director": "Tony Scott"},
    {"Title": None, "Release Date": "Nov 03 2006"},
    {"Title": "The Big Sleep", "Release Date": "Aug 23 2046", "Major Genre": "Drama"},
    {"Title": "the big  sleep", "Release Date": "1946"},
    "no film",
    {"Title": "Nul\x00l \ud800", "Director": "D\x00"},
    {"Title": "x" * 5000, "Director": "y" * 5000, "Running Time min": 10**30},
    {"Title": "Clean", "Running Time min": 90, "Director": "Ada", "Unknown": {"a": [1]}},
]


def write(folder: Path, rows: object) -> Path:
    path = folder / "films.json"
    path.write_text(json.dumps(rows))
    return path


async def stored(engine: AsyncEngine) -> list[dict[str, Any]]:
    async with engine.connect() as connection:
        found = await connection.execute(
            text("SELECT * FROM movies ORDER BY created_at, id, source_key")
        )
        return [dict(row._mapping) for row in found]


async def test_a_dirty_list_comes_in_and_every_row_touched_is_reported(
    empty: Settings, empty_engine: AsyncEngine, tmp_path: Path
) -> None:
    lines: list[str] = []
    done = await import_movies(empty, write(tmp_path, DIRTY), report=lines.append)
    assert done == ImportReport(rows=10, imported=7, known=0, mended=6, skipped=3)
    assert lines == [
        "row 1: “Metropolis”: released in 2027, so a century earlier",
        "row 2: “1941”: the title was a number",
        "row 3: “Déjà Vu”: broken accents in the title",
        "row 4: skipped: no title",
        "row 5: “The Big Sleep”: released in 2046, so a century earlier",
        "row 6: skipped: “the big sleep” is the film of row 5",
        "row 7: skipped: not an object",
        (
            "row 8: “Null”: characters that are none were taken out of the title;"
            " characters that are none were taken out of the director"
        ),
        (
            f"row 9: “{'x' * 300}”: the title was cut to 300 characters;"
            " the director was cut to 300 characters;"
            " the running time makes no sense and was left out"
        ),
        "10 rows: 7 films imported, 0 known already, 6 mended, 3 skipped.",
    ]
    films = {film["title"]: film for film in await stored(empty_engine)}
    assert set(films) == {
        "Metropolis",
        "1941",
        "Déjà Vu",
        "The Big Sleep",
        "Null",
        "x" * 300,
        "Clean",
    }
    assert films["Metropolis"]["year"] == 1927
    assert films["Metropolis"]["genres"] == []
    assert films["The Big Sleep"]["genres"] == ["Drama"]
    assert str(films["The Big Sleep"]["released_on"]) == "1946-08-23"
    assert films["1941"]["runtime_minutes"] is None
    assert films["Clean"]["runtime_minutes"] == 90


async def test_a_second_import_changes_nothing(
    empty: Settings, empty_engine: AsyncEngine, tmp_path: Path
) -> None:
    path = write(tmp_path, DIRTY)
    first: list[str] = []
    await import_movies(empty, path, report=first.append)
    before = await stored(empty_engine)
    second: list[str] = []
    done = await import_movies(empty, path, report=second.append)
    assert done == ImportReport(rows=10, imported=0, known=7, mended=6, skipped=3)
    assert second[:-1] == first[:-1]
    assert await stored(empty_engine) == before


async def test_only_what_is_new_is_added(
    empty: Settings, empty_engine: AsyncEngine, tmp_path: Path
) -> None:
    await import_movies(empty, write(tmp_path, DIRTY[:2]), report=lambda _: None)
    done = await import_movies(empty, write(tmp_path, DIRTY), report=lambda _: None)
    assert (done.imported, done.known) == (5, 2)
    assert len(await stored(empty_engine)) == 7


async def test_the_packaged_films_come_in_whole(empty: Settings, empty_engine: AsyncEngine) -> None:
    lines: list[str] = []
    done = await import_movies(empty, MOVIES, report=lines.append)
    assert done.rows == len(json.loads(MOVIES.read_bytes())) >= 300
    assert (done.imported, done.skipped) == (done.rows, 0)
    assert len(lines) == done.mended + 1
    films = await stored(empty_engine)
    assert len(films) == done.rows
    assert all(film["director"] and film["runtime_minutes"] for film in films)
    titles = {film["title"]: film for film in films}
    assert titles["The Wizard of Oz"]["year"] == 1939
    assert {"Déjà Vu", "Le Fabuleux destin d'Amélie Poulain"} <= set(titles)
    assert max(film["year"] for film in films) <= 2010
    assert (await import_movies(empty, MOVIES, report=lambda _: None)).imported == 0


async def test_lists_of_many_batches_and_of_nothing(
    empty: Settings, empty_engine: AsyncEngine, tmp_path: Path
) -> None:
    many = [{"Title": f"Film {number}"} for number in range(2 * BATCH + 1)]
    done = await import_movies(empty, write(tmp_path, many), report=lambda _: None)
    assert done.imported == len(many)
    lines: list[str] = []
    done = await import_movies(empty, write(tmp_path, []), report=lines.append)
    assert done == ImportReport(0, 0, 0, 0, 0)
    assert len(lines) == 1
    assert len(await stored(empty_engine)) == len(many)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not JSON"),
        (b"[{", "is not JSON"),
        (b"Title,Year\nM,1931\n", "is not JSON"),
        (b'[{"Title": "Caf\xe9"}]', "is not JSON"),
        (b"\x00\x01\x02", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[" + b"9" * 10_000 + b"]", "is not JSON"),
        (b'{"Title": "M"}', "holds no list of films"),
        (b'"films"', "holds no list of films"),
        (b"null", "holds no list of films"),
    ],
)
def test_what_is_no_list_is_refused_in_a_sentence(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "films.json"
    path.write_bytes(content)
    with pytest.raises(typer.BadParameter, match=reason):
        read_rows(path)


def test_a_file_that_cannot_be_read_is_refused_in_a_sentence(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(typer.BadParameter, match="cannot be read"):
            read_rows(path)


def test_numbers_that_are_none_are_read_as_missing(tmp_path: Path) -> None:
    path = tmp_path / "films.json"
    path.write_text('[{"Title": NaN}, {"Title": "M", "Running Time min": Infinity}]')
    assert read_rows(path) == [{"Title": None}, {"Title": "M", "Running Time min": None}]


def test_the_command_prints_the_report_and_refuses_without_a_trace(
    empty: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEATHOLD_DATABASE_URL", empty.database_url.get_secret_value())
    path = write(tmp_path, DIRTY)
    found = CliRunner().invoke(app, ["import", str(path)])
    assert found.exit_code == 0, found.output
    assert "10 rows: 7 films imported" in found.output
    path.write_text("no list")
    found = CliRunner().invoke(app, ["import", str(path)])
    assert found.exit_code == 2
    assert isinstance(found.exception, SystemExit)
    assert "is not JSON" in " ".join(found.output.replace("│", "").split())
