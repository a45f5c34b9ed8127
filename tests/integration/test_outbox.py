"""The outbox from its rows to the sink: once, or more often only with the doubt on record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.notify.render import render
from infra.notify.sms import HttpSmsSender
from infra.notify.smtp import SmtpMailer
from infra.postgres.database import Database
from infra.postgres.outbox import PostgresOutboxQueue
from infra.settings import Settings
from loops.outbox import OutboxLoop
from services.notification import HandingOver, Message
from tests.mail.post import Post, post_of
from tests.mail.process import NO_FAULTS, Sink, running_sink
from tests.sandbox.process import free_port

NOTHING_DUE = text("UPDATE notification_outbox SET state = 'failed', reason = 'another test'")

CHANGES = {
    "title": text("""
    UPDATE movies SET title = 'Alphaville' WHERE id = (
        SELECT movie_id FROM shows JOIN bookings ON show_id = shows.id WHERE bookings.id = :id)
    """),
    "phone": text("UPDATE users SET phone = '+4930123456' WHERE id = :user"),
}


@pytest.fixture(scope="module")
def shared_sink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sink]:
    with running_sink(tmp_path_factory.mktemp("sink") / "mail.sqlite") as sink:
        yield sink


@pytest.fixture
def sink(shared_sink: Sink) -> Iterator[Sink]:
    yield shared_sink
    shared_sink.configure(**NO_FAULTS)


@pytest.fixture
async def sms(settings: Settings, sink: Sink) -> AsyncIterator[HttpSmsSender]:
    sender = HttpSmsSender(sink.settings(settings), total_seconds=1)
    yield sender
    await sender.aclose()


@pytest.fixture(autouse=True)
async def _nothing_else_is_due(engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        await conn.execute(NOTHING_DUE)


@pytest.fixture
async def post(
    engine: AsyncEngine, database: Database, settings: Settings, sink: Sink, sms: HttpSmsSender
) -> Post:
    return await post_of(engine, database, settings, sink, sms, f"+{uuid4().int % 10**14:015d}")


async def test_a_notification_is_sent_once_by_each_channel(post: Post) -> None:
    for _ in range(2):
        await post.queue("email", "sms")
    assert await post.loop.one_pass() == 2
    await post.passes(2)
    [mail] = post.mails()
    [sms] = post.sink.messages(post.phone or "")
    for channel in ("email", "sms"):
        assert await post.state(channel) == ("sent", 1, 0)
    assert mail["headers"]["Message-ID"].startswith(f"<{post.booking_id}-confirmation-1@")
    assert sms["headers"]["Message-ID"] == f"{post.booking_id}-confirmation-1"
    assert (await post.row()).sent_at is not None


async def test_the_mail_tells_what_the_rows_hold(post: Post) -> None:
    await post.queue()
    await post.loop.one_pass()
    [mail] = post.mails()
    assert mail["subject"] == "Your tickets for Metropolis"
    assert "Hello Ada," in mail["text"]
    assert "Seats: A2, A10" in mail["text"]
    assert "Total: 24.00 EUR" in mail["text"]
    assert "Europe/Berlin" in mail["text"]


async def test_an_owner_without_a_phone_gets_no_sms(
    engine: AsyncEngine, database: Database, settings: Settings, sink: Sink, sms: HttpSmsSender
) -> None:
    post = await post_of(engine, database, settings, sink, sms, None)
    await post.queue("email", "sms")
    row = await post.row("sms")
    assert (row.state, row.reason) == ("suppressed", "the owner has no phone number")
    assert row.next_attempt_at is None
    assert await post.loop.one_pass() == 1, "the mail alone is left to send"
    assert len(post.mails()) == 1


async def test_an_owner_whose_phone_is_gone_meanwhile_gets_no_sms(
    post: Post, engine: AsyncEngine
) -> None:
    await post.queue("sms")
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE users SET phone = NULL WHERE phone = :phone"), {"phone": post.phone}
        )
    await post.passes(1)
    row = await post.row("sms")
    assert (row.state, row.reason) == ("suppressed", "the owner has no phone number")


@pytest.mark.parametrize("fault", ["421", "450", "451"])
async def test_a_mail_not_taken_now_is_sent_later(post: Post, fault: str) -> None:
    await post.queue()
    post.sink.configure(smtp=fault, smtp_times=1)
    await post.loop.one_pass()
    assert await post.state() == ("pending", 1, 0)
    assert fault in (await post.row()).reason
    assert await post.loop.one_pass() == 0, "it must pause first"
    await post.passes(1)
    assert await post.state() == ("sent", 2, 0)
    assert (await post.row()).reason is None
    assert len(post.mails()) == 1


@pytest.mark.parametrize("fault", ["550", "554"])
async def test_a_mail_refused_fails_with_the_reason(post: Post, fault: str) -> None:
    await post.queue()
    post.sink.configure(smtp=fault)
    await post.passes(2)
    row = await post.row()
    assert (row.state, row.attempts) == ("failed", 1)
    assert f"the mail server answered {fault}" in row.reason
    assert post.email not in row.reason
    assert post.mails() == []


async def test_a_mail_waits_for_a_server_that_is_down(
    database: Database, settings: Settings, post: Post
) -> None:
    await post.queue()
    down = settings.model_copy(update={"smtp_port": free_port()})
    nobody = OutboxLoop(PostgresOutboxQueue(database), SmtpMailer(down), None, render)  # type: ignore[arg-type]
    await nobody.one_pass()
    assert await post.state() == ("pending", 1, 0)
    await post.passes(1)
    assert await post.state() == ("sent", 2, 0)
    assert len(post.mails()) == 1


async def test_a_lost_answer_is_on_record_before_the_explained_double(post: Post) -> None:
    await post.queue()
    post.sink.configure(smtp="cut_after_data", smtp_times=1)
    await post.loop.one_pass()
    assert await post.state() == ("pending", 1, 1)
    assert (await post.row()).reason.startswith("outcome unknown: no answer to the message")
    await post.passes(2)
    assert await post.state() == ("sent", 2, 1)
    first, second = post.mails()
    assert first["headers"]["Message-ID"] == second["headers"]["Message-ID"]


async def test_after_two_lost_answers_no_third_mail_goes_out(post: Post) -> None:
    await post.queue()
    post.sink.configure(smtp="cut_after_data")
    await post.passes(4)
    assert await post.state() == ("failed", 2, 2)
    assert (await post.row()).reason.startswith("outcome unknown 2 times")
    assert len(post.mails()) == 2


async def test_an_sms_whose_answer_is_lost_is_repeated_and_arrives_once(post: Post) -> None:
    await post.queue("sms")
    post.sink.configure(sms="hang", sms_times=1, hang_ms=3_000)
    await post.loop.one_pass()
    assert await post.state("sms") == ("pending", 1, 1)
    await post.passes(1)
    assert await post.state("sms") == ("sent", 2, 1)
    assert len(post.sink.messages(post.phone or "")) == 1


@pytest.mark.parametrize("changed", ["title", "phone"])
async def test_an_sms_that_would_read_otherwise_by_now_arrived_all_the_same(
    post: Post, engine: AsyncEngine, changed: str
) -> None:
    """Its provider knows the key and refuses the other text: so the lost answer was a yes."""
    await post.queue("sms")
    post.sink.configure(sms="hang", sms_times=1, hang_ms=3_000)
    await post.loop.one_pass()
    assert await post.state("sms") == ("pending", 1, 1)
    async with engine.begin() as connection:
        await connection.execute(CHANGES[changed], {"id": post.booking_id, "user": post.user_id})
    await post.passes(2)
    assert await post.state("sms") == ("sent", 2, 1)
    row = await post.row("sms")
    assert row.reason.startswith("taken at a try whose outcome was unknown: ")
    assert row.sent_at is not None
    [message] = post.sink.messages(post.phone or "")
    assert "Metropolis" in message["text"]


async def test_two_loops_at_once_send_each_notification_once(
    engine: AsyncEngine, database: Database, settings: Settings, sink: Sink, sms: HttpSmsSender
) -> None:
    posts = [await post_of(engine, database, settings, sink, sms, None) for _ in range(6)]
    for post in posts:
        await post.queue()
    elsewhere = Database(settings)
    mailer = SmtpMailer(sink.settings(settings), idle_seconds=0)
    other = OutboxLoop(PostgresOutboxQueue(elsewhere), mailer, sms, render)
    counts = await asyncio.gather(*(loop.one_pass() for loop in (posts[0].loop, other) * 3))
    await elsewhere.close()
    assert sum(counts) == 6
    for post in posts:
        assert len(post.mails()) == 1
        assert await post.state() == ("sent", 1, 0)


class BrokenFor:
    """A mailer with a bug that one address brings out, as late as that can be."""

    def __init__(self, mailer: SmtpMailer, address: str) -> None:
        self._mailer = mailer
        self._address = address

    async def send(
        self, to: str, message: Message, *, reference: str, handing_over: HandingOver | None = None
    ) -> None:
        if to == self._address:
            if handing_over is not None:
                await handing_over()
            raise RuntimeError("a bug")
        await self._mailer.send(to, message, reference=reference, handing_over=handing_over)


async def test_a_bug_with_one_mail_stops_no_other_and_ends_with_a_reason(
    engine: AsyncEngine,
    database: Database,
    settings: Settings,
    sink: Sink,
    sms: HttpSmsSender,
    post: Post,
) -> None:
    healthy = await post_of(engine, database, settings, sink, sms, None)
    mailer = BrokenFor(SmtpMailer(sink.settings(settings), idle_seconds=0), post.email)
    broken = OutboxLoop(PostgresOutboxQueue(database), mailer, sms, render)
    await post.queue()
    await healthy.queue()
    with pytest.raises(RuntimeError, match="a bug"):
        await broken.one_pass()
    assert await healthy.state() == ("sent", 1, 0)

    await post.passes(1)
    await post.due_now()
    with pytest.raises(RuntimeError, match="a bug"):
        await broken.one_pass()
    await post.passes(1)
    assert await post.state() == ("failed", 2, 2)


async def test_what_is_rolled_back_is_never_told(post: Post) -> None:
    async def changes_its_mind() -> None:
        async with post.database.transaction() as session:
            post.queue_in(session, "email")
            await session.flush()
            raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError, match="changed my mind"):
        await changes_its_mind()
    assert await post.loop.one_pass() == 0
    assert post.mails() == []


async def test_the_amount_on_its_way_back_is_read_when_the_mail_is_sent(post: Post) -> None:
    await post.queue(template="refund")
    for reason, status in (("duplicate", "succeeded"), ("late", "pending"), ("late", "failed")):
        await post.add_refund(reason, status)
    await post.loop.one_pass()
    [mail] = post.mails()
    assert mail["subject"] == "A second payment goes back to you: 24.00 EUR"
    assert "had been paid already" in mail["text"]
    assert "time to pay" not in mail["text"], "another message tells of the other refund"


async def test_a_refund_that_failed_is_not_announced(post: Post) -> None:
    await post.queue(template="refund")
    await post.add_refund("late", "failed")
    await post.loop.one_pass()
    assert (await post.row()).state == "failed"


async def test_a_refund_nobody_makes_is_not_announced(post: Post) -> None:
    await post.queue(template="refund")
    await post.loop.one_pass()
    row = await post.row()
    assert (row.state, row.reason) == ("failed", "refused: no refund of this booking stands")
