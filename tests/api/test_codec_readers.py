"""Who reads payloads is asked about at the API: once for all who ask at a moment."""

from __future__ import annotations

import asyncio

import httpx2
import pyotp
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from seathold.codec.readers import ASK_AGAIN_SECONDS, Readers, Refused
from tests.helpers.accounts import PASSWORD, bearer, open_staff

Client = httpx2.AsyncClient
AT_ONCE = 40


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_many_decodes_at_once_ask_the_api_once(client: Client, engine: AsyncEngine) -> None:
    """Temporal's UI asks for everything on its page in parallel."""
    user = (await open_staff(client, engine))["user"]
    clock = Clock()
    readers = Readers(client, second_factor=False, clock=clock)
    key = await readers.log_in(user["email"], PASSWORD, "")
    for _ in range(3):
        clock.now += ASK_AGAIN_SECONDS
        told = await asyncio.gather(*(readers.reader(key) for _ in range(AT_ONCE)))
        assert set(told) == {user["id"]}
    assert await accused(engine, user["id"]) == 0


async def test_one_who_goes_away_while_the_api_is_asked_ends_nobodys_session(
    client: Client, engine: AsyncEngine
) -> None:
    user = (await open_staff(client, engine))["user"]
    clock = Clock()
    readers = Readers(client, second_factor=False, clock=clock)
    key = await readers.log_in(user["email"], PASSWORD, "")
    clock.now += ASK_AGAIN_SECONDS
    asking = asyncio.create_task(readers.reader(key))
    await asyncio.sleep(0)
    assert readers._readers[key].asking is not None
    asking.cancel()
    assert await readers.reader(key) == user["id"]
    clock.now += ASK_AGAIN_SECONDS
    assert await readers.reader(key) == user["id"]


class Losing(httpx2.AsyncBaseTransport):
    """To the API, and now and then not: before it hears, or on the way back."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.lose: httpx2.HTTPError | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        lost, self.lose = self.lose, None
        if isinstance(lost, httpx2.ConnectError):
            raise lost
        answer = await self._client.post(
            request.url.path,
            content=await request.aread(),
            headers={"Content-Type": "application/json"},
        )
        if lost is not None:
            raise lost
        return httpx2.Response(answer.status_code, content=answer.content)


@pytest.mark.parametrize(
    ("lost", "stays"),
    [(httpx2.ReadTimeout("no answer"), False), (httpx2.ConnectError("nobody there"), True)],
)
async def test_a_lost_answer_ends_the_log_in_and_accuses_nobody(
    client: Client, engine: AsyncEngine, lost: httpx2.HTTPError, stays: bool
) -> None:
    user = (await open_staff(client, engine))["user"]
    clock, way = Clock(), Losing(client)
    async with httpx2.AsyncClient(transport=way, base_url="http://api.test") as api:
        readers = Readers(api, second_factor=False, clock=clock)
        key = await readers.log_in(user["email"], PASSWORD, "")
        clock.now += ASK_AGAIN_SECONDS
        way.lose = lost
        with pytest.raises(Refused) as refused:
            await readers.reader(key)
        assert refused.value.status == 503
        if stays:
            assert await readers.reader(key) == user["id"]
        else:
            with pytest.raises(Refused, match="Log in first"):
                await readers.reader(key)
    assert await accused(engine, user["id"]) == 0


async def accused(engine: AsyncEngine, user_id: str) -> int:
    """How often a session of the user's ended as stolen."""
    reuse = text("SELECT count(*) FROM audit_log WHERE action = 'session.reuse' AND actor = :id")
    async with engine.connect() as connection:
        return int(await connection.scalar(reuse, {"id": user_id}))


async def test_where_staff_need_a_second_factor_they_need_it_here(
    client: Client, engine: AsyncEngine
) -> None:
    session = await open_staff(client, engine)
    email = session["user"]["email"]
    readers = Readers(client, second_factor=True)
    with pytest.raises(Refused, match="second factor") as refused:
        await readers.log_in(email, PASSWORD, "")
    assert refused.value.status == 403
    lenient = Readers(client, second_factor=False)
    assert await lenient.log_in(email, PASSWORD, ""), "the control"

    headers = bearer(session)
    begun = await client.post("/api/me/totp", json={"password": PASSWORD}, headers=headers)
    secret = begun.json()["secret"]
    code = {"code": pyotp.TOTP(secret).now()}
    confirmed = await client.post("/api/me/totp/confirm", json=code, headers=headers)
    recovery = confirmed.json()["recovery_codes"][0]
    key = await readers.log_in(email, PASSWORD, recovery)
    assert await readers.reader(key) == session["user"]["id"]
