"""Who a person is here: their account, their role, and the key by which an address is unique."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

PASSWORD_MIN = 8
PASSWORD_MAX = 128
NAME_MAX = 100


class Role(StrEnum):
    USER = "user"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class User:
    """An account. ``email`` is as its owner writes it, ``phone`` digits with an optional ``+``."""

    id: UUID
    email: str
    name: str
    phone: str | None
    role: Role
    created_at: datetime


def email_key(email: str) -> str:
    """What two spellings of one address have in common; accounts are unique by it."""
    return unicodedata.normalize("NFKC", email.strip()).casefold()
