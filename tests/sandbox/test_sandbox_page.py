"""The page a person pays on."""

from __future__ import annotations

import re

import pytest

from seathold.standins.sandbox.main import own_url
from seathold.standins.sandbox.page import money_text
from tests.sandbox.process import Sandbox, eventually, soon


def press(sandbox: Sandbox, session_id: str, button: str) -> str:
    """Press a button; the text of the page that follows."""
    answer = sandbox.http.post(f"/pay/{session_id}", data={"act": button}, follow_redirects=True)
    assert answer.status_code == 200
    return answer.text


def test_the_page_shows_amount_time_and_three_buttons(sandbox: Sandbox) -> None:
    session = sandbox.session()
    page = sandbox.http.get(session["url"])
    assert "24.00 EUR" in page.text
    assert 'role="timer"' in page.text
    assert re.findall(r'name="act" value="(\w+)"', page.text) == ["pay", "fail", "abandon"]
    assert "http" not in re.sub(r"<!doctype.*?>", "", page.text)  # nothing from anywhere else
    assert "default-src 'none'" in page.headers["content-security-policy"]


@pytest.mark.parametrize(("mode", "status"), [("capture", "captured"), ("authorise", "authorised")])
def test_paying_on_the_page_is_told_and_happens_once(
    sandbox: Sandbox, mode: str, status: str
) -> None:
    session = sandbox.session(mode=mode)
    for _ in range(2):
        text = press(sandbox, session["id"], "pay")
        assert "Paid" in text
        assert 'href="http://shop.test/back"' in text
    assert [payment["status"] for payment in sandbox.look(session)["payments"]] == [status]


def test_a_failure_on_the_page_may_be_tried_again(sandbox: Sandbox) -> None:
    session = sandbox.session()
    text = press(sandbox, session["id"], "fail")
    assert "The payment failed" in text
    assert 'href="http://shop.test/back"' in text
    assert "Paid" in press(sandbox, session["id"], "pay")


def test_abandoning_changes_nothing_and_leads_back(sandbox: Sandbox) -> None:
    session = sandbox.session()
    text = press(sandbox, session["id"], "abandon")
    assert "You left without paying" in text
    assert 'href="http://shop.test/back"' in text
    assert sandbox.look(session) == session


def test_a_page_left_open_too_long_takes_no_money(sandbox: Sandbox) -> None:
    session = sandbox.session(expires_at=soon(0.3))
    eventually(lambda: sandbox.look(session)["status"] == "expired")
    assert "has expired" in press(sandbox, session["id"], "pay")
    assert sandbox.look(session)["payments"] == []


def test_money_in_flight_shows_no_button(sandbox: Sandbox) -> None:
    session = sandbox.session()
    sandbox.pay(session, "processing")
    text = sandbox.http.get(session["url"]).text
    assert "being processed" in text
    assert "<button" not in text


def test_everything_from_outside_is_escaped(sandbox: Sandbox) -> None:
    evil = "\"><script>alert('x')</script>"
    session = sandbox.session(reference=evil, return_url=f"http://shop.test/{evil}")
    text = press(sandbox, session["id"], "abandon")
    assert "alert(" in text
    assert "<script>alert" not in text


def test_an_unknown_page_is_a_404_and_junk_on_a_known_one_does_nothing(sandbox: Sandbox) -> None:
    missing = sandbox.http.get("/pay/none")
    assert (missing.status_code, "No such payment" in missing.text) == (404, True)
    assert sandbox.http.post("/pay/none", data={"act": "pay"}).status_code == 404
    session = sandbox.session()
    assert sandbox.http.post(f"/pay/{session['id']}", content=b"\xff&act=%ff").status_code == 303
    assert sandbox.look(session) == session


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (5, "EUR", "0.05 EUR"),
        (102400, "USD", "1,024.00 USD"),
        (1200, "JPY", "1,200 JPY"),
        (1234, "KWD", "1.234 KWD"),
    ],
)
def test_money_is_written_for_people(amount: int, currency: str, text: str) -> None:
    assert money_text(amount, currency) == text


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "localhost"),
        ("::1", "[::1]"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "[::1]"),  # of IPv6 alone
    ],
)
def test_the_page_is_found_where_the_sandbox_listens(host: str, shown: str) -> None:
    assert own_url(host, 8090) == f"http://{shown}:8090"
