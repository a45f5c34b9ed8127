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
# Folding makes other letters of these; domains that differ by them belong to two (IDNA 2008).
KEPT_LETTERS = "ßẞς"


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
    """What all spellings of one address have in common; accounts are unique by it.

    A domain is the same in its own letters and as ``xn--``. What is no address has a key too.
    """
    name, at, domain = unicodedata.normalize("NFKC", email.strip()).rpartition("@")
    labels = domain.replace("。", ".").split(".")
    return name.casefold() + at + ".".join(map(_label_key, labels))


def _label_key(label: str) -> str:
    letters = unicodedata.normalize("NFKC", _in_letters(label))
    return "".join(one.lower() if one in KEPT_LETTERS else one.casefold() for one in letters)


def _in_letters(label: str) -> str:
    if label[:4].lower() != "xn--":
        return label
    try:
        letters = label[4:].encode("ascii").decode("punycode")
        letters.encode()  # half a character can be written so, and no database takes it
    except UnicodeError:
        return label
    return letters
