"""A Redis that is away, hangs, refuses or cuts connections costs its callers next to nothing."""

from __future__ import annotations

import asyncio
from typing import Self
from uuid import uuid4

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from infra.redis.client import Breaker, create_redis
from infra.redis.seat_claims import RedisSeatPreclaims
from infra.settings import Settings
from services.preclaim import PreclaimsAway, Won
from tests.helpers.hall import HOLD_SECONDS, Hall, nothing


@pytest.fixture
def preclaims(redis: Redis) -> RedisSeatPreclaims:
    return RedisSeatPreclaims(redis)


@pytest.fixture
async def show(redis: Redis, preclaims: RedisSeatPreclaims) -> Hall:
    """Loaded, every seat free."""
    show = Hall(redis, uuid4())
    await preclaims.load(show.id, nothing)
    return show


async def test_a_server_that_hangs_is_asked_once_a_second() -> None:
    async with SilentServer() as server:
        now = [0.0]
        async with create_redis(Settings(redis_url=SecretStr(server.url))) as client:
            preclaims = RedisSeatPreclaims(client, breaker=Breaker(1, clock=lambda: now[0]))
            for at, connections in ((0.0, 1), (0.9, 1), (1.3, 2), (2.2, 2), (2.6, 3)):
                now[0] = at
                with pytest.raises(PreclaimsAway):
                    await preclaims.claim(uuid4(), ["A1"], uuid4())
                assert server.connections == connections


async def test_a_cut_command_is_tried_once_more() -> None:
    async with (
        SilentServer(cuts=True) as server,
        create_redis(Settings(redis_url=SecretStr(server.url))) as client,
    ):
        with pytest.raises(PreclaimsAway):
            await RedisSeatPreclaims(client).claim(uuid4(), ["A1"], uuid4())
        assert server.connections == 2


async def test_every_method_says_away(unused_tcp_port: int) -> None:
    settings = Settings(redis_url=SecretStr(f"redis://127.0.0.1:{unused_tcp_port}/0"))
    show_id, token = uuid4(), uuid4()
    async with create_redis(settings) as client:
        preclaims = RedisSeatPreclaims(client, breaker=Breaker(0))
        calls = [
            preclaims.claim(show_id, ["A1"], token),
            preclaims.load(show_id, nothing),
            preclaims.promote(show_id, ["A1"], token, HOLD_SECONDS),
            preclaims.sell(show_id, ["A1"], token),
            preclaims.release(show_id, ["A1"], token),
            preclaims.forget(show_id, ["A1"], token),
            preclaims.write_back(show_id, Won(("A1",), token, "1"), []),
            preclaims.taken(show_id, ["A1"]),
        ]
        for call in calls:
            with pytest.raises(PreclaimsAway, match="Redis is away"):
                await call


async def test_it_is_used_again_when_it_is_back(redis: Redis, show: Hall) -> None:
    now = [0.0]
    breaker = Breaker(1, clock=lambda: now[0])
    preclaims = RedisSeatPreclaims(redis, breaker=breaker)
    breaker.failed()
    with pytest.raises(PreclaimsAway, match="a moment ago"):
        await preclaims.claim(show.id, ["A1"], uuid4())
    now[0] = 1.0
    assert isinstance(await preclaims.claim(show.id, ["A1"], uuid4()), Won)
    assert isinstance(await preclaims.claim(show.id, ["A2"], uuid4()), Won)


async def test_one_caller_at_a_time_tries_a_server_that_was_away() -> None:
    now = [0.0]
    breaker = Breaker(1, clock=lambda: now[0])
    breaker.failed()
    now[0] = 1.0
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    breaker.succeeded()
    assert [breaker.allows() for _ in range(3)] == [True, True, True]


async def test_a_refused_command_is_away_but_trips_nothing(
    preclaims: RedisSeatPreclaims, show: Hall
) -> None:
    await show.redis.lpush(f"{{show:{show.id}}}:epoch:list", "x")
    await show.redis.rename(f"{{show:{show.id}}}:epoch:list", f"{{show:{show.id}}}:epoch")
    with pytest.raises(PreclaimsAway, match="refuses"):
        await preclaims.release(show.id, ["A1"], uuid4())
    assert isinstance(await preclaims.claim(show.id, ["A1"], uuid4()), Won)


async def test_a_connection_cut_by_the_server_is_replaced(
    settings: Settings, redis: Redis, show: Hall
) -> None:
    async with create_redis(settings) as client:
        preclaims = RedisSeatPreclaims(client)
        await preclaims.claim(show.id, ["A1"], uuid4())
        await redis.client_kill_filter(_id=str(await client.client_id()))
        assert isinstance(await preclaims.claim(show.id, ["A2"], uuid4()), Won)


class SilentServer:
    """Takes connections and never answers; ``cuts`` them at the first command when told so."""

    def __init__(self, *, cuts: bool = False) -> None:
        self.connections = 0
        self._cuts = cuts

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._swallow, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.url = f"redis://{host}:{port}/0"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _swallow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while await reader.read(4096) and not self._cuts:
            pass
        writer.close()
