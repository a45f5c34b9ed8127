"""Accounts from the command line: the first owner, and a second factor that was lost."""

from __future__ import annotations

from typing import TypeVar
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import text

from api.schemas.users import Email, NewPassword
from domain.errors import Conflict, Invalid, NotFound
from domain.user import email_key
from infra.passwords import Argon2Passwords
from infra.postgres.database import Database
from infra.postgres.second_factor import PostgresSecondFactors
from infra.postgres.staff import LOCK_OWNERS
from infra.settings import Settings
from seathold.who import account
from services.password import require_hard_to_guess

NAME = "Owner"
# Held until the commit, and what follows reads what was committed before: of two who make the first
# owner at once, the second sees the first's.
ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('seathold first owner', 0))")
TAKEN = text("SELECT id FROM users WHERE email_key = :key")
CREATE = text("""
WITH created AS (
    INSERT INTO users (id, email, email_key, name, password_hash, role)
    VALUES (:id, :email, :key, :name, :hash, 'owner')
    ON CONFLICT (email_key) DO NOTHING
    RETURNING id
), noted AS (
    INSERT INTO audit_log (actor, role, action, target, reason, details)
    SELECT 'operator:' || :operator, 'operator', 'user.create', 'user:' || id,
           'from the command line', '{"role": "owner"}'
    FROM created
)
SELECT id FROM created
""")


class Address(BaseModel):
    """Judged as at the registration."""

    model_config = ConfigDict(hide_input_in_errors=True)

    email: Email


class NewOwner(Address):
    password: NewPassword


Shape = TypeVar("Shape", bound=BaseModel)


async def refuse_owner(settings: Settings, email: str, *, another: bool) -> None:
    """Say what ``create_admin`` will, as far as it is known without the password.

    Raises:
        Invalid: no address.
        Conflict: there is an owner, or ``email_taken``.
    """
    address, database = _judged(Address, email=email).email, Database(settings)
    try:
        async with database.transaction() as session:
            if not another and await session.all(LOCK_OWNERS):
                raise _there_is_one()
            if await session.one(TAKEN, key=email_key(address)) is not None:
                raise _taken()
    finally:
        await database.close()


async def create_admin(
    settings: Settings, email: str, password: str, *, another: bool = False
) -> None:
    """Create an owner: the first, unless ``another`` is asked for.

    Raises:
        Invalid: no address, or a password that registration would not take.
        Conflict: there is an owner, or ``email_taken``: an account is left as it is.
    """
    new = _judged(NewOwner, email=email, password=password)
    passwords, database = Argon2Passwords(workers=1), Database(settings)
    try:
        require_hard_to_guess(passwords, new.password, (new.email, NAME), field="password")
        hashed = await passwords.hash(new.password)
        async with database.transaction() as session:
            session.later(ONE_AT_A_TIME)
            if await session.all(LOCK_OWNERS) and not another:
                raise _there_is_one()
            created = await session.one(
                CREATE,
                id=uuid4(),
                email=new.email,
                key=email_key(new.email),
                name=NAME,
                hash=hashed,
                operator=account(),
            )
        if created is None:
            raise _taken()
    finally:
        await database.close()
        passwords.close()


async def reset_second_factor(settings: Settings, email: str, reason: str) -> int:
    """Remove the account's second factor; how many sessions ended with it.

    Raises:
        NotFound: no such account, or one without a second factor.
    """
    database = Database(settings)
    try:
        ended = await PostgresSecondFactors(database).reset(
            email_key(email), actor=f"operator:{account()}", reason=reason
        )
    finally:
        await database.close()
    if ended is None:
        raise NotFound("No account with a second factor has this address.")
    return len(ended)


def _there_is_one() -> Conflict:
    return Conflict(
        "There is an owner already, who can invite others (POST /api/admin/staff);"
        " --another makes one more all the same."
    )


def _taken() -> Conflict:
    return Conflict("This address has an account already.", code="email_taken")


def _judged(shape: type[Shape], **given: str) -> Shape:
    try:
        return shape(**given)
    except ValidationError as error:
        errors = [
            {
                "in": "option",
                "field": str(one["loc"][0]),
                "message": f"{one['loc'][0]}: {one['msg'].removeprefix('Value error, ')}",
            }
            for one in error.errors(include_input=False)
        ]
        raise Invalid("No account was made.", errors=errors) from None
