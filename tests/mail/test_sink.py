"""The sink as its own users see it: what it keeps, and how it is read."""

from __future__ import annotations

import smtplib
from email.message import EmailMessage
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest

from tests.mail.process import Sink, running_sink


def fresh(kind: str) -> str:
    return f"{kind}-{uuid4().hex}@example.test"


def send(sink: Sink, mail: EmailMessage) -> None:
    with smtplib.SMTP("127.0.0.1", sink.smtp_port, timeout=10) as client:
        client.send_message(mail)


def mail(*to: str, html: str = "", subject: str = "Hello") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "a@example.test", ", ".join(to), subject
    made.set_content("Plain text\n")
    if html:
        made.add_alternative(html, subtype="html")
    return made


def page_of(sink: Sink, to: str) -> httpx2.Response:
    return sink.http.get(f"/messages/{sink.messages(to)[0]['id']}")


def test_each_recipient_gets_the_mail_and_attachments_are_listed(sink: Sink) -> None:
    one, two = fresh("one"), fresh("two")
    sent = mail(one, two)
    sent.add_attachment(b"%PDF-1.7", maintype="application", subtype="pdf", filename="t.pdf")
    send(sink, sent)
    for to in (one, two.upper()):
        [message] = sink.messages(to)
        assert message["text"] == "Plain text\n"
        assert message["attachments"] == [{"name": "t.pdf", "type": "application/pdf", "size": 8}]


def test_messages_are_listed_in_the_order_they_came(sink: Sink) -> None:
    to = fresh("order")
    for number in range(3):
        send(sink, mail(to, subject=str(number)))
    assert [message["subject"] for message in sink.messages(to)] == ["0", "1", "2"]


def test_what_was_received_outlives_the_process(tmp_path: Path) -> None:
    to = fresh("kept")
    for count in (1, 2):
        with running_sink(tmp_path / "mail.sqlite") as sink:
            send(sink, mail(to))
            assert len(sink.messages(to)) == count


def test_a_fault_with_times_passes(sink: Sink) -> None:
    sink.configure(smtp="450", smtp_times=2)
    for _ in range(2):
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            send(sink, mail(fresh("busy")))
    send(sink, mail(fresh("busy")))


def test_a_config_that_is_none_is_refused(sink: Sink) -> None:
    for body in ({"smtp": "999"}, {"unheard": 1}, {"smtp_times": 0}):
        assert sink.http.post("/test/config", json=body).status_code == 400


def test_a_key_is_taken_once_and_bound_to_its_body(sink: Sink) -> None:
    to, key = f"+{uuid4().int % 10**14:015d}", uuid4().hex
    first, again = (sink.sms(to, "Hello", "ref", key) for _ in range(2))
    assert (first.status_code, again.json()) == (201, first.json())
    assert sink.sms(to, "Other", "ref", key).status_code == 422
    assert len(sink.messages(to)) == 1


def test_without_a_key_each_call_is_a_message(sink: Sink) -> None:
    to = f"+{uuid4().int % 10**14:015d}"
    for _ in range(2):
        assert sink.sms(to, "Hello", "ref", None).status_code == 201
    assert len(sink.messages(to)) == 2


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"to":"x","text":"y","reference":"z"}'])
def test_an_sms_that_is_none_is_refused(sink: Sink, body: bytes) -> None:
    assert sink.http.post("/api/sms", content=body).status_code == 400


def test_the_pages_escape_what_they_show(sink: Sink) -> None:
    to, nasty = fresh("page"), '"><script>alert(1)</script>'
    send(sink, mail(to, subject=nasty, html=f"<p>{nasty}</p>"))
    for page in (sink.http.get("/"), page_of(sink, to), sink.http.get("/", params={"to": nasty})):
        assert page.status_code == 200
        assert "<script" not in page.text
        assert "script-src" not in page.headers["content-security-policy"]
        assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "&lt;script&gt;" in page_of(sink, to).text


def test_a_mails_html_is_caged(sink: Sink) -> None:
    to = fresh("caged")
    send(sink, mail(to, html="<p>Hello</p>"))
    page = page_of(sink, to)
    assert f'<iframe sandbox title="The mail as its reader sees it" src="{page.url.path}/html"' in (
        page.text
    )
    shown = sink.http.get(f"{page.url.path}/html")
    assert shown.text.strip() == "<p>Hello</p>"
    assert shown.headers["content-security-policy"].startswith("sandbox; default-src 'none'")


def test_a_message_that_is_not_there_is_not_found(sink: Sink) -> None:
    for path in ("/messages/999999", "/messages/x", "/messages/999999/html"):
        assert sink.http.get(path).status_code == 404
