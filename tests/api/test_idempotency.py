"""An Idempotency-Key makes a repeat safe: one effect, one answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI, Response
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from api.commands.idempotency import canonical_hash, idempotent
from api.deps.state import AppState
from domain.errors import (
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    PaymentRequired,
    SeatholdError,
    StillPending,
    Unauthenticated,
    Unavailable,
)
from infra.postgres.database import Database
from infra.postgres.idempotency import PostgresIdempotency
from infra.tokens import Principal
from tests.factories import create_user
from tests.helpers.accounts import RegisterUser
from tests.helpers.problems import assert_problem

ROUTE = "POST /api/booking/reserve"
BODY = b'{"seats": ["C12"], "show": 1}'

Run = Callable[[], Awaitable[Response]]


@dataclass
class Work:
    """Counts how often it is done; ``results`` are answered in turn, the last one for ever."""

    results: list[Response | Exception]
    times: int = 0
    started: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self) -> Response:
        result = self.results[min(self.times, len(self.results) - 1)]
        self.times += 1
        self.started.set()
        if isinstance(result, Exception):
            raise result
        return result

    async def slowly(self) -> Response:
        answer = await self()
        await self.may_end.wait()
        return answer


def answer(status: int = 201, **content: object) -> Response:
    return Response(json.dumps(content or {"n": 1}), status, media_type="application/json")


@dataclass
class Repeats:
    """One user's requests under one key."""

    state: AppState
    user: Principal
    key: str | None = "a key"

    async def __call__(self, run: Run, *, body: bytes = BODY, route: str = ROUTE) -> Response:
        return await idempotent(self.state, self.user, route, self.key, body, run)

    def on(self, **changes: object) -> Repeats:
        return replace(self, **changes)  # type: ignore[arg-type]


@pytest.fixture
async def ask(app: FastAPI, engine: AsyncEngine) -> Repeats:
    return Repeats(app.state.parts, Principal(await create_user(engine), "user", uuid4()))


async def expire_lease(engine: AsyncEngine, user_id: UUID) -> None:
    """As if the process that has it had died."""
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE idempotency_keys SET lease_until = clock_timestamp() WHERE user_id = :id"),
            {"id": user_id},
        )


async def test_a_repeat_gets_the_same_bytes_and_nothing_is_done_again(ask: Repeats) -> None:
    work = Work([answer(201, id="x", ü="ß")])
    first, second = await ask(work), await ask(work)
    assert work.times == 1
    assert second.body == first.body
    assert second.status_code == 201
    assert second.headers["content-type"] == first.headers["content-type"]
    assert second.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers


async def test_without_a_key_a_repeat_is_a_new_request(ask: Repeats) -> None:
    work = Work([answer()])
    for _ in range(2):
        await ask.on(key=None)(work)
    assert work.times == 2


@pytest.mark.parametrize(
    "spelling", [b'{"show":1,"seats":["C12"]}', b'\n{"show": 1,\t"seats":["C12"]} ']
)
async def test_the_same_json_in_another_spelling_is_the_same_body(
    ask: Repeats, spelling: bytes
) -> None:
    work = Work([answer()])
    await ask(work)
    await ask(work, body=spelling)
    assert work.times == 1


@pytest.mark.parametrize("body", [b'{"seats": ["C13"], "show": 1}', b"", b'{"show": 1}'])
async def test_another_body_under_the_same_key_is_refused(ask: Repeats, body: bytes) -> None:
    work = Work([answer()])
    await ask(work)
    with pytest.raises(Invalid) as refused:
        await ask(work, body=body)
    assert refused.value.code == "idempotency_key_reused"
    assert work.times == 1


async def test_a_key_is_of_one_user_and_one_route(ask: Repeats, engine: AsyncEngine) -> None:
    work = Work([answer()])
    await ask(work)
    await ask(work, route="POST /api/booking/confirm")
    await ask.on(user=Principal(await create_user(engine), "user", uuid4()))(work)
    await ask.on(key="A key")(work)
    assert work.times == 4


@pytest.mark.parametrize(
    "error",
    [
        Conflict("taken", code="seats_unavailable", seats=["C12"]),
        NotFound("no such show"),
        Gone("over"),
        Invalid("unknown", code="unknown_seat"),
    ],
    ids=lambda error: error.code,
)
async def test_a_final_refusal_is_an_answer(ask: Repeats, error: SeatholdError) -> None:
    work = Work([error])
    first, second = await ask(work), await ask(work)
    assert work.times == 1
    assert json.loads(bytes(first.body))["code"] == error.code
    assert (second.status_code, second.body) == (first.status_code, first.body)
    assert second.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "passing",
    [
        answer(202),
        answer(500),
        answer(503),
        Unauthenticated("who?"),
        PaymentRequired("pay"),
        Forbidden("queue", code="queue_required"),
        Unavailable("busy", code="rate_limited"),
        Unavailable("away"),
        StillPending(),
    ],
    ids=lambda result: str(getattr(result, "status_code", None) or result.code),
)
async def test_what_is_not_final_runs_again(
    ask: Repeats, passing: Response | SeatholdError
) -> None:
    work = Work([passing, answer(201)])
    first, second, third = await ask(work), await ask(work), await ask(work)
    assert work.times == 2
    assert first.status_code != 201
    assert second.status_code == third.status_code == 201
    assert "idempotent-replayed" not in second.headers
    assert "idempotent-replayed" in third.headers


async def test_what_is_not_final_still_binds_the_key_to_its_body(ask: Repeats) -> None:
    work = Work([answer(202)])
    await ask(work)
    with pytest.raises(Invalid):
        await ask(work, body=b"{}")


async def test_a_request_that_broke_may_be_repeated_at_once(ask: Repeats) -> None:
    work = Work([RuntimeError("broken"), answer()])
    with pytest.raises(RuntimeError):
        await ask(work)
    assert (await ask(work)).status_code == 201


async def test_a_repeat_while_the_first_is_at_work_is_told_to_wait(ask: Repeats) -> None:
    work = Work([answer()])
    first = asyncio.create_task(ask(work.slowly))
    await work.started.wait()
    second = await ask(work)
    assert second.status_code == 409
    assert json.loads(bytes(second.body))["code"] == "request_in_progress"
    assert int(second.headers["retry-after"]) > 0
    with pytest.raises(Invalid):
        await ask(work, body=b"{}")
    work.may_end.set()
    assert (await first).status_code == 201
    assert (await ask(work)).status_code == 201
    assert work.times == 1


async def test_of_many_at_once_one_runs(ask: Repeats) -> None:
    work = Work([answer()])
    answers = await asyncio.gather(*(ask(work) for _ in range(30)))
    assert work.times == 1
    assert {one.status_code for one in answers} <= {201, 409}


async def test_a_cancelled_request_leaves_its_key_free(ask: Repeats) -> None:
    work = Work([answer()])
    first = asyncio.create_task(ask(work.slowly))
    await work.started.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (await ask(work)).status_code == 201
    assert work.times == 2


async def test_a_dead_request_is_taken_over_and_cannot_write_after_that(
    ask: Repeats, engine: AsyncEngine
) -> None:
    dead, live = Work([answer(201, who="dead")]), Work([answer(201, who="live")])
    first = asyncio.create_task(ask(dead.slowly))
    await dead.started.wait()
    await expire_lease(engine, ask.user.user_id)

    second = await ask(live)
    assert live.times == 1
    dead.may_end.set()
    await first
    assert (await ask(live)).body == second.body
    assert live.times == 1


async def test_another_body_does_not_take_a_dead_request_over(
    ask: Repeats, engine: AsyncEngine
) -> None:
    work = Work([answer()])
    first = asyncio.create_task(ask(work.slowly))
    await work.started.wait()
    await expire_lease(engine, ask.user.user_id)
    with pytest.raises(Invalid):
        await ask(work, body=b"{}")
    work.may_end.set()
    await first


async def test_the_lease_is_renewed_as_long_as_the_work_takes(
    ask: Repeats, database: Database
) -> None:
    lease_seconds = 0.3
    store = PostgresIdempotency(database, lease_seconds=lease_seconds)
    patient = ask.on(state=replace(ask.state, idempotency=store))
    work = Work([answer()])
    first = asyncio.create_task(patient(work.slowly))
    await work.started.wait()
    loop = asyncio.get_running_loop()
    end = loop.time() + 3 * lease_seconds
    while loop.time() < end:
        assert (await patient(work)).status_code == 409
    work.may_end.set()
    await first
    assert work.times == 1


async def test_a_key_is_as_good_as_new_after_a_day(ask: Repeats, engine: AsyncEngine) -> None:
    work = Work([answer(201, n=1), answer(201, n=2)])
    await ask(work)
    for age, times in (("23 hours 59 minutes", 1), ("24 hours 1 minute", 2)):
        async with engine.begin() as connection:
            await connection.execute(
                text(
                    "UPDATE idempotency_keys SET created_at = clock_timestamp()"
                    " - CAST(:age AS interval) WHERE user_id = :id"
                ),
                {"age": age, "id": ask.user.user_id},
            )
        await ask(work)
        assert work.times == times
    assert json.loads(bytes((await ask(work)).body)) == {"n": 2}
    assert (await ask.on(key="x")(work, body=b"{}")).status_code == 201


def test_bodies_are_compared_by_what_they_say() -> None:
    assert canonical_hash(b'{"a":1,"b":[1,2]}') == canonical_hash(b'{ "b": [1, 2], "a": 1 }')
    assert canonical_hash(b"[1,2]") != canonical_hash(b"[2,1]")
    assert canonical_hash(b"1") != canonical_hash(b'"1"')
    huge = b'{"a":' + b"9" * 100 + b"}"
    assert canonical_hash(huge) == canonical_hash(huge) != canonical_hash(b"{}")


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "ü", "\x7f", "a\tb"])
async def test_a_malformed_key_is_refused(
    client: httpx2.AsyncClient, register_user: RegisterUser, key: str
) -> None:
    _, headers = await register_user()
    sent = {**headers, "Idempotency-Key": key.encode("latin-1")}
    body = {"show_id": str(uuid4()), "seats": ["C12"]}
    refused = await client.post("/api/booking/reserve", json=body, headers=sent)  # type: ignore[arg-type]
    assert_problem(refused, 400, "invalid_idempotency_key")


async def test_of_two_keys_none_is_chosen(
    client: httpx2.AsyncClient, register_user: RegisterUser
) -> None:
    _, headers = await register_user()
    sent = [*headers.items(), ("Idempotency-Key", "one"), ("Idempotency-Key", "other")]
    body = {"show_id": str(uuid4()), "seats": ["C12"]}
    refused = await client.post("/api/booking/reserve", json=body, headers=sent)
    assert_problem(refused, 400, "invalid_idempotency_key")


async def test_any_visible_key_is_taken(
    client: httpx2.AsyncClient, register_user: RegisterUser
) -> None:
    _, headers = await register_user()
    body = {"show_id": str(uuid4()), "seats": ["C12"]}
    for key in ("!", "~" * 255, '"quoted"', "a;b,c='1'--"):
        sent = {**headers, "Idempotency-Key": key}
        answers = [
            await client.post("/api/booking/reserve", json=body, headers=sent) for _ in range(2)
        ]
        for one in answers:
            assert one.status_code == 404
        assert answers[0].content == answers[1].content
        assert answers[1].headers["idempotent-replayed"] == "true"
