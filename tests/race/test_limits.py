"""One person's holds race one another: the caps hold, and nothing below them is refused."""

from __future__ import annotations

import asyncio
from collections import Counter
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from domain.booking import CloseReason
from domain.steps import CloseStep, HoldOutcome
from tests.factories import Hall, create_hall
from tests.helpers.catalogue import run
from tests.race.buyers import Ledger, Office

PUT = "UPDATE bookings SET state = :state WHERE id = :id"


def refusals(outcomes: list[HoldOutcome]) -> Counter[object]:
    """How often each limit refused; ``None`` counts what was held."""
    return Counter(outcome.data.get("limit", outcome.code) for outcome in outcomes)


async def test_racing_holds_of_one_user_stop_at_three(
    engine: AsyncEngine, office: Office, ledger: Ledger, hall: Hall
) -> None:
    """Each in a show of its own, so that only the user is common to them."""
    halls = await asyncio.gather(*(create_hall(engine) for _ in range(12)))
    inputs = [one.input("A1", user_id=str(hall.user_id)) for one in halls]
    outcomes = await office.race(inputs)
    assert refusals(outcomes) == {None: 3, "live_holds_per_user": 9}
    held = await ledger.rows(
        "SELECT id FROM bookings WHERE user_id = :user AND state = 'held'", user=hall.user_id
    )
    assert len(held) == 3


async def test_racing_orders_of_one_user_stop_at_twenty_seats_of_a_show(
    engine: AsyncEngine, office: Office, ledger: Ledger
) -> None:
    hall = await create_hall(engine, seats=36)
    orders = [hall.labels[start : start + 3] for start in range(0, 36, 3)]
    inputs = [hall.input(*order, max_live_holds_per_user=100) for order in orders]
    outcomes = await office.race(inputs)
    assert refusals(outcomes) == {None: 6, "seats_per_user_show": 6}
    (claimed,) = await ledger.rows(
        "SELECT count(*) FROM seat_claims WHERE show_id = :show AND state = 'held'",
        show=hall.show_id,
    )
    assert claimed == (18,)


async def test_confirmed_seats_count_towards_the_show_but_not_towards_live_holds(
    engine: AsyncEngine, office: Office
) -> None:
    """Also while their money is asked back."""
    hall = await create_hall(engine, seats=30)
    for start, state in ((0, "confirmed"), (6, "refund_pending"), (12, "disputed")):
        booked = await office.held(hall.input(*hall.labels[start : start + 6]))
        await office.sell(booked)
        await run(engine, PUT, id=UUID(booked.booking_id), state=state)
    too_many = hall.input(*hall.labels[18:21])
    enough = hall.input(*hall.labels[18:20])
    outcomes = [*await office.race([too_many]), *await office.race([enough])]
    assert [outcome.data.get("limit") for outcome in outcomes] == ["seats_per_user_show", None]


async def test_a_hold_that_is_over_makes_room_for_another(office: Office, hall: Hall) -> None:
    holds = [await office.held(hall.input(label)) for label in hall.labels[:3]]
    for ending, why in zip(holds[1:], (CloseReason.CANCELLED, CloseReason.RELEASED), strict=True):
        await office.open_page(ending)
        step = CloseStep(ending.booking_id, why, actor="system")
        assert (await office.steps.close_hold(step)).state == why.closing_state
    (refused,) = await office.race([hall.input(hall.labels[3])])
    assert refused.data["limit"] == "live_holds_per_user", "their pages may still take money"
    await office.cancel(holds[0])
    await office.held(hall.input(hall.labels[3]))


async def test_the_same_hold_run_twice_at_once_takes_its_seats_once(
    office: Office, ledger: Ledger, hall: Hall
) -> None:
    """A local activity that timed out may still run while its retry does."""
    input = hall.input("A1", "A2")
    outcomes = await office.race([input] * 10)
    assert {outcome.state for outcome in outcomes} == {"held"}
    assert await ledger.bookings(hall.show_id) == {input.booking_id: ("held", 2, 2)}
    assert await ledger.events(input) == ["ReservationCreated", "SeatLocked"]
    rows = await ledger.rows("SELECT id FROM bookings WHERE id = :id", id=UUID(input.booking_id))
    assert len(rows) == 1
