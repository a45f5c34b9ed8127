"""Webhooks: whatever comes in, it is stored or refused, and never a 5xx."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from standardwebhooks import Webhook

from domain.errors import Unavailable
from infra.postgres.database import Database
from infra.postgres.inbox import InboxWriter
from infra.settings import Settings
from loops.inbox import POISON_FAILURES, InboxLoop
from tests.api.booking.conftest import Buyer
from tests.factories import Hall
from tests.helpers.accounts import replaced_parts
from tests.helpers.problems import assert_problem
from tests.helpers.saga import Saga
from tests.sandbox.process import Sandbox

PATH = "/api/webhooks/sandbox"
OTHER_SECRET = "whsec_bm90IHRoZSBzZWNyZXQgdGhhdCB3YXMgYWdyZWVkIQ=="


def signed(
    settings: Settings, body: str, *, event_id: str | None = None, secret: str = "", age: float = 0
) -> dict[str, str]:
    """Headers as the provider would sign this body ``age`` seconds ago."""
    at = datetime.now(UTC) - timedelta(seconds=age)
    name = event_id or f"evt_{uuid4().hex}"
    key = secret or settings.webhook_secret.get_secret_value()
    return {
        "webhook-id": name,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(key).sign(name, at, body),
        "content-type": "application/json",
    }


def event(session_id: str = "ses_unknown", kind: str = "payment.captured") -> str:
    return json.dumps(
        {"type": kind, "timestamp": "2026-01-01T00:00:00Z", "data": {"session_id": session_id}}
    )


async def rows(engine: AsyncEngine, event_id: str) -> list[Any]:
    async with engine.connect() as connection:
        found = await connection.execute(
            text("SELECT status, reason FROM webhook_inbox WHERE event_id = :id"), {"id": event_id}
        )
        return list(found)


async def send(client: httpx2.AsyncClient, body: str, headers: dict[str, str]) -> httpx2.Response:
    return await client.post(PATH, content=body, headers=headers)


async def test_stored_once_however_often_it_comes(
    client: httpx2.AsyncClient, settings: Settings, engine: AsyncEngine
) -> None:
    body, name = event(), f"evt_{uuid4().hex}"
    headers = signed(settings, body, event_id=name)
    answers = await asyncio.gather(*(send(client, body, headers) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {204}
    assert len(await rows(engine, name)) == 1


async def test_stored_once_even_if_redis_forgets_everything(
    client: httpx2.AsyncClient, settings: Settings, engine: AsyncEngine, redis: Redis
) -> None:
    """A provider repeats for days; whatever lives shorter than the row cannot know the event."""
    body, name = event(), f"evt_{uuid4().hex}"
    headers = signed(settings, body, event_id=name)
    for _ in range(2):
        assert (await send(client, body, headers)).status_code == 204
        await redis.flushdb()
    assert len(await rows(engine, name)) == 1


async def test_one_that_cannot_be_stored_is_not_acknowledged(
    client: httpx2.AsyncClient, app: FastAPI, settings: Settings, engine: AsyncEngine
) -> None:
    """Acknowledged, it would never come again."""
    url = type(settings.database_url)("postgresql://x:y@127.0.0.1:1/z")
    away = Database(settings.model_copy(update={"database_url": url}))
    body, name = event(), f"evt_{uuid4().hex}"
    headers = signed(settings, body, event_id=name)
    try:
        with replaced_parts(app, inbox=InboxWriter(away)):
            assert_problem(await send(client, body, headers), 503, "unavailable")
    finally:
        # Else whoever still waits for it would be waited for when the test has failed.
        await away.close()
    assert (await send(client, body, headers)).status_code == 204
    assert len(await rows(engine, name)) == 1


@pytest.mark.parametrize("age", [301, -301, 10_000])
async def test_a_stale_one_is_refused(
    client: httpx2.AsyncClient, settings: Settings, engine: AsyncEngine, age: float
) -> None:
    body, name = event(), f"evt_{uuid4().hex}"
    answer = await send(client, body, signed(settings, body, event_id=name, age=age))
    assert_problem(answer, 401, "invalid_signature")
    assert await rows(engine, name) == []


async def test_a_forged_one_is_refused(client: httpx2.AsyncClient, settings: Settings) -> None:
    body = event()
    forged = signed(settings, body, secret=OTHER_SECRET)
    assert_problem(await send(client, body, forged), 401, "invalid_signature")
    other = signed(settings, body)
    assert_problem(await send(client, event("another"), other), 401, "invalid_signature")


@pytest.mark.parametrize("body", ["", "{", "[]", "7", '"x"', '{"type": 7}'])
async def test_a_signed_one_that_is_no_event_is_malformed(
    client: httpx2.AsyncClient, settings: Settings, body: str
) -> None:
    assert_problem(await send(client, body, signed(settings, body)), 400, "malformed")


async def test_without_headers_too_large_or_for_nobody(
    client: httpx2.AsyncClient, settings: Settings
) -> None:
    body = event()
    answer = await client.post(PATH, content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 401)
    large = json.dumps({"type": "x", "data": {"pad": "x" * 300_000}})
    assert_problem(await send(client, large, signed(settings, large)), 413, "too_large")
    answer = await client.post("/api/webhooks/nobody", content=body, headers=signed(settings, body))
    assert_problem(answer, 404, "not_found")


async def test_an_event_of_no_booking_is_set_aside(
    client: httpx2.AsyncClient, settings: Settings, engine: AsyncEngine, saga: Saga
) -> None:
    for body in (
        event(f"ses_{uuid4().hex}"),
        json.dumps({"type": "odd", "timestamp": "x", "data": {}}),
    ):
        name = f"evt_{uuid4().hex}"
        answer = await send(client, body, signed(settings, body, event_id=name))
        assert answer.status_code == 204, answer.text
        loop = InboxLoop(saga.work, saga.news)
        while await loop.one_pass():
            pass
        [row] = await rows(engine, name)
        assert row.status == "quarantined"
        assert row.reason


@pytest.fixture
async def empty_inbox(engine: AsyncEngine) -> None:
    """What tests before have sent and left is not there to be worked on."""
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM webhook_inbox WHERE status = 'pending'"))


@pytest.mark.usefixtures("empty_inbox")
async def test_an_event_that_nothing_can_handle_keeps_no_other_of_its_batch(
    client: httpx2.AsyncClient,
    settings: Settings,
    engine: AsyncEngine,
    saga: Saga,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    poison, sound = f"ses_{uuid4().hex}", f"ses_{uuid4().hex}"
    names = {}
    for session in (poison, sound):
        names[session], body = f"evt_{uuid4().hex}", event(session, "session.expired")
        await send(client, body, signed(settings, body, event_id=names[session]))

    async def by_session(_: str, session_id: str, *, request_id: str | None) -> bool:
        if session_id == poison:
            raise RuntimeError("a bug")
        return True

    monkeypatch.setattr(saga.news, "by_session", by_session)
    with pytest.raises(RuntimeError, match="a bug"):
        await InboxLoop(saga.work, saga.news).one_pass()
    assert [row.status for row in await rows(engine, names[sound])] == ["done"]
    [(status, reason)] = await rows(engine, names[poison])
    assert (status, reason) == ("pending", "the work on it failed with RuntimeError")


@pytest.mark.usefixtures("empty_inbox")
async def test_an_event_that_breaks_the_work_on_it_becomes_a_case_and_waits_no_longer(
    client: httpx2.AsyncClient,
    settings: Settings,
    engine: AsyncEngine,
    saga: Saga,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session, name = f"ses_{uuid4().hex}", f"evt_{uuid4().hex}"
    body = event(session, "session.expired")
    await send(client, body, signed(settings, body, event_id=name))
    error: Exception = Unavailable("The provider is away.")

    async def by_session(_: str, session_id: str, *, request_id: str | None) -> None:
        assert session_id == session
        raise error

    async def one_pass() -> tuple[str, str]:
        async with engine.begin() as connection:
            due = "UPDATE webhook_inbox SET next_attempt_at = now() WHERE event_id = :id"
            await connection.execute(text(due), {"id": name})
        with contextlib.suppress(ValueError):
            await InboxLoop(saga.work, saga.news).one_pass()
        [(status, reason)] = await rows(engine, name)
        return status, reason

    monkeypatch.setattr(saga.news, "by_session", by_session)
    for _ in range(2 * POISON_FAILURES):
        assert await one_pass() == ("pending", "The provider is away.")
    error = ValueError("a bug, with ada@example.test in its words")
    for _ in range(POISON_FAILURES - 1):
        assert await one_pass() == ("pending", "the work on it failed with ValueError")
    status, reason = await one_pass()
    assert (status, reason) == ("quarantined", "the work on it failed with ValueError, 10 times")
    [(kind, summary)] = await saga.rows(
        "SELECT kind, summary FROM cases WHERE dedupe = :it", it=f"unknown_payment:sandbox:{name}"
    )
    assert kind == "unknown_payment"
    assert reason in summary
    assert "ada@" not in summary


@pytest.mark.usefixtures("worker")
async def test_events_in_any_order_confirm_once(
    ada: Buyer, hall: Hall, provider: Sandbox, settings: Settings, saga: Saga, engine: AsyncEngine
) -> None:
    booking = await ada.held(hall)
    payment = (await ada.checkout(booking)).json()["payment"]
    session = {"id": payment["session_id"]}
    provider.pay(session, "captured", webhooks={"deliver": False})
    for kind in ("session.expired", "payment.captured", "payment.failed", "payment.captured"):
        body = event(payment["session_id"], kind)
        await send(ada.client, body, signed(settings, body))
    loop = InboxLoop(saga.work, saga.news)
    while await loop.one_pass():
        pass
    confirmed = await ada.confirm(booking)
    assert confirmed.json()["state"] == "confirmed"
    async with engine.connect() as connection:
        confirmations = await connection.scalar(
            text(
                "SELECT count(*) FROM events WHERE aggregate_id = :id"
                " AND event_type = 'BookingConfirmed'"
            ),
            {"id": booking["id"]},
        )
    assert confirmations == 1
