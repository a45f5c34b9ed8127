"""How often one may ask: by address, by user and route, by account; and what 429 says."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from api.deps.guesses import require_few_guesses
from api.deps.state import AppState
from api.limit_answers import Limited
from api.limits import AGAIN_OF_ACCOUNT, LOGIN_OF_ACCOUNT, again_hits
from api.middleware.client import parse
from api.middleware.context import RequestInfo, current_request
from domain.user import Role
from infra.rate_limits import Hit, Policy, RateLimits
from infra.settings import Settings
from tests.helpers.accounts import new_email, replaced_parts
from tests.helpers.edge import QUOTA, client_from
from tests.helpers.problems import assert_problem

READ = "/api/movies"
WRITE = "/api/booking/reserve"


async def statuses(client: httpx2.AsyncClient, path: str, times: int, **headers: str) -> list[int]:
    method = client.get if path == READ else client.post
    return [(await method(path, headers=headers)).status_code for _ in range(times)]


def refused(found: list[int]) -> int:
    return Counter(found)[429]


def token_of(app: FastAPI, user_id: Any = None) -> str:
    token = app.state.parts.signer.issue(user_id or uuid4(), Role.USER, uuid4())
    return f"Bearer {token}"


class Gone:
    """A Redis that is away, and counts who asks it."""

    def __init__(self) -> None:
        self.asked = 0

    def register_script(self, _: str) -> object:
        class Script:
            sha = ""

        return Script()

    def pipeline(self, **_: object) -> object:
        self.asked += 1
        raise RedisConnectionError("away")


@pytest.mark.parametrize("path", [READ, WRITE])
async def test_one_address_is_refused_after_its_quota_and_told_how_long(
    limited: FastAPI, address: str, path: str
) -> None:
    async with client_from(limited, address) as client:
        found = await statuses(client, path, QUOTA)
        assert refused(found) == 0
        answer = await (client.get(path) if path == READ else client.post(path))
    assert_problem(answer, 429, "rate_limited")
    seconds = int(answer.headers["retry-after"])
    assert 1 <= seconds <= 60
    assert answer.headers["ratelimit-policy"] == f'"default";q={QUOTA};w=60'
    assert answer.headers["ratelimit"] == f'"default";r=0;t={seconds}'


async def test_every_counted_answer_tells_what_is_left(limited: FastAPI, address: str) -> None:
    async with client_from(limited, address) as client:
        told = [(await client.post(WRITE)).headers["ratelimit"] for _ in range(QUOTA)]
    left = [int(re.fullmatch(r'"default";r=(\d+);t=\d+', line)[1]) for line in told]  # type: ignore[index]
    assert left == list(range(QUOTA - 1, -1, -1))


async def test_another_address_is_not_meant(limited: FastAPI, addresses: Iterator[str]) -> None:
    async with client_from(limited, next(addresses)) as client:
        assert refused(await statuses(client, WRITE, QUOTA + 1)) == 1
    async with client_from(limited, next(addresses)) as client:
        assert refused(await statuses(client, WRITE, 1)) == 0


async def test_of_ipv6_a_whole_64_is_one_address(limited: FastAPI) -> None:
    net = f"2001:db8:{secrets.randbelow(65536):x}:{secrets.randbelow(65536):x}"
    found = []
    for number in range(QUOTA + 1):
        async with client_from(limited, f"{net}:{number:x}::1") as client:
            found += await statuses(client, WRITE, 1)
    assert refused(found) == 1
    async with client_from(limited, f"2001:db8:1:{secrets.randbelow(65536):x}::1") as client:
        assert refused(await statuses(client, WRITE, 1)) == 0


async def test_zero_is_off(app: FastAPI, address: str) -> None:
    """The control: it is the limiter that refuses above, not the app behind it."""
    async with client_from(app, address) as client:
        answers = [await client.post(WRITE) for _ in range(3 * QUOTA)]
    assert {answer.status_code for answer in answers} == {401}
    assert not any("ratelimit" in answer.headers for answer in answers)


async def test_a_user_is_counted_by_route_from_wherever_he_comes(
    limited: FastAPI, addresses: Iterator[str]
) -> None:
    token = token_of(limited)
    found = []
    for _ in range(QUOTA + 1):
        async with client_from(limited, next(addresses), Authorization=token) as client:
            found.append((await client.get(f"/api/booking/{uuid4()}")).status_code)
    async with client_from(limited, next(addresses), Authorization=token) as client:
        assert (await client.get("/api/booking/user/x")).status_code == 404, "another route"
    assert found == [404] * QUOTA + [429]


async def test_a_made_up_token_is_nobody_and_counts_by_address(
    limited: FastAPI, address: str
) -> None:
    async with client_from(limited, address) as client:
        found = [
            (await client.post(WRITE, headers={"Authorization": f"Bearer {number}"})).status_code
            for number in range(QUOTA + 1)
        ]
    assert found == [401] * QUOTA + [429]


async def test_public_reads_ask_no_redis(limited: FastAPI, address: str) -> None:
    gone = Gone()
    with replaced_parts(limited, limits=RateLimits(gone)):  # type: ignore[arg-type]
        async with client_from(limited, address, Authorization=token_of(limited)) as client:
            assert refused(await statuses(client, READ, QUOTA + 1)) == 1
            for path in ("theatres", f"shows/{uuid4()}", f"show/{uuid4()}/seats", "queue/x"):
                await client.get(f"/api/{path}")
            assert gone.asked == 0
            await client.post(WRITE)
    assert gone.asked == 1


async def test_two_limits_of_one_request_are_one_round_trip(redis: Redis) -> None:
    sent = []
    pipeline = redis.pipeline

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(redis, name)

        def pipeline(self, **options: Any) -> Any:
            sent.append(options)
            return pipeline(**options)

    limits = RateLimits(Counting())  # type: ignore[arg-type]
    hits = [Hit(Policy(name, 5, 60), str(uuid4())) for name in ("one", "two")]
    await limits.everywhere(*hits)
    assert len(sent) == 1


async def test_many_processes_share_one_quota_exactly(settings: Settings, redis: Redis) -> None:
    policy, who = Policy("shared", 50, 60), str(uuid4())
    processes = [RateLimits(redis) for _ in range(4)]
    standings = await asyncio.gather(
        *(processes[n % 4].everywhere(Hit(policy, who)) for n in range(200))
    )
    assert sum(not standing.is_over for standing in standings) == 50
    assert min(standing.remaining for standing in standings) == 0
    apart = [RateLimits(redis) for _ in range(4)]
    alone = [apart[n % 4].here(Hit(policy, who)) for n in range(200)]
    assert sum(not standing.is_over for standing in alone) == 200, "counted apart, four quotas fit"


async def test_a_full_window_is_refused_without_redis_until_it_ends(redis: Redis) -> None:
    limits, hit = RateLimits(redis), Hit(Policy("full", 1, 60), str(uuid4()))
    await limits.everywhere(hit)
    assert (await limits.everywhere(hit)).is_over
    gone = Gone()
    limits._shared_counts._redis = gone  # type: ignore[assignment]
    assert (await limits.everywhere(hit)).is_over
    assert gone.asked == 0


async def test_without_redis_this_process_counts(limited: FastAPI, address: str) -> None:
    """Slower to refuse than with it, but never without a limit."""
    gone = Gone()
    with replaced_parts(limited, limits=RateLimits(gone)):  # type: ignore[arg-type]
        async with client_from(limited, address) as client:
            found = await statuses(client, WRITE, 2 * QUOTA)
    assert found == [401] * QUOTA + [429] * QUOTA
    assert gone.asked >= 1


async def test_redis_started_anew_knows_the_script_again(redis: Redis) -> None:
    limits, hit = RateLimits(redis), Hit(Policy("anew", 5, 60), str(uuid4()))
    assert (await limits.everywhere(hit)).remaining == 4
    await redis.script_flush()
    assert (await limits.everywhere(hit)).remaining == 3


async def test_a_window_without_an_end_gets_one(redis: Redis) -> None:
    limits, hit = RateLimits(redis), Hit(Policy("endless", 5, 60), str(uuid4()))
    await limits.everywhere(hit)
    (key,) = [key async for key in redis.scan_iter(f"limit:endless/{hit.who}/*")]
    await redis.persist(key)
    assert (await limits.everywhere(hit)).reset_seconds <= 60
    assert 0 < await redis.ttl(key) <= 60


async def test_webhooks_and_streams_have_limits_of_their_own(
    limited: FastAPI, address: str
) -> None:
    async with client_from(limited, address) as client:
        assert refused(await statuses(client, WRITE, QUOTA + 1)) == 1
        webhook = await client.post("/api/webhooks/sandbox", content=b"{}")
        stream = await client.get(f"/api/show/{uuid4()}/availability/stream")
        healthy = await client.get("/healthz")
        watched = [await client.get(path) for path in ("/readyz", "/metrics")]
    for answer in watched:
        assert answer.headers["ratelimit-policy"] == '"operations";q=600;w=60'
    assert webhook.headers["ratelimit-policy"] == '"webhooks";q=6000;w=60'
    assert stream.headers["ratelimit-policy"] == '"streams";q=60;w=60'
    assert {webhook.status_code, stream.status_code}.isdisjoint({429})
    assert healthy.status_code == 200
    assert "ratelimit" not in healthy.headers


@pytest.mark.parametrize("name", ["register", "password/forgot"])
async def test_five_an_hour_from_one_address(limited: FastAPI, address: str, name: str) -> None:
    path = f"/api/auth/{name}"

    def reached() -> int:
        counts = limited.state.metrics.counts()
        return sum(times for (_, route, _), times in counts.items() if route == path)

    async with client_from(limited, address) as client:
        assert refused(await statuses(client, path, 5)) == 0
        before = reached()
        answer = await client.post(path)
    assert_problem(answer, 429, "rate_limited")
    assert reached() == before > 0, "it was told to wait, and its request done all the same"
    policy = name.rpartition("/")[2]
    assert answer.headers["ratelimit-policy"] == f'"{policy}";q=5;w=3600'


@pytest.mark.parametrize("end", ["%0A", "%00", "/", "%2F", "%20", ";x"])
@pytest.mark.parametrize("name", ["register", "password/forgot"])
async def test_no_spelling_of_an_address_is_a_way_around_its_limit(
    limited: FastAPI, address: str, name: str, end: str
) -> None:
    async with client_from(limited, address) as client:
        assert (await client.post(f"/api/auth/{name}{end}")).status_code == 404


@pytest.mark.parametrize(
    "spelling",
    ["{}", "urn:uuid:{}", "%7B{}%7D", "{}-", "-{}", "{}{{}}", "x{}"],
)
async def test_no_spelling_of_an_id_is_another_route(
    limited: FastAPI, addresses: Iterator[str], spelling: str
) -> None:
    token, found = token_of(limited), []
    for number in range(QUOTA + 1):
        path = f"/api/booking/{spelling.format(uuid4())}{'-' * number}"
        async with client_from(limited, next(addresses), Authorization=token) as client:
            found.append((await client.get(path)).status_code)
    assert found == [404] * QUOTA + [429]


AGAIN = ("password", "totp", "totp/confirm", "totp/remove", "sessions/end")


async def test_a_stolen_token_is_no_way_to_guess_the_password_or_a_code(
    limited: FastAPI, addresses: Iterator[str]
) -> None:
    """Counted together, so that none of them is the way around the others."""
    user, here = uuid4(), next(addresses)
    headers = {"Authorization": token_of(limited, user)}
    async with client_from(limited, here) as client:
        for name in AGAIN:
            answer = await client.post(f"/api/me/{name}", headers=headers)
            assert_problem(answer, 422, "invalid")
        for _ in range(10 - len(AGAIN)):
            await limited.state.parts.limits.everywhere(*again_hits(user, parse(here)))
        answer = await client.post("/api/me/password", headers=headers)
    assert_problem(answer, 429, "rate_limited")
    assert answer.headers["ratelimit-policy"] == '"again";q=10;w=900'
    async with client_from(limited, next(addresses)) as client:
        answer = await client.post("/api/me/password", headers=headers)
        assert answer.status_code == 422, "the owner is elsewhere"


async def test_what_is_asked_again_is_limited_from_everywhere_too(
    limited: FastAPI, addresses: Iterator[str]
) -> None:
    user, found = uuid4(), []
    for _ in range(AGAIN_OF_ACCOUNT.quota + 3):
        standing = await limited.state.parts.limits.everywhere(
            *again_hits(user, parse(next(addresses)))
        )
        found.append(standing.is_over)
    assert found == [False] * 100 + [True] * 3


class TestLogin:
    async def guess(self, app: FastAPI, address: str, email: str) -> int:
        """One try, without the work of a password's hash."""
        state: AppState = app.state.parts
        token = current_request.set(RequestInfo("", "", parse(address)))
        try:
            await require_few_guesses(state, email)
        except Limited:
            return 429
        finally:
            current_request.reset(token)
        return 200

    async def test_ten_tries_at_an_account_from_one_address(
        self, limited: FastAPI, addresses: Iterator[str]
    ) -> None:
        email, here = new_email(), next(addresses)
        spelled = [email, email.upper(), f" {email} "]
        found = [await self.guess(limited, here, spelled[n % 3]) for n in range(12)]
        assert found == [200] * 10 + [429] * 2
        assert await self.guess(limited, next(addresses), email) == 200, "the owner is elsewhere"
        assert await self.guess(limited, here, new_email()) == 200

    async def test_guesses_from_everywhere_are_a_hundred_an_hour(
        self, limited: FastAPI, addresses: Iterator[str]
    ) -> None:
        email = new_email()
        found = [await self.guess(limited, next(addresses), email) for _ in range(130)]
        assert found.count(200) == LOGIN_OF_ACCOUNT.quota == 100

    async def test_the_route_asks_before_it_looks_at_the_password(
        self, limited: FastAPI, addresses: Iterator[str]
    ) -> None:
        email, here = new_email(), next(addresses)
        for _ in range(10):
            await self.guess(limited, here, email)
        async with client_from(limited, here) as client:
            answer = await client.post("/api/auth/login", json={"email": email, "password": "x"})
        assert_problem(answer, 429, "rate_limited")
        assert answer.headers["ratelimit-policy"] == '"login";q=10;w=900'
