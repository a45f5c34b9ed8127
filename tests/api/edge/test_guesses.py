"""Guesses at a password through the route itself: however spelled, from wherever they come."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import orjson
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from api.limits import LOGIN_FROM_HERE, LOGIN_OF_ACCOUNT
from domain.user import email_key
from infra.settings import Settings
from tests.helpers.accounts import PASSWORD, new_email, open_account
from tests.helpers.edge import client_from, started, status_from

LOGIN = "/api/auth/login"
# All are an ``s`` once an address is folded: long s, fullwidth, mathematical.
LETTERS = ("s", "S", "\u017f", "\uff33", "\uff53", "\U0001d42c")
GUESSES = 1_000


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
