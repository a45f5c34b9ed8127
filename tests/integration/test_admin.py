"""``seathold admin``: an owner once, never a way into an account; a lost second factor."""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner

from domain.errors import Conflict, Invalid, NotFound
from infra.passwords import Argon2Passwords
from infra.postgres.database import Database
from infra.postgres.engine import create_engine
from infra.postgres.second_factor import PostgresSecondFactors
from infra.settings import Settings
from seathold.admin import create_admin, reset_second_factor
from seathold.cli import app
from services.second_factor import Factor
from tests.conftest import WORKER
from tests.factories import create_user
from tests.fixtures import servers
from tests.helpers.mailed import letters_to

ACCOUNTS = text("SELECT email, role, password_hash FROM users WHERE email_key = :key")
IDS = text("SELECT id FROM users WHERE email_key = :key")
OWNERS = text("SELECT email_key FROM users WHERE role = 'owner'")
AUDITED = text(
    "SELECT action, actor, reason FROM audit_log WHERE target = :target ORDER BY id DESC LIMIT 1"
)
PASSWORD = "three words make a password"


@pytest.fixture
def empty(settings: Settings) -> Settings:
    """A database without anybody."""
    name = f"seathold_admin_{WORKER}"
    url = servers.make_database(os.environ[servers.DATABASE], name)
    return servers.settings_for(servers.as_app(url), settings.redis_url.get_secret_value())


@pytest.fixture
async def nobody(empty: Settings) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(empty)
    yield engine
    await engine.dispose()


async def owners(engine: AsyncEngine) -> list[str]:
    async with engine.connect() as connection:
        return list((await connection.execute(OWNERS)).scalars())


async def test_of_many_first_owners_at_once_there_is_one(
    empty: Settings, nobody: AsyncEngine
) -> None:
    asked = (create_admin(empty, f"boss-{n}@example.test", PASSWORD) for n in range(4))
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(one) for one in answers if one is not None] == [Conflict] * 3
    assert len(await owners(nobody)) == 1

    with pytest.raises(Conflict, match="--another"):
        await create_admin(empty, "late@example.test", PASSWORD)
    await create_admin(empty, "late@example.test", PASSWORD, another=True)
    assert len(await owners(nobody)) == 2, "the control: who says so gets one more"


async def test_an_account_that_exists_is_left_as_it_is_under_any_spelling(
    settings: Settings, engine: AsyncEngine
) -> None:
    key = f"boss-{uuid4().hex[:8]}@example.test"
    spelling = key.replace("boss", "BOSS")
    await create_admin(settings, spelling, "the first password of mine", another=True)
    with pytest.raises(Conflict) as refused:
        await create_admin(settings, key, "another password of mine", another=True)
    assert refused.value.code == "email_taken"
    async with engine.connect() as connection:
        ((email, role, stored),) = (await connection.execute(ACCOUNTS, {"key": key})).all()
    assert (email, role) == (spelling, "owner")
    passwords = Argon2Passwords(workers=1)
    assert await passwords.matches(stored, "the first password of mine")
    assert not await passwords.matches(stored, "another password of mine")
    passwords.close()


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("no address", PASSWORD),
        ("boss@localhost", PASSWORD),
        ("boss@example.test", "short"),
        ("boss@example.test", "password1"),
        ("grace.hopper@example.test", "grace.hopper1906"),
    ],
)
async def test_what_registration_would_not_take_is_refused(
    settings: Settings, email: str, password: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await create_admin(settings, email, password, another=True)
    [told] = refused.value.data["errors"]
    assert password not in told["message"]


def test_the_command_says_what_was_wrong(empty: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEATHOLD_DATABASE_URL", empty.database_url.get_secret_value())
    monkeypatch.setenv("SEATHOLD_ADMIN_PASSWORD", "sunshine")
    create = ["admin", "create", "--email", "boss@example.test"]
    weak = CliRunner().invoke(app, create)
    assert weak.exit_code == 1
    assert "tried first" in weak.output
    monkeypatch.setenv("SEATHOLD_ADMIN_PASSWORD", PASSWORD)
    made = CliRunner().invoke(app, create)
    assert (made.exit_code, made.output) == (0, "boss@example.test is an owner now.\n")
    again = CliRunner().invoke(app, create)
    assert again.exit_code == 1
    assert "There is an owner already" in again.output


def test_no_password_is_asked_for_an_address_that_cannot_be(
    empty: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEATHOLD_DATABASE_URL", empty.database_url.get_secret_value())
    monkeypatch.delenv("SEATHOLD_ADMIN_PASSWORD", raising=False)
    typed = f"{PASSWORD}\n{PASSWORD}\n"

    def create(email: str, *more: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["admin", "create", "--email", email, *more], input=typed)
        return done.exit_code, done.output

    code, told = create("no address")
    assert (code, "Password" in told) == (1, False)
    assert told.endswith("\nemail: An email address must have an @-sign.\n")
    code, told = create("boss@example.test")
    assert (code, "Password" in told) == (0, True), "the control"
    code, told = create("late@example.test")
    assert (code, "Password" in told) == (1, False)
    assert "There is an owner already" in told
    code, told = create("BOSS@example.test", "--another")
    assert (code, "Password" in told) == (1, False)
    assert "has an account already" in told


async def test_an_owners_domain_may_be_in_its_own_letters_or_in_ascii(
    settings: Settings, engine: AsyncEngine, database: Database
) -> None:
    name = f"boss-{uuid4().hex[:8]}"
    await create_admin(settings, f"{name}@exämple.test", PASSWORD, another=True)
    with pytest.raises(Conflict) as refused:
        await create_admin(settings, f"{name}@xn--exmple-cua.test", PASSWORD, another=True)
    assert refused.value.code == "email_taken"
    async with engine.connect() as connection:
        user_id = await connection.scalar(IDS, {"key": f"{name}@exämple.test"})
    await PostgresSecondFactors(database).begin(user_id, b"sealed")
    ended = await reset_second_factor(settings, f"{name}@xn--exmple-cua.test", "lost it")
    assert ended == 0


async def test_who_lost_a_second_factor_is_without_one_and_logged_out(
    settings: Settings, engine: AsyncEngine, database: Database
) -> None:
    user_id = await create_user(engine)
    email, factors = f"{user_id}@example.test", PostgresSecondFactors(database)
    with pytest.raises(NotFound):
        await reset_second_factor(settings, email, "lost the telephone")
    await factors.begin(user_id, b"sealed")
    confirmed = await factors.confirm(
        user_id, Factor(b"sealed", False), 1, [b"x" * 32], session_id=uuid4(), request_id=None
    )
    assert confirmed is not None
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO sessions (id, user_id, token_hash, idle_expires_at, expires_at)"
                " VALUES (:id, :user, 'x', now() + interval '1 day', now() + interval '1 day')"
            ),
            {"id": uuid4(), "user": user_id},
        )
    assert await reset_second_factor(settings, email.upper(), "lost the telephone") == 1
    assert await factors.read(user_id) is None
    assert not await factors.use_recovery(user_id, b"x" * 32)
    async with engine.connect() as connection:
        [audited] = await connection.execute(AUDITED, {"target": f"user:{user_id}"})
    actor = f"operator:{getpass.getuser()}"
    assert tuple(audited) == ("second_factor.removed", actor, "lost the telephone")
    assert (await letters_to(engine, str(user_id)))[-1] == "second_factor_removed"


def test_a_reset_asks_first(empty: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEATHOLD_DATABASE_URL", empty.database_url.get_secret_value())
    reset = ["admin", "reset-second-factor", "--email", "a@example.test", "--reason", "lost"]
    assert CliRunner().invoke(app, reset, input="n\n").exit_code == 1
    unknown = CliRunner().invoke(app, reset, input="y\n")
    assert unknown.exit_code == 1
    assert "No account with a second factor" in unknown.output
    assert CliRunner().invoke(app, [*reset[:-1], " ", "--yes"]).exit_code == 2
