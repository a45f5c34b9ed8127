"""Which passwords are only a word that is known of their owner, or of us."""

from __future__ import annotations

import pytest

from domain.password import is_a_known_word

ADA = ("countess@lovelace.test", "Ada Byron-King")


@pytest.mark.parametrize(
    ("password", "known", "it_is"),
    [
        ("Ada-1815!", ADA, True),
        ("adabyronking", ADA, True),
        ("ByronKing99", ADA, True),
        ("Countess7", ADA, True),
        ("countess@lovelace.test", ADA, True),
        ("Seathold 2026", ADA, True),
        ("ada byron kings", ADA, False),
        ("lovelace99", ADA, False),
        # Two letters, or a name without any that count, are no word.
        ("al-1815-99", ("al@lovelace.test", "Al King"), False),
        ("4831 2207 9956", ("7@lovelace.test", "李 雷"), False),
    ],
)
def test_a_word_known_of_its_owner_is_no_password(
    password: str, known: tuple[str, ...], it_is: bool
) -> None:
    assert is_a_known_word(password, known) is it_is
