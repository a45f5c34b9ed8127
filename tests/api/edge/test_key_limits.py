"""API keys have limits of their own; what only looks like a key is counted by its address."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI

from api.limits import KEY_GUESSES, LimitTable
from api.middleware.guard import Access
from api.policy import POLICY
from domain.api_key import MAX_PER_MINUTE
from domain.errors import Unauthenticated
from domain.user import Role
from infra.rate_limits import RateLimits
from infra.tokens import KeyGrant, Principal
from tests.api.edge.test_rate_limits import Gone
from tests.helpers.accounts import replaced_parts
from tests.helpers.edge import QUOTA, client_from

PATH = "/api/me"
KEY_QUOTA = QUOTA + 2


class Keys:
    """Knows one key, and counts how often it is asked."""

    def __init__(self) -> None:
        self.key = f"sk_{uuid4().hex[:12]}_x"
        self.id: UUID = uuid4()
        self.asked = 0

    async def verify(self, key: str) -> Principal:
        self.asked += 1
        if key != self.key:
            raise Unauthenticated("no key")
        grant = KeyGrant(self.id, frozenset(), KEY_QUOTA)
        return Principal(uuid4(), Role.USER.value, self.id, key=grant)


@pytest.fixture
def keys(limited: FastAPI) -> Iterator[Keys]:
    known = Keys()
    with replaced_parts(limited, api_key_check=known):
        yield known


@pytest.mark.parametrize("header", ["X-API-Key", "Authorization"])
async def test_a_key_is_counted_by_itself_from_wherever_it_comes(
    limited: FastAPI, addresses: Iterator[str], keys: Keys, header: str
) -> None:
    value = keys.key if header == "X-API-Key" else f"Bearer {keys.key}"
    here = next(addresses)
    async with client_from(limited, here) as client:
        found = [
            (await client.get(PATH, headers={header: value})).status_code for _ in range(KEY_QUOTA)
        ]
    assert 429 not in found, "more than an address may, for the key may"
    async with client_from(limited, next(addresses)) as client:
        answer = await client.get(PATH, headers={header: value})
    assert answer.status_code == 429
    assert answer.headers["ratelimit-policy"] == f'"key";q={KEY_QUOTA};w=60'
    async with client_from(limited, here) as client:
        assert (await client.get(PATH)).status_code == 401, "the address is not used up"


def test_what_bounds_the_asking_bounds_no_key(limited: FastAPI) -> None:
    """An owner may give a key this much, and its machine may have one address."""
    route = Access(limited.routes, POLICY).find("GET", PATH)
    table = LimitTable(QUOTA, lambda _: None, lambda _: route)
    scope = {"path": PATH, "method": "GET", "headers": [(b"x-api-key", b"sk_")]}
    plan = table.plan(scope, None)
    assert plan is not None
    assert min(hit.policy.quota for hit in plan.hits) >= MAX_PER_MINUTE


async def _guess(app: FastAPI, address: str) -> list[int]:
    async with client_from(app, address) as client:
        return [
            (await client.get(PATH, headers={"X-API-Key": f"sk_{n}"})).status_code
            for n in range(KEY_GUESSES.quota + 10)
        ]


async def test_guesses_at_keys_end_before_the_database_is_asked(
    limited: FastAPI, address: str, keys: Keys
) -> None:
    found = await _guess(limited, address)
    assert found.count(401) == keys.asked <= KEY_GUESSES.quota + 1
    assert found[-1] == 429


async def test_guesses_at_keys_end_without_redis_too(
    limited: FastAPI, address: str, keys: Keys
) -> None:
    alone = RateLimits(Gone())  # type: ignore[arg-type]
    with replaced_parts(limited, limits=alone):
        found = await _guess(limited, address)
    assert found.count(401) == keys.asked <= KEY_GUESSES.quota + 1
    assert found[-1] == 429


async def test_on_an_open_route_a_key_excuses_nothing(
    limited: FastAPI, address: str, keys: Keys
) -> None:
    async with client_from(limited, address) as client:
        found = [
            (await client.post("/api/auth/refresh", headers={"X-API-Key": keys.key})).status_code
            for _ in range(QUOTA + 1)
        ]
    assert found[-1] == 429
    assert keys.asked == 0
