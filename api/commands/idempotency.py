"""``Idempotency-Key``: a repeat gets the first answer; what was not final runs again."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import orjson
import psycopg
import structlog
from fastapi import Response

from api.deps.state import AppState
from api.errors import refusal
from api.problems import problem
from domain.errors import Conflict, Invalid, SeatholdError
from infra.postgres.idempotency import (
    Answered,
    InFlight,
    Key,
    Mine,
    OtherBody,
    PostgresIdempotency,
)
from infra.tokens import Principal

# A refusal for who asks or how often, and an outcome that is still open, say nothing final.
NOT_FINAL = frozenset({202, 401, 402, 403, 429})
RETRY_AFTER_SECONDS = 1

log = structlog.get_logger(__name__)


async def idempotent(
    state: AppState,
    principal: Principal,
    route: str,
    key: str | None,
    body: bytes,
    run: Callable[[], Awaitable[Response]],
    again: Callable[[], Awaitable[Response]] | None = None,
    *,
    accepted_is_final: bool = False,
) -> Response:
    """The answer of ``run``, or the stored one of the first request with this user, route and key.

    ``again`` is run instead where the key was used before and no answer is stored. A 202 is stored
    only where ``accepted_is_final``: it says that something was done, not that it goes on.
    Refusals that ``run`` raises are answers too. Anything else it raises passes on, and leaves the
    key free for a repeat with the same body.

    Raises:
        Invalid: ``idempotency_key_reused``: the key stands for another body.
    """
    if key is None:
        return await run()
    asked = Key(
        principal.user_id, route, hashlib.sha256(key.encode()).digest(), canonical_hash(body)
    )
    taken = await state.idempotency.take(asked)
    match taken:
        case Mine():
            todo = again if again is not None and taken.seen else run
            return await _run_once(state.idempotency, taken, todo, accepted_is_final)
        case Answered(status, stored, content_type):
            headers = {"Idempotent-Replayed": "true"}
            return Response(stored, status, headers, content_type)
        case OtherBody():
            raise Invalid(
                "This Idempotency-Key was used for another body.", code="idempotency_key_reused"
            )
        case InFlight():
            busy = Conflict("The first request is still at work.", code="request_in_progress")
            return problem(
                409, busy.code, busy.detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)}
            )


def canonical_hash(body: bytes) -> bytes:
    """SHA-256 of what the JSON says, whatever its spaces and the order of its names."""
    try:
        body = orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS) if body else body
    except orjson.JSONDecodeError:
        # A number beyond 64 bits: valid to us, not to orjson, and as it is written it stands.
        pass
    return hashlib.sha256(body).digest()


async def _run_once(
    store: PostgresIdempotency,
    mine: Mine,
    run: Callable[[], Awaitable[Response]],
    accepted_is_final: bool,
) -> Response:
    is_stored = False
    try:
        async with _renewing(store, mine):
            try:
                answer = await run()
            except SeatholdError as error:
                answer = refusal(error)
        if _is_final(answer) or (accepted_is_final and answer.status_code == 202):
            content_type = answer.headers.get("content-type")
            kept = Answered(answer.status_code, bytes(answer.body), content_type)
            await store.store(mine, kept)
            is_stored = True
        return answer
    finally:
        if not is_stored:
            await _release(store, mine)


def _is_final(answer: Response) -> bool:
    """An answer that says when to ask again is none."""
    says_when = "retry-after" in answer.headers
    return answer.status_code < 500 and answer.status_code not in NOT_FINAL and not says_when


async def _release(store: PostgresIdempotency, mine: Mine) -> None:
    try:
        await store.release(mine)
    except psycopg.Error as error:
        # The lease ends by itself, and the answer in hand is worth more.
        log.warning("idempotency_lease_not_released", error=type(error).__name__)


@asynccontextmanager
async def _renewing(store: PostgresIdempotency, mine: Mine) -> AsyncIterator[None]:
    """Keep the lease while the work goes on."""
    task = asyncio.create_task(_renew(store, mine))
    try:
        yield
    finally:
        task.cancel()


async def _renew(store: PostgresIdempotency, mine: Mine) -> None:
    is_mine = True
    while is_mine:
        await asyncio.sleep(store.lease_seconds / 3)
        try:
            is_mine = await store.renew(mine)
        except psycopg.Error as error:
            log.warning("idempotency_lease_not_renewed", error=type(error).__name__)
