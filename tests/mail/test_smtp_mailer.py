"""The mailer against a real SMTP server, well and unwell."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from infra.notify.render import render
from infra.notify.smtp import SmtpMailer
from infra.settings import Settings
from services.notification import Ambiguous, Message, NotSent, Refused, SendError
from tests.mail.notices import notice
from tests.mail.process import Sink
from tests.sandbox.process import free_port

MESSAGE = Message("Your tickets", "Hello\n", "<p>Hello</p>")


def mailer_of(sink: Sink, **options: float) -> SmtpMailer:
    """A mailer that keeps no connection open behind its test."""
    return SmtpMailer(sink.settings(Settings(_env_file=None)), idle_seconds=0, **options)


def fresh_address() -> str:
    return f"{uuid4().hex}@example.test"


async def test_a_mail_arrives_whole(sink: Sink) -> None:
    to, told = fresh_address(), notice(movie="Amélie … 東京")
    await mailer_of(sink).send(to, render(told, "email"), reference=told.key)
    [mail] = sink.messages(to)
    assert mail["channel"] == "email"
    assert mail["to"] == mail["headers"]["To"] == to
    assert mail["subject"] == "Your tickets for Amélie … 東京"
    assert "Amélie … 東京" in mail["text"]
    assert "<!doctype html>" in mail["html"]
    assert mail["attachments"] == []
    assert mail["headers"]["Message-ID"] == f"<{told.key}@seathold.test>"
    assert mail["headers"]["From"] == "Seathold <tickets@seathold.test>"
    assert mail["headers"]["Auto-Submitted"] == "auto-generated"
    assert mail["received_at"].endswith("Z")


async def test_lines_that_begin_with_a_dot_arrive_as_they_were(sink: Sink) -> None:
    to, text = fresh_address(), ".\n..\n.hidden\nend\n"
    await mailer_of(sink).send(to, Message("Dots", text, "<p>.</p>"), reference="dots")
    assert sink.messages(to)[0]["text"] == text


async def test_a_domain_of_its_own_letters_is_reached(sink: Sink) -> None:
    await mailer_of(sink).send("ada@straße.test", MESSAGE, reference="idn")
    sent = sink.messages("ada@xn--strae-oqa.test")
    assert sent
    for spelled in ("ada@straße.test", "ADA@STRAẞE.test", "ada@XN--STRAE-OQA.test"):
        assert sink.messages(spelled) == sent
    assert not sink.messages("ada@strasse.test"), "the control: a domain of somebody else"


@pytest.mark.parametrize(
    ("fault", "error", "told"),
    [
        ("421", NotSent, "refuses us: 421 4.3.2"),
        ("450", NotSent, "answered 450 4.2.1"),
        ("451", NotSent, "answered 451 4.3.0"),
        ("550", Refused, "answered 550 5.1.1"),
        ("554", Refused, "answered 554 5.7.1"),
    ],
)
async def test_an_unhappy_answer_says_whether_to_try_again(
    sink: Sink, fault: str, error: type[SendError], told: str
) -> None:
    to = fresh_address()
    sink.configure(smtp=fault)
    with pytest.raises(error) as caught:
        await mailer_of(sink).send(to, MESSAGE, reference="x")
    assert str(caught.value).endswith(told)
    assert to not in str(caught.value)
    assert sink.messages(to) == []


async def test_a_connection_cut_after_the_message_leaves_doubt(sink: Sink) -> None:
    to = fresh_address()
    sink.configure(smtp="cut_after_data")
    with pytest.raises(Ambiguous):
        await mailer_of(sink).send(to, MESSAGE, reference="x")
    assert len(sink.messages(to)) == 1


async def test_a_slow_server_is_waited_for(sink: Sink) -> None:
    to = fresh_address()
    sink.configure(smtp="slow", slow_ms=300)
    await mailer_of(sink).send(to, MESSAGE, reference="x")
    assert len(sink.messages(to)) == 1


async def test_a_server_too_slow_to_answer_leaves_doubt(sink: Sink) -> None:
    sink.configure(smtp="slow", slow_ms=5_000)
    with pytest.raises(Ambiguous):
        await mailer_of(sink, answer_seconds=0.1).send(fresh_address(), MESSAGE, reference="x")


async def test_a_server_that_is_away_has_taken_nothing() -> None:
    settings = Settings(_env_file=None, smtp_host="127.0.0.1", smtp_port=free_port())
    with pytest.raises(NotSent, match="no way"):
        await SmtpMailer(settings).send(fresh_address(), MESSAGE, reference="x")


@pytest.mark.parametrize(
    "script",
    [
        [b""],
        [b"220 hello\r\n", b""],
        [b"220 hello\r\n", b"250 hello\r\n", b"250 ok\r\n", b"250 ok\r\n", b""],
        [b"no greeting\r\n"],
    ],
    ids=["at once", "after the greeting", "before the message", "nonsense"],
)
async def test_a_server_lost_before_the_message_has_taken_nothing(script: list[bytes]) -> None:
    async with scripted_server(script) as settings:
        with pytest.raises(NotSent):
            await SmtpMailer(settings).send(fresh_address(), MESSAGE, reference="x")


async def test_tls_that_fails_has_taken_nothing() -> None:
    script = [b"220 hello\r\n", b"250-hello\r\n250 STARTTLS\r\n", b"220 go\r\n", b"not tls\r\n"]
    async with scripted_server(script) as settings:
        with pytest.raises(NotSent):
            await SmtpMailer(settings).send(fresh_address(), MESSAGE, reference="x")


GREETS = [b"220 hello\r\n", b"250 hello\r\n"]
TAKES_ALL = [b"250 yes\r\n", b"250 yes\r\n", b"354 go on\r\n", b"250 taken\r\n"]


@pytest.mark.parametrize(
    "changes",
    [{"smtp_tls": "required"}, {"smtp_user": "us", "smtp_password": "a secret"}],
    ids=["required", "with-a-password"],
)
async def test_nothing_goes_in_plain_text_where_tls_is_needed(changes: dict[str, str]) -> None:
    async with scripted_server([*GREETS, *TAKES_ALL]) as settings:
        mailer = SmtpMailer(settings, idle_seconds=0)
        await mailer.send(fresh_address(), MESSAGE, reference="x")
        needing = SmtpMailer(changed(settings, **changes), idle_seconds=0)
        with pytest.raises(NotSent, match="no way to the mail server"):
            await needing.send(fresh_address(), MESSAGE, reference="x")


def test_production_needs_tls_to_another_machine() -> None:
    settings = Settings(_env_file=None).model_copy(update={"env": "production"})
    assert not settings.smtp_needs_tls
    assert settings.model_copy(update={"smtp_host": "mail.internal"}).smtp_needs_tls


async def test_a_mail_server_that_does_not_know_us_is_tried_again() -> None:
    """It may be our password that is wrong, and no message is lost for it."""
    known = {"smtp_user": "us", "smtp_password": "a secret", "smtp_tls": "offered"}
    hello = [b"220 hello\r\n", b"250-hello\r\n250 AUTH PLAIN\r\n"]
    async with scripted_server([*hello, b"535 5.7.8 no\r\n", b"221 bye\r\n"]) as settings:
        mailer = SmtpMailer(changed(settings, **known))
        with pytest.raises(NotSent, match=r"refuses us: 535 5\.7\.8"):
            await mailer.send(fresh_address(), MESSAGE, reference="x")
    async with scripted_server([*hello, b"235 welcome\r\n", *TAKES_ALL]) as settings:
        mailer = SmtpMailer(changed(settings, **known), idle_seconds=0)
        await mailer.send(fresh_address(), MESSAGE, reference="x")


@pytest.mark.parametrize(
    ("script", "error", "told"),
    [
        ([b"554 5.7.1 no\r\n"], NotSent, "refuses us: 554 5.7.1"),
        ([b"220 hello\r\n", b"550 no\r\n", b"550 5.7.1 no\r\n"], NotSent, "refuses us: 550 5.7.1"),
        ([*GREETS, b"550 5.7.1 sender\r\n"], NotSent, "refuses us: 550 5.7.1"),
        ([*GREETS, b"530 5.7.0 who are you\r\n"], NotSent, "refuses us: 530 5.7.0"),
        ([*GREETS, b"250 yes\r\n", b"550 5.1.1 nobody\r\n"], Refused, "answered 550 5.1.1"),
        ([*GREETS, b"250 yes\r\n", b"250 yes\r\n", b"554 no\r\n"], Refused, "answered 554"),
    ],
    ids=["greeting", "hello", "sender", "stranger", "recipient", "data"],
)
async def test_only_who_refuses_the_recipient_or_the_message_refuses_it_for_good(
    script: list[bytes], error: type[SendError], told: str
) -> None:
    async with scripted_server([*script, b"221 bye\r\n"]) as settings:
        with pytest.raises(error) as caught:
            await SmtpMailer(settings).send(fresh_address(), MESSAGE, reference="x")
    assert type(caught.value) is error
    assert str(caught.value) == f"the mail server {told}"


def changed(settings: Settings, **changes: str) -> Settings:
    server = settings.model_dump(include={"smtp_host", "smtp_port"})
    return Settings(_env_file=None, **{**server, **changes})


@pytest.mark.parametrize("to", ["eve\r\nRCPT TO:<bob@example.test>@x.test", "nobody", "a@b@c.test"])
async def test_an_address_that_is_none_is_refused_unsent(to: str) -> None:
    settings = Settings(_env_file=None, smtp_port=free_port())
    with pytest.raises(Refused, match="no mail can go to this address"):
        await SmtpMailer(settings).send(to, MESSAGE, reference="x")


async def test_no_text_of_a_buyer_or_a_film_becomes_a_header(sink: Sink) -> None:
    to, break_ = fresh_address(), "\r\nBcc: eve@example.test\r\nX-Evil: yes\r\n\r\nBody"
    told = notice(movie=f"Film{break_}", name=f"Ada{break_}", theatre=f"Kino{break_}")
    await mailer_of(sink).send(to, render(told, "email"), reference=told.key)
    [mail] = sink.messages(to)
    assert not {"Bcc", "X-Evil"} & mail["headers"].keys()
    assert mail["subject"].startswith("Your tickets for Film Bcc: eve@example.test")
    assert sink.messages("eve@example.test") == []


@asynccontextmanager
async def scripted_server(script: list[bytes]) -> AsyncIterator[Settings]:
    """A server that says one line of ``script`` after the other; an empty one hangs up."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for place, line in enumerate(script):
            if place and not await reader.readline():
                break
            if not line:
                break
            writer.write(line)
        else:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield Settings(_env_file=None, smtp_host="127.0.0.1", smtp_port=port)
