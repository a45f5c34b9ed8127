"""Staff read sealed payloads in Temporal's UI after logging in; nobody else reads anything."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from google.protobuf.json_format import MessageToDict
from temporalio.api.common.v1 import Payload, Payloads

from infra.codec import SealingCodec, parse_keys
from infra.settings import DEV_PAYLOAD_KEYS
from seathold.codec.readers import ASK_AGAIN_SECONDS, SESSION_SECONDS, Readers, Refused
from seathold.stack.stack import Stack

Json = dict[str, Any]
PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'"a reason"')
PASSWORD = "three words make one"


def sealed(keys: str = DEV_PAYLOAD_KEYS) -> Json:
    """What Temporal's UI posts."""
    payloads = asyncio.run(SealingCodec(parse_keys(keys)).encode([PLAIN]))
    return MessageToDict(Payloads(payloads=payloads))


@pytest.fixture
def ui(stack: Stack) -> Json:
    return {"Origin": stack.info["temporal_ui_url"], "X-Namespace": "default"}


@pytest.fixture
def browser(stack: Stack) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=stack.info["codec_url"]) as browser:
        yield browser


def log_in(browser: httpx2.Client, who: Json) -> httpx2.Response:
    form = {"email": who["email"], "password": who["password"], "code": ""}
    return browser.post("/login", data=form, headers=from_its_page(browser))


def from_its_page(browser: httpx2.Client) -> dict[str, str]:
    return {"Origin": str(browser.base_url).rstrip("/")}


@pytest.fixture
def buyer(stack: Stack) -> Json:
    body = {"email": f"{uuid4().hex}@example.test", "password": PASSWORD, "name": "Ada"}
    httpx2.post(stack.info["api_url"] + "/api/auth/register", json=body).raise_for_status()
    return body


def test_staff_log_in_and_the_ui_is_shown_what_was_sealed(
    stack: Stack, browser: httpx2.Client, ui: Json
) -> None:
    answer = log_in(browser, stack.info["admin"])
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "You are logged in" in browser.get("/").text
    answer = browser.post("/decode", json=sealed(), headers=ui)
    assert answer.json() == MessageToDict(Payloads(payloads=[PLAIN]))
    assert answer.headers["access-control-allow-origin"] == ui["Origin"]
    assert answer.headers["cache-control"] == "no-store"
    # What an operator types into the UI is sealed by us on its way to Temporal.
    encoded = browser.post("/encode", json=answer.json(), headers=ui).json()
    assert browser.post("/decode", json=encoded, headers=ui).json() == answer.json()
    assert browser.post("/logout", headers=from_its_page(browser)).status_code == 303
    assert browser.post("/decode", json=sealed(), headers=ui).status_code == 401


def test_without_a_log_in_nothing_is_opened(browser: httpx2.Client, ui: Json) -> None:
    answer = browser.post("/decode", json=sealed(), headers=ui)
    assert answer.status_code == 401
    # The UI has to be able to read the refusal.
    assert answer.headers["access-control-allow-origin"] == ui["Origin"]
    browser.cookies.set("seathold_codec", "guessed")
    assert browser.post("/decode", json=sealed(), headers=ui).status_code == 401


def test_buyers_and_wrong_passwords_are_let_in_nowhere(
    stack: Stack, browser: httpx2.Client, buyer: Json
) -> None:
    refused = log_in(browser, buyer)
    assert refused.status_code == 403
    assert "Your role does not read workflows." in refused.text
    wrong = log_in(browser, {"email": stack.info["admin"]["email"], "password": "wrong"})
    assert wrong.status_code == 401
    assert not browser.cookies


@pytest.mark.parametrize("origin", ["https://evil.test", "null", None])
def test_only_temporals_ui_may_use_the_cookie(
    stack: Stack, browser: httpx2.Client, origin: str | None
) -> None:
    log_in(browser, stack.info["admin"])
    headers = {"Origin": origin} if origin else {}
    answer = browser.post("/decode", json=sealed(), headers=headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    preflight = browser.request("OPTIONS", "/decode", headers=headers)
    assert "access-control-allow-origin" not in preflight.headers


def test_the_ui_may_ask_before_it_asks(browser: httpx2.Client, ui: Json) -> None:
    answer = browser.request("OPTIONS", "/decode", headers=ui)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "x-namespace" in answer.headers["access-control-allow-headers"]


def test_what_cannot_be_opened_says_why(stack: Stack, browser: httpx2.Client, ui: Json) -> None:
    log_in(browser, stack.info["admin"])
    foreign = browser.post("/decode", json=sealed(f"gone:{'A' * 43}="), headers=ui)
    assert foreign.status_code == 422
    assert "no key named 'gone'" in foreign.json()["title"]
    assert browser.post("/decode", content=b"\xff{", headers=ui).status_code == 400
    large = browser.post("/decode", content=b"x" * (8 * 1024 * 1024 + 1), headers=ui)
    assert large.status_code == 413


async def test_a_log_in_ends_with_its_session_at_the_api_and_after_a_shift(stack: Stack) -> None:
    now = 0.0
    admin = stack.info["admin"]
    async with httpx2.AsyncClient(base_url=stack.info["api_url"]) as api:
        readers = Readers(api, second_factor=False, clock=lambda: now)
        key = await readers.log_in(admin["email"], admin["password"], "")
        now = ASK_AGAIN_SECONDS + 1.0
        assert await readers.reader(key)
        token = readers._readers[key].refresh_token
        await api.post("/api/auth/logout", json={"refresh_token": token})
        assert await readers.reader(key)
        now = 2 * ASK_AGAIN_SECONDS + 2.0
        with pytest.raises(Refused):
            await readers.reader(key)

        key = await readers.log_in(admin["email"], admin["password"], "")
        now += SESSION_SECONDS
        with pytest.raises(Refused):
            await readers.reader(key)
