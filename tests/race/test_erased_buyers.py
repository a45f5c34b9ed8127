"""Whose account is erased while they reserve gets no seats: nobody would pay or let go of them."""

from __future__ import annotations

import asyncio

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import Unauthenticated
from infra.postgres.profile import ERASE, LOCK_HOLDS, OPEN_BOOKINGS
from services.reserve import refusal_of
from tests.factories import Hall
from tests.helpers.eventually import eventually
from tests.race.buyers import Ledger, Office

MINE = text("SELECT pg_backend_pid()")
WAITS = "SELECT 1 FROM pg_stat_activity WHERE :mine = ANY(pg_blocking_pids(pid))"


async def test_a_reserve_that_comes_while_its_account_is_erased_holds_nothing(
    engine: AsyncEngine, office: Office, ledger: Ledger, hall: Hall
) -> None:
    input = hall.input()
    async with engine.connect() as erasing:
        mine = await erasing.scalar(MINE)

        async def waits() -> bool:
            return bool(await ledger.rows(WAITS, mine=mine))

        await erasing.execute(LOCK_HOLDS, {"user_id": input.user_id})
        assert (await erasing.execute(OPEN_BOOKINGS, {"id": hall.user_id})).all() == []
        await office.request([input])
        holding = asyncio.create_task(office.hold(input))
        await eventually(waits, message="the hold did not wait for the erasure")
        await erasing.execute(ERASE, {"id": hall.user_id})
        await erasing.commit()
    outcome = await holding
    assert isinstance(refusal_of(outcome), Unauthenticated)
    assert await ledger.claims(hall.show_id) == {}
    assert await ledger.bookings(hall.show_id) == {}
