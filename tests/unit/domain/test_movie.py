"""Films as they come: what is mended is right and reported, what cannot be is refused."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.movie import FIRST_FILM_YEAR, RUNTIME_MAX, TEXT_MAX, Movie, Unusable, mend

LATEST = 2012
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
FIELDS = (
    "Title",
    "Release Date",
    "Running Time min",
    "MPAA Rating",
    "Major Genre",
    "Director",
)


def film(title: Any = "Metropolis", **fields: Any) -> Movie:
    return mend({"Title": title, **fields}, latest_year=LATEST)


def released(value: Any) -> Movie:
    return film(**{"Release Date": value})


def test_a_clean_row_is_taken_as_it_is() -> None:
    row = {
        "Title": "Gladiator",
        "Release Date": "May 05 2000",
        "Running Time min": 150,
        "MPAA Rating": "R",
        "Major Genre": "Action",
        "Director": "Ridley Scott",
    }
    expected = Movie(
        "gladiator|2000|ridley scott",
        "Gladiator",
        date(2000, 5, 5),
        150,
        "R",
        ("Action",),
        "Ridley Scott",
    )
    found = mend(row, latest_year=LATEST)
    assert found == expected
    assert found.mended == ()


@pytest.mark.parametrize("row", [None, 7, "Metropolis", [], ["Title"]])
def test_what_is_no_object_is_refused(row: object) -> None:
    with pytest.raises(Unusable, match="not an object"):
        mend(row, latest_year=LATEST)


@pytest.mark.parametrize("title", [None, True, "", "  \t\n", "\x00\x01", "\ud800", {}, ["M"]])
def test_no_title_is_refused(title: Any) -> None:
    with pytest.raises(Unusable, match="no title"):
        film(title)


@pytest.mark.parametrize(("title", "stored"), [(300, "300"), (2046, "2046"), (8.5, "8.5")])
def test_a_title_may_be_a_number(title: float, stored: str) -> None:
    found = film(title)
    assert found.title == stored
    assert found.mended == ("the title was a number",)


@pytest.mark.parametrize(
    ("broken", "right"),
    [
        ("DÈj‡ Vu", "Déjà Vu"),
        ("LÈon", "Léon"),
        ("Die F‰lscher", "Die Fälscher"),
        ("CachÈ", "Caché"),
        ("Per qualche dollaro in pi˘", "Per qualche dollaro in più"),
        ("De battre mon coeur s'est arrÍtÈ", "De battre mon coeur s'est arrêté"),
        ("Obsluhoval jsem anglickÈho kr·le", "Obsluhoval jsem anglického krále"),
        ("The Naked Gun 2Ω: The Smell of Fear", "The Naked Gun 2½: The Smell of Fear"),
        ("I Love You Ö Don't Touch Me!", "I Love You … Don't Touch Me!"),
        ("AmÃ©lie", "Amélie"),
        ("Ã‰lan", "Élan"),
        ("Ã\x89lan", "Élan"),
        ("Donâ€™t", "Don’t"),
        ("voilÃ\xa0 tout", "voilà tout"),
    ],
)
def test_broken_accents_are_mended_and_reported(broken: str, right: str) -> None:
    found = film(broken, Director=broken)
    assert (found.title, found.director) == (right, right)
    assert found.mended == ("broken accents in the title", "broken accents in the director")


@pytest.mark.parametrize(
    "title",
    [
        "Élan",
        "ÉTÉ À LA MÔME",
        "Caché",
        "Die Fälscher",
        "Âge d'or",
        "Ôtez-moi d'un doute",
        "Col·legi",
        "Ri¢hie Ri¢h",
        "Alien³",
        "Ω",
        "Übermut",
        "Från Ö till Ö",
        "Tōkyō monogatari",
        "千と千尋の神隠し",
    ],
)
def test_accents_that_are_right_are_left_alone(title: str) -> None:
    found = film(title)
    assert found.title == title
    assert found.mended == ()


@pytest.mark.parametrize("junk", ["\x00", "\ud800", "\x07", "\uffff", "\ue000"])
def test_characters_that_are_none_are_taken_out(junk: str) -> None:
    found = film(f"Met{junk}ropolis")
    assert found.title == "Metropolis"
    assert found.mended == ("characters that are none were taken out of the title",)


def test_white_space_is_one_space() -> None:
    found = film("  The\tThin\r\nMan \u00a0 ")
    assert found.title == "The Thin Man"


def test_huge_texts_are_cut_and_reported() -> None:
    found = film("x" * 100_000, Director="y" * (TEXT_MAX + 1))
    assert found.title == "x" * TEXT_MAX
    assert found.director == "y" * TEXT_MAX
    assert found.mended == (
        f"the title was cut to {TEXT_MAX} characters",
        f"the director was cut to {TEXT_MAX} characters",
    )


@pytest.mark.parametrize("field", ["Director", "Major Genre", "MPAA Rating"])
def test_what_is_no_text_is_left_out_and_reported(field: str) -> None:
    found = film(**{field: 12})
    assert (found.director, found.genres, found.rating) == (None, (), None)
    assert len(found.mended) == 1
    assert film(**{field: None}).mended == ()


@pytest.mark.parametrize(
    ("given_date", "stored"),
    [
        ("Jul 18 2008", date(2008, 7, 18)),
        ("18-Jul-08", date(2008, 7, 18)),
        ("2008-07-18", date(2008, 7, 18)),
        (" July 18 2008 ", date(2008, 7, 18)),
        ("1999", date(1999, 1, 1)),
        (f"Dec 31 {LATEST}", date(LATEST, 12, 31)),
        ("Jan 01 1888", date(1888, 1, 1)),
    ],
)
def test_dates_of_every_form(given_date: str, stored: date) -> None:
    found = released(given_date)
    assert found.released_on == stored
    assert found.mended == ()


@pytest.mark.parametrize(
    ("given_date", "stored"),
    [
        ("Dec 31 2046", date(1946, 12, 31)),
        ("9-Mar-46", date(1946, 3, 9)),
        ("Feb 08 2015", date(1915, 2, 8)),
        (f"Jan 01 {LATEST + 1}", date(LATEST - 99, 1, 1)),
        ("Feb 29 2016", date(1916, 2, 29)),
        ("2046", date(1946, 1, 1)),
    ],
)
def test_a_date_to_come_lies_a_century_earlier(given_date: str, stored: date) -> None:
    found = released(given_date)
    assert found.released_on == stored
    assert found.mended == (f"released in {stored.year + 100}, so a century earlier",)


def test_a_leap_day_without_its_like_a_century_earlier() -> None:
    found = mend({"Title": "M", "Release Date": "Feb 29 2000"}, latest_year=1999)
    assert found.released_on == date(1900, 2, 28)


@pytest.mark.parametrize(
    "given_date",
    ["soon", "Feb 30 2001", "1887", "9999", "0001", "  ", "Jul 18 2008\x00", 2008, True, [], {}],
)
def test_a_date_without_sense_is_left_out_and_reported(given_date: Any) -> None:
    found = released(given_date)
    assert found.released_on is None
    assert found.mended == ("the release date makes no sense and was left out",)


@pytest.mark.parametrize("minutes", [0, -1, RUNTIME_MAX + 1, 2**80, 1.5, "90", True, [90]])
def test_a_running_time_without_sense_is_left_out_and_reported(minutes: Any) -> None:
    found = film(**{"Running Time min": minutes})
    assert found.runtime_minutes is None
    assert found.mended == ("the running time makes no sense and was left out",)


def test_what_is_missing_is_nothing_to_report() -> None:
    found = film()
    assert (found.released_on, found.runtime_minutes, found.rating) == (None, None, None)
    assert (found.genres, found.director) == ((), None)
    assert found.mended == ()


def test_the_key_tells_films_of_one_title_apart_but_not_their_spelling() -> None:
    old = film("King Kong", Director="John Guillermin", **{"Release Date": "Dec 17 1976"})
    new = film("King Kong", Director="Peter Jackson", **{"Release Date": "Dec 14 2005"})
    again = film("KING  KONG", Director="peter jackson", **{"Release Date": "2005"})
    assert old.source_key != new.source_key
    assert new.source_key == again.source_key


@given(st.one_of(ANYTHING, st.fixed_dictionaries(dict.fromkeys(FIELDS, ANYTHING))))
def test_whatever_comes_is_stored_or_refused(row: object) -> None:
    try:
        found = mend(row, latest_year=LATEST)
    except Unusable:
        return
    texts = [found.title, found.source_key, found.director or "", *found.genres]
    assert found.title.strip()
    assert all(len(text) <= TEXT_MAX for text in [found.title, found.director or ""])
    assert all("\x00" not in text and text.encode() is not None for text in texts)
    assert found.released_on is None or FIRST_FILM_YEAR <= found.released_on.year <= LATEST
    assert found.runtime_minutes is None or 0 < found.runtime_minutes <= RUNTIME_MAX
