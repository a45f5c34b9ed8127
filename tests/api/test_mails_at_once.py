"""Codes that are asked for at one moment, by whoever wants to fill another's mailbox."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.helpers.accounts import bearer, open_account
from tests.helpers.eventually import eventually
from tests.helpers.mailed import letters_to, two_minutes_pass

AT_ONCE = 4
# No code can be written, and everything can be read.
HOLD_UP = text("LOCK TABLE account_tokens IN SHARE MODE")
WAITING = text("""
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
""")


@pytest.mark.parametrize("path", ["/api/me/verify-email", "/api/auth/password/forgot"])
async def test_who_asks_many_times_at_once_gets_one_mail(
    client: httpx2.AsyncClient, engine: AsyncEngine, path: str
) -> None:
    session = await open_account(client)
    user_id = session["user"]["id"]
    await two_minutes_pass(engine, user_id)
    body = {"email": session["user"]["email"]} if path.endswith("forgot") else {}

    async def ask() -> int:
        return (await client.post(path, json=body, headers=bearer(session))).status_code

    async with engine.begin() as holding:
        await holding.execute(HOLD_UP)
        asked = [asyncio.create_task(ask()) for _ in range(AT_ONCE)]

        async def all_wait() -> bool:
            async with engine.connect() as connection:
                return int(await connection.scalar(WAITING)) == AT_ONCE

        await eventually(all_wait, message="not all came as far as the code")
    assert await asyncio.gather(*asked) == [202] * AT_ONCE
    assert len(await letters_to(engine, user_id)) == 2, "that of the sign-up, and one"
