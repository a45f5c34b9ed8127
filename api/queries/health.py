"""For those who run it: is the process alive, can it work, what has it done."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import TypeVar, cast

import orjson
import psycopg
import structlog
from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from sqlalchemy import text
from starlette.responses import PlainTextResponse

from api.deps.state import AppState, State
from api.middleware.metrics import Metrics
from readmodel import partners
from readmodel.projections.lag import status

router = APIRouter(tags=["operations"])

CHECK_SECONDS = 2.0
RETRY_AFTER_SECONDS = 2
SELECT_ONE = text("SELECT 1")

T = TypeVar("T")

log = structlog.get_logger(__name__)


@router.get("/healthz")
async def healthz() -> Response:
    """The process answers; nothing else is asked."""
    return Response(b'{"status":"ok"}', media_type="application/json")


@router.get("/readyz")
async def readyz(state: State) -> Response:
    """Each dependency by name; 503 when one of them is away."""
    checks: dict[str, Awaitable[object]] = {
        "database": _database(state),
        "redis": state.redis.ping(),
        "temporal": state.temporal.service_client.check_health(),
    }
    answers = await asyncio.gather(*(_look(name, check) for name, check in checks.items()))
    found = dict(zip(checks, answers, strict=True))
    is_ready = all(answer == "ok" for answer in answers)
    content = {"status": "ok" if is_ready else "unavailable", "checks": found}
    headers = None if is_ready else {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return Response(
        orjson.dumps(content), 200 if is_ready else 503, headers, media_type="application/json"
    )


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request, state: State) -> Response:
    """Counts and times of this process and what waits to be told, as Prometheus reads them."""
    counted = cast(Metrics, request.app.state.metrics)
    counted.show_streams(len(state.streams))
    counted.show_lags({})
    with contextlib.suppress(psycopg.Error, TimeoutError):
        await _in_time(_show_what_waits(counted, state))
    return Response(counted.exposition(), media_type=CONTENT_TYPE_PLAIN_0_0_4)


async def _show_what_waits(counted: Metrics, state: AppState) -> None:
    async with state.database.statements() as session:
        counted.show_partners(await partners.backlog(session))
        live = [one for one in await status(session) if one.state == "live"]
        counted.show_lags({one.name: one.seconds for one in live})


async def _database(state: AppState) -> None:
    async with state.database.statements() as session:
        await session.one(SELECT_ONE)


async def _look(name: str, check: Awaitable[object]) -> str:
    try:
        is_ok = await _in_time(check) is not False
    except Exception as error:  # noqa: BLE001 -- whatever ails it, it is not ready
        log.warning("not_ready", dependency=name, error=type(error).__name__)
        is_ok = False
    return "ok" if is_ok else "unavailable"


async def _in_time(check: Awaitable[T]) -> T:
    """Its answer; ``TimeoutError`` after ``CHECK_SECONDS``.

    ``wait_for`` waits on for the end of what it cancels, and a statement at a server that hangs
    takes ten seconds more to end. Whoever asks for our health has gone by then.
    """
    asked = asyncio.ensure_future(check)
    asked.add_done_callback(lambda told: told.cancelled() or told.exception())
    done, _ = await asyncio.wait([asked], timeout=CHECK_SECONDS)
    if not done:
        asked.cancel()
        raise TimeoutError
    return asked.result()
