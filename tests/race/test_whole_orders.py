"""Orders of several seats overlap in every order: all of one or nothing, and no deadlock."""

from __future__ import annotations

import asyncio
import random
from itertools import cycle

from sqlalchemy.ext.asyncio import AsyncEngine

from domain.booking import BookingState
from domain.steps import BookingInput
from tests.factories import Hall, create_hall
from tests.race.buyers import Ledger, Office, create_users

SEATS = 12


def any_order(hall: Hall, user_id: str, dice: random.Random, **changes: object) -> BookingInput:
    labels = dice.sample(hall.labels, dice.randint(2, 5))
    return hall.input(*labels, user_id=user_id, max_live_holds_per_user=100, **changes)


async def test_overlapping_holds_end_whole_or_not_at_all(
    engine: AsyncEngine, office: Office, ledger: Ledger
) -> None:
    for round_number in range(5):
        dice = random.Random(round_number)
        hall = await create_hall(engine, seats=SEATS)
        users = await create_users(engine, 80)
        inputs = [any_order(hall, user, dice) for user in users]
        # A deadlock or a lock that came too late would be raised here.
        outcomes = await office.race(inputs)
        held = {
            one.booking_id for one, out in zip(inputs, outcomes, strict=True) if out.code is None
        }
        assert held
        assert set(await ledger.bookings(hall.show_id)) == held
        await ledger.require_whole_orders(hall.show_id)
        for one, out in zip(inputs, outcomes, strict=True):
            if out.state is BookingState.REJECTED:
                assert out.code == "seats_unavailable"
                assert set(out.data["seats"]) <= {seat.label for seat in one.seats}


async def test_holds_against_releases_confirmations_and_takeovers(
    engine: AsyncEngine, office: Office, ledger: Ledger
) -> None:
    hall = await create_hall(engine, seats=2 * SEATS)
    users = await create_users(engine, 20)
    endings: set[str] = set()
    # Few sales: a sold seat is out of the race for good.
    ways = cycle(
        [
            office.cancel,
            office.cancel_with_page,
            office.sell,
            *[office.cancel, office.cancel_with_page] * 15,
        ]
    )

    async def buyer(user_id: str, seed: int) -> None:
        """Try again and again; what is held is given back one way or another."""
        dice = random.Random(seed)
        for _ in range(24):
            # A hold of no length has lapsed at once: the next that meets it takes it over.
            lapses = dice.random() < 0.4
            order = any_order(hall, user_id, dice, hold_seconds=0 if lapses else 600)
            (outcome,) = await office.race([order])
            if outcome.state is not BookingState.HELD or lapses:
                continue
            endings.add((await next(ways)(order)).state)

    await asyncio.gather(*(buyer(user, seed) for seed, user in enumerate(users)))
    states = {state for state, _, _ in (await ledger.bookings(hall.show_id)).values()}
    assert endings >= {BookingState.CANCELLED, BookingState.CONFIRMED}
    assert "expired" in states, "nothing was taken over"
    await ledger.require_whole_orders(hall.show_id)
