"""The API with its limits on, and addresses that nobody had before."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator

import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from infra.settings import Settings
from tests.helpers.edge import QUOTA, started

# The process that runs these tests meets no address twice; its Redis number is its own.
_numbers = itertools.count(1)


@pytest.fixture
def addresses() -> Iterator[str]:
    """Addresses that nobody had before."""
    return (f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in _numbers)


@pytest.fixture
def address(addresses: Iterator[str]) -> str:
    return next(addresses)


@pytest.fixture(scope="session")
async def limited(settings: Settings, redis: Redis) -> AsyncIterator[FastAPI]:
    async with started(settings, rate_limit_per_minute=QUOTA) as app:
        yield app
