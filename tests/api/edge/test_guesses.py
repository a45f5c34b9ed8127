"""Guesses at a password through the route itself: however spelled, from wherever they come.

And what they do not do: lock the owner out.
"""

from __future__ import annotations

import itertools
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import orjson
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from api.limits import LOGIN_FROM_HERE, LOGIN_OF_ACCOUNT, login_hits
from domain.user import email_key
from infra.known_places import MOST, SECONDS, KnownPlaces
from infra.rate_limits import RateLimits
from infra.redis.client import create_redis
from infra.settings import Settings
from tests.helpers.accounts import PASSWORD, new_email, open_account, replaced_parts
from tests.helpers.edge import client_from, started, status_from
from tests.helpers.mailed import mailed_token

LOGIN = "/api/auth/login"
# All are an ``s`` once an address is folded: long s, fullwidth, mathematical.
LETTERS = ("s", "S", "\u017f", "\uff33", "\uff53", "\U0001d42c")
GUESSES = 1_000
NO_REDIS = "redis://127.0.0.1:9/0"


@pytest.fixture(scope="module")
async def guessed(settings: Settings, redis: Redis) -> AsyncIterator[FastAPI]:
    """The app with room for more tries a minute than an account has."""
    async with started(settings, rate_limit_per_minute=100) as app:
        yield app


def spellings(email: str) -> Iterator[str]:
    """Ever new ones of the same address."""
    pieces = email.split("s")
    for letters in itertools.product(LETTERS, repeat=len(pieces) - 1):
        yield "".join(map("".join, zip(pieces, (*letters, ""), strict=True)))


async def account(app: FastAPI, addresses: Iterator[str]) -> str:
    """The address of a new one, which can be spelled in many ways."""
    email = f"sssss{new_email()}"
    async with client_from(app, next(addresses)) as client:
        await open_account(client, email=email)
    return email


async def guess(app: FastAPI, address: str, email: str, password: str = "wrong") -> int:
    body = orjson.dumps({"email": email, "password": password})
    return await status_from(app, address, LOGIN, body)


async def test_another_spelling_of_an_address_is_no_other_account(
    guessed: FastAPI, addresses: Iterator[str]
) -> None:
    email, here = await account(guessed, addresses), next(addresses)
    spelled = list(itertools.islice(spellings(email), 1000, 1012))
    assert {email_key(one) for one in spelled} == {email}
    assert await guess(guessed, next(addresses), spelled[0], PASSWORD) == 200, "it is the same"
    found = [await guess(guessed, here, one) for one in spelled]
    assert found == [401] * LOGIN_FROM_HERE.quota + [429] * 2


async def test_of_guesses_from_everywhere_a_hundred_an_hour_are_looked_at(
    guessed: FastAPI, addresses: Iterator[str]
) -> None:
    email = await account(guessed, addresses)
    spelled = itertools.islice(spellings(email), GUESSES)
    found = Counter([await guess(guessed, next(addresses), one) for one in spelled])
    assert found == {401: LOGIN_OF_ACCOUNT.quota, 429: GUESSES - LOGIN_OF_ACCOUNT.quota}


class TestOwner:
    """Strangers have used up the account's hundred tries of this hour."""

    async def siege(self, app: FastAPI, addresses: Iterator[str], email: str) -> None:
        """As many tries, without the work of a hash for each."""
        attackers = [next(addresses) for _ in range(11)]
        for at in attackers * 10:
            await app.state.parts.limits.everywhere(*login_hits(email, at, known=False))

    async def test_who_was_there_of_late_logs_in_nevertheless(
        self, guessed: FastAPI, addresses: Iterator[str]
    ) -> None:
        email, home = f"s{new_email()}", next(addresses)
        async with client_from(guessed, home) as client:
            await open_account(client, email=email)
        net = f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}"
        assert await guess(guessed, f"{net}::1", email, PASSWORD) == 200
        await self.siege(guessed, addresses, email)
        elsewhere = await guess(guessed, next(addresses), email, PASSWORD)
        assert elsewhere == 429, "the control"
        assert await guess(guessed, home, email, PASSWORD) == 200
        assert await guess(guessed, f"{net}:1::2", email, PASSWORD) == 200, "of IPv6 a /64"

    async def test_a_known_place_is_no_way_to_guess(
        self, guessed: FastAPI, addresses: Iterator[str]
    ) -> None:
        """It has the tries of any address, and is known for this one account."""
        email, home, others = f"s{new_email()}", next(addresses), f"s{new_email()}"
        async with client_from(guessed, home) as client:
            await open_account(client, email=email)
        async with client_from(guessed, next(addresses)) as client:
            await open_account(client, email=others)
        await self.siege(guessed, addresses, others)
        assert await guess(guessed, home, others) == 429
        found = [await guess(guessed, home, email) for _ in range(12)]
        assert found == [401] * LOGIN_FROM_HERE.quota + [429] * 2

    async def test_a_mailed_code_lets_the_owner_in_from_anywhere_and_nobody_else(
        self, guessed: FastAPI, addresses: Iterator[str], engine: AsyncEngine, settings: Settings
    ) -> None:
        email, thief, away = f"s{new_email()}", next(addresses), next(addresses)
        async with client_from(guessed, thief) as client:
            user_id = (await open_account(client, email=email))["user"]["id"]
        await self.siege(guessed, addresses, email)
        assert await guess(guessed, away, email, PASSWORD) == 429
        async with client_from(guessed, away) as client:
            await client.post("/api/auth/password/forgot", json={"email": email})
            token = await mailed_token(engine, settings, user_id, "reset_password")
            body = {"token": token, "password": f"{PASSWORD} again"}
            assert (await client.post("/api/auth/password/reset", json=body)).status_code == 204
        assert await guess(guessed, away, email, f"{PASSWORD} again") == 200
        assert await guess(guessed, thief, email) == 429, "who knew the old one is known no more"

    async def test_without_redis_the_process_remembers(
        self, guessed: FastAPI, addresses: Iterator[str], settings: Settings
    ) -> None:
        email, home = f"s{new_email()}", next(addresses)
        gone = create_redis(settings.model_copy(update={"redis_url": SecretStr(NO_REDIS)}))
        places = KnownPlaces(gone, settings.key_ring)
        with replaced_parts(guessed, limits=RateLimits(gone), places=places):
            async with client_from(guessed, home) as client:
                await open_account(client, email=email)
            await self.siege(guessed, addresses, email)
            assert await guess(guessed, next(addresses), email, PASSWORD) == 429
            assert await guess(guessed, home, email, PASSWORD) == 200
        await gone.aclose()


async def test_what_is_known_tells_nobody_who_was_where(redis: Redis, settings: Settings) -> None:
    places, account = KnownPlaces(redis, settings.key_ring), new_email()
    for number in range(MOST + 3):
        await places.remember(account, f"10.9.8.{number}")
    assert not await places.knows(account, "10.9.8.2"), "the latest only"
    assert await places.knows(account, "10.9.8.3")
    assert not await places.knows(new_email(), "10.9.8.3")
    kept = [key async for key in redis.scan_iter("places:*")]
    told = str([(key, await redis.zrange(key, 0, -1)) for key in kept])
    assert "10.9.8" not in told
    assert account not in told
    assert {0 < await redis.ttl(key) <= SECONDS for key in kept} == {True}
    await places.remember(account, "10.9.8.7", alone=True)
    assert not await places.knows(account, "10.9.8.9")
    assert await places.knows(account, "10.9.8.7")
