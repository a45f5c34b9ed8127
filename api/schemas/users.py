"""Accounts on the wire."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Literal, Self
from uuid import UUID

from email_validator import EmailNotValidError, validate_email
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    model_validator,
)

from api.schemas.bookings import BookingOut
from api.schemas.common import ApiModel, Id, NextPage, example
from domain.user import NAME_MAX, PASSWORD_MAX, PASSWORD_MIN, Role

EMAIL_MAX = 254
# Separators that people write into a telephone number.
SEPARATORS = re.compile(r"[ ()./-]")
PHONE = re.compile(r"\+?[0-9]{5,15}")


def _email(value: str) -> str:
    """The address as mail can be sent to it; only its form is checked."""
    try:
        # ``.test`` is for development and tests, and no address there can be anybody's.
        found = validate_email(
            value, check_deliverability=False, test_environment=True, allow_smtputf8=False
        )
    except EmailNotValidError as error:
        raise ValueError(str(error)) from error
    return found.normalized


def _phone(value: str) -> str:
    number = SEPARATORS.sub("", value)
    if not PHONE.fullmatch(number):
        raise ValueError("give 5 to 15 digits, best with the country's code: +4915112345678")
    return number


def _printable(value: str) -> str:
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise ValueError("control characters are not part of a name")
    return value


Email = Annotated[
    str, Field(max_length=EMAIL_MAX, examples=["ada@example.test"]), AfterValidator(_email)
]
Phone = Annotated[str, Field(max_length=40, examples=["+4915112345678"]), AfterValidator(_phone)]
Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=NAME_MAX),
    AfterValidator(_printable),
    Field(examples=["Ada Lovelace"]),
]
NewPassword = Annotated[
    str,
    Field(
        min_length=PASSWORD_MIN, max_length=PASSWORD_MAX, examples=["three words make a password"]
    ),
]
# BCP 47, as far as messages can differ by it: a language, and where it is spoken.
Locale = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Z]{2})?$", examples=["en", "de-AT"])]
# What is compared and not kept is not checked for form.
AnyAddress = Annotated[str, Field(min_length=1, max_length=320, examples=["ada@example.test"])]
AnyPassword = Annotated[
    str, Field(min_length=1, max_length=1024, examples=["three words make a password"])
]
# Six digits of an app, or a recovery code.
Code = Annotated[str, Field(min_length=1, max_length=40, examples=["492039"])]
MailedToken = Annotated[
    str,
    Field(min_length=1, max_length=512, examples=["Yk5Hn8Ws1Zc4Jf6Pgq3Vd0mB7xT9Lr2Yk5Hn8Ws1Zc4"]),
]
RefreshToken = Annotated[
    str, Field(min_length=1, max_length=512, examples=["q3Vd0mB7xT9Lr2Yk5Hn8Ws1Zc4Jf6Pg"])
]


class RegisterBody(ApiModel):
    email: Email
    password: NewPassword
    name: Name
    phone: Phone | None = None


class ChoicesBody(ApiModel):
    """What you want to be told by which way; what concerns your money is mailed in any case."""

    email: Annotated[StrictBool | None, Field(examples=[True])] = None
    sms: Annotated[StrictBool | None, Field(examples=[False])] = None


class ProfileBody(ApiModel):
    """What is not named stays; ``phone`` may be null."""

    name: Name | None = None
    phone: Phone | None = None
    locale: Locale | None = None
    notifications: ChoicesBody | None = None

    @model_validator(mode="after")
    def refuse_nothing(self) -> Self:
        for field in ("name", "locale", "notifications"):
            if field in self.model_fields_set and getattr(self, field) is None:
                raise ValueError(f"{field} cannot be taken away")
        return self

    def changes(self) -> dict[str, str | bool | None]:
        """The columns that are named, with their values."""
        named: dict[str, str | bool | None] = {
            field: getattr(self, field)
            for field in ("name", "phone", "locale")
            if field in self.model_fields_set
        }
        if self.notifications is not None:
            chosen = {
                "notify_email": self.notifications.email,
                "notify_sms": self.notifications.sms,
            }
            named |= {column: wish for column, wish in chosen.items() if wish is not None}
        return named


class ForgotBody(ApiModel):
    """Not checked for form: an address that cannot be is one that is not known."""

    email: AnyAddress


class MailedTokenBody(ApiModel):
    token: MailedToken


class ResetBody(ApiModel):
    token: MailedToken
    password: NewPassword


class PasswordBody(ApiModel):
    current_password: AnyPassword
    new_password: NewPassword


class LoginBody(ApiModel):
    """Not checked for form: an address that cannot be is one that is not known."""

    email: AnyAddress
    password: AnyPassword
    code: Code | None = None


class FactorBody(ApiModel):
    password: AnyPassword


class EndSessionsBody(ApiModel):
    """Asked for again: a token in other hands must not lock its owner out everywhere."""

    password: AnyPassword
    session_id: Id | None = None


class CodeBody(ApiModel):
    code: Code


class RemoveFactorBody(ApiModel):
    password: AnyPassword
    code: Code


class RefreshBody(ApiModel):
    refresh_token: RefreshToken


class ChoicesOut(BaseModel):
    """What is mailed or sent as SMS besides what concerns money or seats."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"email": True, "sms": False}]})

    email: bool
    sms: bool


class UserOut(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "6d0f3f52-3c4b-4c0e-9a53-8c1f4a0a7b11",
                    "email": "ada@example.test",
                    "email_verified": True,
                    "name": "Ada Lovelace",
                    "phone": "+4915112345678",
                    "locale": "en",
                    "notifications": {"email": True, "sms": True},
                    "second_factor": False,
                    "role": "user",
                    "created_at": "2026-11-24T09:15:00.000Z",
                }
            ]
        }
    )

    id: UUID
    email: str
    email_verified: bool
    name: str
    phone: str | None
    locale: str
    notifications: ChoicesOut
    second_factor: bool
    role: Role
    created_at: str


class SignedInOut(BaseModel):
    """``expires_in``: seconds of the access token. A refresh token is good for one use."""

    user: UserOut
    access_token: Annotated[str, Field(examples=["eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl"])]
    token_type: Literal["Bearer"]
    expires_in: Annotated[int, Field(examples=[600])]
    refresh_token: RefreshToken


class SessionOut(BaseModel):
    """``client``: what it was opened with, in our words. ``expires_at``: unless it is refreshed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "0b5c8c0e-6f0a-4b1e-9d53-3f6a2f0f2a11",
                    "client": "Firefox on Linux",
                    "created_at": "2026-11-24T09:15:00.000Z",
                    "refreshed_at": "2026-11-24T09:25:00.000Z",
                    "expires_at": "2026-12-08T09:25:00.000Z",
                    "second_factor": False,
                    "current": True,
                }
            ]
        }
    )

    id: UUID
    client: str | None
    created_at: str
    refreshed_at: str
    expires_at: str
    second_factor: bool
    current: bool


class SessionsOut(BaseModel):
    items: list[SessionOut]
    next: NextPage


class EnrolmentOut(BaseModel):
    """What the authenticator app is given; shown this once."""

    model_config = example(
        secret="JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",  # nosec B106
        uri="otpauth://totp/Seathold:ada%40example.test?secret=JBSWY3DP&issuer=Seathold",
    )

    secret: str
    uri: str


class RecoveryCodesOut(BaseModel):
    """Each logs in once in place of the app; shown this once."""

    model_config = example(recovery_codes=["mfrgg3-dfmztw-q2lknn-wg23tp"])

    recovery_codes: list[str]


class MessageOut(BaseModel):
    model_config = example(
        template="confirmation",
        channel="email",
        state="sent",
        queued_at="2026-11-24T09:15:00.000Z",
        sent_at="2026-11-24T09:15:01.000Z",
    )

    template: str
    channel: Literal["email", "sms"]
    state: str
    queued_at: str
    sent_at: str | None


class DoneOut(BaseModel):
    model_config = example(at="2026-11-24T09:15:00.000Z", type="UserRegistered")

    at: str
    type: str


class ExportOut(BaseModel):
    """Everything that is stored of a person; bookings newest first."""

    user: UserOut
    sessions: list[SessionOut]
    bookings: list[BookingOut]
    messages: list[MessageOut]
    events: list[DoneOut]
