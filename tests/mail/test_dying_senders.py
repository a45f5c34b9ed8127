"""Senders that end before they know: a mail is doubled once at most, and lost by none of them."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.notify.render import render
from infra.notify.sms import HttpSmsSender
from infra.notify.smtp import SmtpMailer
from infra.postgres.database import Database
from infra.postgres.outbox import PostgresOutboxQueue
from infra.settings import Settings
from loops.edge import repeat
from loops.outbox import OutboxLoop
from services.notification import HandingOver, Message, Notice
from tests.mail.post import Post, post_of
from tests.mail.process import Sink
from tests.sandbox.process import eventually

NOTHING_DUE = text("UPDATE notification_outbox SET state = 'failed', reason = 'another test'")


@pytest.fixture
async def sms(settings: Settings, sink: Sink) -> AsyncIterator[HttpSmsSender]:
    sender = HttpSmsSender(sink.settings(settings))
    yield sender
    await sender.aclose()


@pytest.fixture
async def post(
    engine: AsyncEngine, database: Database, settings: Settings, sink: Sink, sms: HttpSmsSender
) -> Post:
    """Nothing but its own mail is due."""
    async with engine.begin() as connection:
        await connection.execute(NOTHING_DUE)
    return await post_of(engine, database, settings, sink, sms, None)


def send_until_killed(settings: Settings) -> None:
    """A worker's outbox loop in a process of its own."""

    async def main() -> None:
        database, sms = Database(settings), HttpSmsSender(settings)
        loop = OutboxLoop(PostgresOutboxQueue(database), SmtpMailer(settings), sms, render)
        await repeat("outbox", loop, full=1, rest_seconds=0.05, stop=asyncio.Event())

    asyncio.run(main())


async def test_a_sender_killed_before_it_knew_leaves_one_explained_double(
    settings: Settings, post: Post
) -> None:
    post.sink.configure(smtp="slow", smtp_times=1, slow_ms=20_000)
    process = multiprocessing.get_context("spawn").Process(
        target=send_until_killed, args=(post.sink.settings(settings),), daemon=True
    )
    process.start()
    await post.queue()
    await asyncio.to_thread(eventually, post.mails, 30)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    assert await post.state() == ("sending", 1, 0)
    assert await post.loop.one_pass() == 0, "the lease still runs"

    await post.passes(1)
    assert await post.state() == ("pending", 1, 1)
    assert (await post.row()).reason == "outcome unknown: the sender ended before it knew"
    assert len(post.mails()) == 1, "the doubt is on record before the second mail"

    await post.passes(1)
    assert await post.state() == ("sent", 2, 1)
    first, second = post.mails()
    assert first["headers"]["Message-ID"] == second["headers"]["Message-ID"]


class GatedMailer:
    """Lets a mail go when told to."""

    def __init__(self, mailer: SmtpMailer) -> None:
        self._mailer = mailer
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    async def send(
        self, to: str, message: Message, *, reference: str, handing_over: HandingOver | None = None
    ) -> None:
        self.reached.set()
        await self.go.wait()
        await self._mailer.send(to, message, reference=reference, handing_over=handing_over)


async def test_a_sender_that_slept_past_its_lease_cannot_speak_for_the_next_try(
    settings: Settings, sms: HttpSmsSender, post: Post
) -> None:
    gated = GatedMailer(SmtpMailer(post.sink.settings(settings), idle_seconds=0))
    sleeper = OutboxLoop(PostgresOutboxQueue(post.database), gated, sms, render)
    await post.queue()
    asleep = asyncio.create_task(sleeper.one_pass())
    await gated.reached.wait()
    await post.passes(2)
    before = await post.row()
    gated.go.set()
    await asleep
    assert await post.row() == before
    assert await post.state() == ("sent", 2, 1)
    assert len(post.mails()) == 2


@asynccontextmanager
async def dying(loop: OutboxLoop[Notice]) -> AsyncIterator[None]:
    """A pass whose process dies at the end of the block."""
    sending = asyncio.create_task(loop.one_pass())
    yield
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)


async def test_a_mail_that_was_never_handed_over_outlives_any_number_of_senders(
    settings: Settings, sms: HttpSmsSender, post: Post
) -> None:
    await post.queue()
    for attempt in range(1, 4):
        gated = GatedMailer(SmtpMailer(post.sink.settings(settings), idle_seconds=0))
        await post.due_now()
        async with dying(OutboxLoop(PostgresOutboxQueue(post.database), gated, sms, render)):
            await gated.reached.wait()
        await post.passes(1)
        assert await post.state() == ("pending", attempt, 1)
    assert (await post.row()).reason == "the sender ended before it handed the mail over"
    await post.passes(1)
    assert await post.state() == ("sent", 4, 1)
    assert len(post.mails()) == 1


async def test_after_doubt_a_sender_that_dies_with_the_mail_on_its_way_was_the_last(
    post: Post,
) -> None:
    await post.queue()
    post.sink.configure(smtp="cut_after_data", smtp_times=1)
    await post.passes(1)
    post.sink.configure(smtp="slow", smtp_times=1, slow_ms=20_000)
    await post.due_now()
    async with dying(post.loop):
        await asyncio.to_thread(eventually, lambda: len(post.mails()) == 2, 30)
    await post.passes(2)
    assert await post.state() == ("failed", 2, 2)
    assert len(post.mails()) == 2


async def test_what_was_noted_of_one_try_says_nothing_of_the_next(
    settings: Settings, sms: HttpSmsSender, post: Post
) -> None:
    await post.queue()
    for fault in ("cut_after_data", "451"):
        post.sink.configure(smtp=fault, smtp_times=1)
        await post.passes(1)
    assert await post.state() == ("pending", 2, 1)
    gated = GatedMailer(SmtpMailer(post.sink.settings(settings), idle_seconds=0))
    await post.due_now()
    async with dying(OutboxLoop(PostgresOutboxQueue(post.database), gated, sms, render)):
        await gated.reached.wait()
    await post.passes(1)
    assert await post.state() == ("pending", 3, 1)


async def test_after_doubt_a_sender_that_slept_past_its_lease_hands_nothing_over(
    settings: Settings, sms: HttpSmsSender, post: Post
) -> None:
    await post.queue()
    post.sink.configure(smtp="cut_after_data", smtp_times=1)
    await post.passes(1)
    gated = GatedMailer(SmtpMailer(post.sink.settings(settings), idle_seconds=0))
    sleeper = OutboxLoop(PostgresOutboxQueue(post.database), gated, sms, render)
    await post.due_now()
    asleep = asyncio.create_task(sleeper.one_pass())
    await gated.reached.wait()
    await post.passes(2)
    gated.go.set()
    await asleep
    assert await post.state() == ("sent", 3, 1)
    assert len(post.mails()) == 2
