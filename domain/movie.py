"""Films as they come from elsewhere, and the rules that mend them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

TITLE_MAX = 300
RUNTIME_MAX = 1000
FIRST_FILM_YEAR = 1888
DATE_FORMATS = ("%b %d %Y", "%d-%b-%y", "%Y-%m-%d", "%Y", "%B %d %Y", "%d-%b-%Y")
# Bytes of UTF-8 read as Latin-1 begin with one of these.
MOJIBAKE = re.compile("[\u00c2\u00c3\u00e2][\u0080-\u00bf\u2018-\u2122]")


@dataclass(frozen=True, slots=True)
class Movie:
    """A film ready to be stored; ``mended`` says in words what was put right."""

    source_key: str
    title: str
    released_on: date | None
    runtime_minutes: int | None
    rating: str | None
    genres: tuple[str, ...]
    director: str | None
    mended: tuple[str, ...] = field(default=(), compare=False)


class Unusable(Exception):
    """A row that no rule can mend; the message says why."""


def mend(row: object, *, latest_year: int) -> Movie:
    """Make a film of one row of the list.

    Args:
        latest_year: a release later than this is a century off ("2046" means 1946).

    Raises:
        Unusable: it is not an object, or it has no title.
    """
    if not isinstance(row, Mapping):
        raise Unusable("not an object")
    mended: list[str] = []
    title = _title(row.get("Title"), mended)
    released = _released(row.get("Release Date"), latest_year, mended)
    director = _text(row.get("Director"), "director", mended)
    genre = _text(row.get("Major Genre"), "genre", mended)
    year = str(released.year) if released else "?"
    return Movie(
        source_key=f"{title.casefold()}|{year}|{(director or '').casefold()}",
        title=title,
        released_on=released,
        runtime_minutes=_runtime(row.get("Running Time min"), mended),
        rating=_text(row.get("MPAA Rating"), "rating", mended),
        genres=(genre,) if genre else (),
        director=director,
        mended=tuple(mended),
    )


def _title(value: Any, mended: list[str]) -> str:
    if isinstance(value, bool) or value is None:
        raise Unusable("no title")
    if isinstance(value, int | float):
        mended.append("the title was a number")
        value = str(value)
    title = _text(value, "title", mended)
    if title is None:
        raise Unusable("no title")
    return title


def _text(value: Any, what: str, mended: list[str]) -> str | None:
    if not isinstance(value, str):
        return None
    clean = "".join(c for c in value if unicodedata.category(c) not in ("Cc", "Cs", "Cn", "Co"))
    if clean != value:
        mended.append(f"characters that are none were taken out of the {what}")
    if MOJIBAKE.search(clean):
        repaired = _repaired(clean)
        if repaired != clean:
            mended.append(f"broken accents in the {what}")
            clean = repaired
    clean = " ".join(clean.split())[:TITLE_MAX]
    return clean or None


def _repaired(text: str) -> str:
    for encoding in ("cp1252", "latin-1"):
        try:
            return text.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
    return text


def _released(value: Any, latest_year: int, mended: list[str]) -> date | None:
    if not isinstance(value, str) or not value.strip():
        return None
    for form in DATE_FORMATS:
        try:
            found = datetime.strptime(value.strip(), form).date()  # noqa: DTZ007 - a date
        except ValueError:
            continue
        if found.year > latest_year:
            mended.append(f"released in {found.year}, so a century earlier")
            # The 29th of February of a year that has none becomes the 28th.
            day = 28 if (found.month, found.day) == (2, 29) else found.day
            found = date(found.year - 100, found.month, day)
        if found.year < FIRST_FILM_YEAR:
            break
        return found
    mended.append("the release date makes no sense and was left out")
    return None


def _runtime(value: Any, mended: list[str]) -> int | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= RUNTIME_MAX:
        return value
    mended.append("the running time makes no sense and was left out")
    return None
