"""The bytes of a mail: what a mail program reads in them, and what cannot be put into them."""

from __future__ import annotations

import email
import email.policy
import re
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.notify.mime import MailMaker
from services.notification import Message

HEADERS = [
    *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"),
    *("MIME-Version", "Content-Type"),
]
MAKER = MailMaker("Seathold <tickets@seathold.test>")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


def made(subject: str = "Hi", text: str = "Hello", html: str = "<p>Hello</p>") -> bytes:
    return MAKER.mail("ada@example.test", Message(subject, text, html), reference="ref-1")


def read(raw: bytes) -> EmailMessage:
    """The mail as a program reads it, which must find nothing wrong."""
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    parts = [mail, *mail.iter_parts()]
    assert [part.defects for part in parts] == [[], [], []]
    assert [part.get_content_type() for part in parts[1:]] == ["text/plain", "text/html"]
    assert sorted(mail.keys()) == sorted(HEADERS)
    return mail


def contents(mail: EmailMessage) -> list[str]:
    return [part.get_content().replace("\r\n", "\n") for part in mail.iter_parts()]


def test_the_headers_say_what_they_should() -> None:
    mail = read(made())
    assert mail["From"] == "Seathold <tickets@seathold.test>"
    assert mail["To"] == "ada@example.test"
    assert mail["Message-ID"] == "<ref-1@seathold.test>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert abs(mail["Date"].datetime - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize("sender", ["Kino Ünter <a@b.test>", '"Hold, Seat" <a@b.test>', "a@b.test"])
def test_a_senders_name_is_read_as_it_was(sender: str) -> None:
    maker = MailMaker(sender)
    mail = read(maker.mail("ada@example.test", Message("S", "", ""), reference="ref"))
    assert maker.address == "a@b.test"
    assert mail["From"] == sender


@pytest.mark.parametrize(
    "subject",
    [
        "Your tickets for Amélie … 東京",
        "Your tickets for " + "very " * 40 + "long",
        "Your tickets for " + "Ä" * 200,
        "x" * 500,
        "x" * 68,
        "x" * 69,
        "=?utf-8?q?not_a_word?=",
    ],
)
def test_a_subject_is_read_as_it_was(subject: str) -> None:
    raw = made(subject)
    assert read(raw)["Subject"] == subject
    assert max(map(len, raw.splitlines())) <= 78


@pytest.mark.parametrize("break_", ["\r\n", "\n", "\r", "\r\n\r\n", "\x0b", "\x85", "\u2028", "\0"])
@pytest.mark.parametrize("before", ["Film", "Amélie"])
def test_no_subject_adds_a_header(break_: str, before: str) -> None:
    raw = made(f"{before}{break_}Bcc: eve@example.test{break_}")
    assert "Bcc: eve@example.test" in read(raw)["Subject"]
    assert b"\nBcc" not in raw


@pytest.mark.parametrize("word", ["=?utf-8?q?a=0D=0ABcc:_eve?=", "=?utf-8?b?YQ0KQmNjOiBldmU=?="])
def test_no_encoded_word_in_a_subject_adds_a_header(word: str) -> None:
    raw = made(f"Your tickets for {word}")
    assert read(raw)["Subject"] == f"Your tickets for {word}"
    assert b"\nBcc" not in raw


@pytest.mark.parametrize("reference", ["", "a b", "a>\r\nBcc: eve", "a\n", "é", "a@b"])
def test_a_reference_that_fits_no_message_id_is_an_error(reference: str) -> None:
    with pytest.raises(ValueError, match="no Message-ID"):
        MAKER.mail("ada@example.test", Message("S", "", ""), reference=reference)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_mail_lines_do(end: str) -> None:
    raw = made(text=f"one{end}{end}two{end}.{end}")
    assert raw.count(b"\n") == raw.count(b"\r") == raw.count(b"\r\n")
    assert contents(read(raw))[0] == "one\n\ntwo\n.\n"


@pytest.mark.parametrize("length", range(70, 82))
def test_a_blank_at_a_lines_end_keeps_the_line_within_its_length(length: int) -> None:
    raw = made(text="x" * length + " \nend")
    assert max(map(len, raw.splitlines())) <= 76
    assert contents(read(raw))[0] == "x" * length + " \nend"


@given(subject=TEXTS, text=TEXTS, html=TEXTS)
def test_any_text_is_read_as_it_was_and_is_nothing_else(subject: str, text: str, html: str) -> None:
    raw = made(subject, text, f"--=_seathold--\n{html}")
    mail = read(raw)
    raw.decode("ascii")
    assert raw.count(b"\n") == raw.count(b"\r") == raw.count(b"\r\n")
    assert max(map(len, raw.splitlines())) <= 78
    sent = (text, f"--=_seathold--\n{html}")
    assert contents(mail) == [re.sub("\r\n|\r", "\n", one) for one in sent]
