"""The 11,600 commonest passwords that are long enough to be chosen."""

from __future__ import annotations

from functools import cache

from zxcvbn.frequency_lists import FREQUENCY_LISTS

from domain.user import PASSWORD_MIN


@cache
def common_passwords() -> frozenset[str]:
    """From leaked lists, in lower case, by the ``zxcvbn`` package."""
    return frozenset(word for word in FREQUENCY_LISTS["passwords"] if len(word) >= PASSWORD_MIN)
