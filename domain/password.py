"""What is no password: a word that is known of its owner, or of us."""

from __future__ import annotations

import re
from collections.abc import Iterable

OURS = ("seathold", "password")
NO_LETTER = re.compile(r"[^a-z]")
SHORTEST_WORD = 3


def is_a_known_word(password: str, known: Iterable[str]) -> bool:
    """Whether ``password`` is one of those words but for case, digits and signs.

    ``known``: the address and the name of its owner.
    """
    return _letters(password) in {
        word for told in (*known, *OURS) for word in _words(told) if len(word) >= SHORTEST_WORD
    }


def _words(told: str) -> Iterable[str]:
    """What is before its ``@``, or all of it without one, and each word of it; letters only."""
    return [_letters(told.partition("@")[0]), *map(_letters, told.split())]


def _letters(text: str) -> str:
    return NO_LETTER.sub("", text.casefold())
