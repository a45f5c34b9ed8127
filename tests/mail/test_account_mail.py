"""What the owner of an account is told, through the outbox and a real mail server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.keys import KeyRing
from infra.notify.account import SUBJECTS, account_render
from infra.notify.sms import HttpSmsSender
from infra.notify.smtp import SmtpMailer
from infra.opaque_tokens import OpaqueTokens, hashed
from infra.postgres.account_mail import PostgresAccountOutbox, queue
from infra.postgres.database import Database
from infra.postgres.password import PostgresPasswords
from infra.settings import Settings
from loops.outbox import OutboxLoop
from services.account_mail import AccountNotice
from tests.factories import create_user
from tests.mail.process import Sink

STATE = text("SELECT state, reason FROM notification_outbox WHERE user_id = :user")
ATTEMPTS = text("SELECT attempts FROM notification_outbox WHERE user_id = :user")
ERASE = text("UPDATE users SET email = NULL, email_key = NULL WHERE id = :user")
OVER = text("UPDATE account_tokens SET expires_at = now() WHERE user_id = :user")
KEPT = text("SELECT token_hash FROM account_tokens WHERE user_id = :user")


@dataclass
class Desk:
    engine: AsyncEngine
    database: Database
    sink: Sink
    loop: OutboxLoop[AccountNotice]
    passwords: PostgresPasswords
    user_id: UUID

    @property
    def email(self) -> str:
        return f"{self.user_id}@example.test"

    async def state(self) -> tuple[str, str | None]:
        async with self.engine.connect() as connection:
            row = (await connection.execute(STATE, {"user": self.user_id})).one()
        return row.state, row.reason

    async def send(self) -> None:
        """Passes until this desk's message was tried: those of other tests come before it."""
        while not await self.attempts():
            assert await self.loop.one_pass() > 0

    async def attempts(self) -> int:
        async with self.engine.connect() as connection:
            found = await connection.scalar(ATTEMPTS, {"user": self.user_id})
        return int(found)

    async def run(self, statement: object) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(statement, {"user": self.user_id})  # type: ignore[call-overload]


@pytest.fixture
async def desk(
    engine: AsyncEngine, database: Database, settings: Settings, sink: Sink
) -> AsyncIterator[Desk]:
    mailer, sms = SmtpMailer(sink.settings(settings)), HttpSmsSender(sink.settings(settings))
    tokens = OpaqueTokens(settings.key_ring)
    loop = OutboxLoop(
        PostgresAccountOutbox(database, tokens),
        mailer,
        sms,
        account_render("https://seats.example.test/account/"),
    )
    passwords = PostgresPasswords(database, tokens)
    yield Desk(engine, database, sink, loop, passwords, await create_user(engine))
    await mailer.aclose()
    await sms.aclose()


@pytest.mark.parametrize(
    ("template", "page"), [("verify_email", "verify"), ("reset_password", "reset")]
)
async def test_a_mail_carries_the_token_whose_hash_is_kept(
    desk: Desk, template: str, page: str
) -> None:
    if template == "verify_email":
        await desk.passwords.mail_verification(desk.user_id)
    else:
        await desk.passwords.mail_reset(desk.email)
    await desk.send()
    assert await desk.state() == ("sent", None)
    [mail] = desk.sink.messages(desk.email)
    assert mail["subject"] == SUBJECTS[template]
    link = next(line for line in mail["text"].splitlines() if line.startswith("https://"))
    address, _, token = link.partition("#")
    assert address == f"https://seats.example.test/account/{page}"
    assert link in mail["html"]
    assert "30 minutes" in mail["text"]
    async with desk.engine.connect() as connection:
        kept = await connection.scalar(KEPT, {"user": desk.user_id})
    assert bytes(kept) == hashed(token)


@pytest.mark.parametrize(("asked", "sent"), [("old", "new"), ("new", "old")])
async def test_while_a_seed_is_replaced_a_mail_carries_the_token_that_will_be_taken(
    desk: Desk, asked: str, sent: str
) -> None:
    """The API and the worker are not started anew at the same moment: both know both seeds."""
    rings = {"old": KeyRing("of old", ["of new"]), "new": KeyRing("of new", ["of old"])}
    passwords = PostgresPasswords(desk.database, OpaqueTokens(rings[asked]))
    await passwords.mail_reset(desk.email)
    outbox = PostgresAccountOutbox(desk.database, OpaqueTokens(rings[sent]))
    taken = {notice.email: notice for _, notice in await outbox.take(1000, lease_seconds=60)}
    token = taken[desk.email].token
    assert token is not None
    assert await passwords.owner_of_token(token) is not None


async def test_a_token_of_a_seed_that_is_gone_is_not_mailed(desk: Desk) -> None:
    await desk.passwords.mail_reset(desk.email)
    outbox = PostgresAccountOutbox(desk.database, OpaqueTokens(KeyRing("of another time")))
    taken = {notice.email: notice for _, notice in await outbox.take(1000, lease_seconds=60)}
    assert taken[desk.email].token is None


@pytest.mark.parametrize(
    "template", ["password_changed", "second_factor_added", "second_factor_removed"]
)
async def test_a_change_that_a_thief_would_make_is_told(desk: Desk, template: str) -> None:
    async with desk.database.transaction() as session:
        queue(session, user_id=desk.user_id, template=template, reference=uuid4())
    await desk.send()
    [mail] = desk.sink.messages(desk.email)
    assert mail["subject"] == SUBJECTS[template]
    assert "If it was not you" in mail["text"]
    assert "UTC" in mail["html"]


async def test_a_token_that_is_over_is_not_sent(desk: Desk) -> None:
    await desk.passwords.mail_reset(desk.email)
    await desk.run(OVER)
    await desk.send()
    assert await desk.state() == ("failed", "refused: its code is used or over")
    assert desk.sink.messages(desk.email) == []


async def test_an_erased_account_is_told_nothing(desk: Desk) -> None:
    await desk.passwords.mail_verification(desk.user_id)
    await desk.run(ERASE)
    await desk.send()
    assert await desk.state() == ("suppressed", "the owner's account is erased")


async def test_a_mail_server_that_is_away_is_tried_again(desk: Desk) -> None:
    desk.sink.configure(smtp="451")
    await desk.passwords.mail_verification(desk.user_id)
    await desk.send()
    assert (await desk.state())[0] == "pending"
