"""Films as they come from elsewhere, and the rules that mend them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

TEXT_MAX = 300
RUNTIME_MAX = 1000
FIRST_FILM_YEAR = 1888
DATE_FORMATS = ("%b %d %Y", "%d-%b-%y", "%Y-%m-%d", "%Y", "%B %d %Y", "%d-%b-%Y")
# Bytes of UTF-8 read as Latin-1 begin with one of these.
UTF8_AS_LATIN = re.compile("[\u00c2\u00c3\u00e2][\u0080-\u00bf\u2018-\u2122]")
# Latin-1 read as a Macintosh's: a capital or a mark after a letter, at the end or before a small
# letter ("LÈon", "F‰lscher"). No spelling has one there; "ÉTÉ", all in capitals, is left alone.
LATIN_AS_MAC = re.compile(
    r"[^\W\d_](?:[ÁÂÈÊËÌÍÎÏÓÔÙÚÛŸ‰˘˙˚˝ˆ˜ˇ‡Ò](?=[a-zı])|(?<=[a-z])[ÁÂÈÊËÌÍÎÏÓÔÙÚÛŸ‰˘˙˚˝ˆ˜ˇ‡Ò](?!\w))|\dΩ"
    r"|^[ -~]+ Ö [ -~]+$"  # three dots between English words
)
REPAIRS = (
    (UTF8_AS_LATIN, "cp1252", "utf-8"),
    (UTF8_AS_LATIN, "latin-1", "utf-8"),
    (LATIN_AS_MAC, "mac-roman", "cp1252"),
)


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
    if value is None:
        return None
    if not isinstance(value, str):
        mended.append(f"the {what} is no text and was left out")
        return None
    # Accents first: some of their broken halves are control characters or spaces.
    repaired = _repaired(value)
    if repaired != value:
        mended.append(f"broken accents in the {what}")
    spaced = " ".join(repaired.split())
    clean = "".join(c for c in spaced if unicodedata.category(c) not in ("Cc", "Cs", "Cn", "Co"))
    if clean != spaced:
        mended.append(f"characters that are none were taken out of the {what}")
    if len(clean) > TEXT_MAX:
        mended.append(f"the {what} was cut to {TEXT_MAX} characters")
    return " ".join(clean[:TEXT_MAX].split()) or None


def _repaired(text: str) -> str:
    for broken, read_as, written_as in REPAIRS:
        if broken.search(text):
            try:
                return text.encode(read_as).decode(written_as)
            except UnicodeError:
                continue
    return text


def _released(value: Any, latest_year: int, mended: list[str]) -> date | None:
    if value is None or value == "":
        return None
    found = _date(value.strip()) if isinstance(value, str) else None
    if found is not None and found.year > latest_year:
        century_earlier = _century_earlier(found)
        if FIRST_FILM_YEAR <= century_earlier.year <= latest_year:
            mended.append(f"released in {found.year}, so a century earlier")
            return century_earlier
    elif found is not None and found.year >= FIRST_FILM_YEAR:
        return found
    mended.append("the release date makes no sense and was left out")
    return None


def _date(text: str) -> date | None:
    for form in DATE_FORMATS:
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007 - a date
        except ValueError:
            continue
    return None


def _century_earlier(day: date) -> date:
    try:
        return day.replace(year=day.year - 100)
    except ValueError:  # the 29th of February of 2000, 2400, ...
        return day.replace(year=day.year - 100, day=28)


def _runtime(value: Any, mended: list[str]) -> int | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= RUNTIME_MAX:
        return value
    mended.append("the running time makes no sense and was left out")
    return None
