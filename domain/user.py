"""Who a person is here: their account, their role, and the key by which an address is unique."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

# The floor of ASVS 5 (6.2.1); what is short and common is refused by a list.
PASSWORD_MIN = 8
PASSWORD_MAX = 128
NAME_MAX = 100
# A mailed token is a password for as long as it lives.
MAILED_TOKEN_SECONDS = 30 * 60
# Who asks again sooner gets no second mail: nobody fills another's mailbox.
MAIL_AGAIN_SECONDS = 60


class Role(StrEnum):
    """Everybody but ``USER`` is staff; what each may do is in ``api/policy.py``."""

    OWNER = "owner"
    MANAGER = "manager"
    BOX_OFFICE = "box_office"
    SCANNER = "scanner"
    AUDITOR = "auditor"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Choices:
    """What a person wants to be told by which way.

    What concerns their money or their seats is mailed whatever they chose.
    """

    email: bool = True
    sms: bool = True


ALL = Choices()


@dataclass(frozen=True, slots=True)
class User:
    """An account. ``email`` is as its owner writes it, ``phone`` digits with an optional ``+``."""

    id: UUID
    email: str
    name: str
    phone: str | None
    role: Role
    created_at: datetime
    email_verified: bool = False
    locale: str = "en"
    notifications: Choices = ALL
    second_factor: bool = False


def email_key(email: str) -> str:
    """What two spellings of one address have in common; accounts are unique by it."""
    return unicodedata.normalize("NFKC", email.strip()).casefold()
