"""Holding without buying: after a few holds that came to nothing there is a pause."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.booking import CloseReason
from domain.steps import CloseStep, HoldOutcome
from tests.factories import Hall, create_hall
from tests.race.buyers import Office

CAPS = {"max_lapsed_holds": 2, "max_cancelled_holds_per_show": 2}


async def asked(office: Office, hall: Hall, label: str, **changes: object) -> HoldOutcome:
    (outcome,) = await office.race([hall.input(label, **changes)])
    return outcome


async def lapse(engine: AsyncEngine, office: Office, hall: Hall, label: str) -> None:
    """Hold a seat and let it run out; nobody has written that down yet."""
    input = await office.held(hall.input(label))
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE bookings SET hold_expires_at = now() - interval '1 s' WHERE id = :id"),
            {"id": input.booking_id},
        )


async def made_old(engine: AsyncEngine, hall: Hall) -> None:
    """All of the buyer's bookings began two hours ago."""
    async with engine.begin() as connection:
        await connection.execute(
            text("UPDATE bookings SET created_at = now() - interval '2 h' WHERE user_id = :user"),
            {"user": hall.user_id},
        )


async def test_holds_that_ran_out_unpaid_bring_a_pause(
    engine: AsyncEngine, office: Office, hall: Hall
) -> None:
    other = await create_hall(engine)
    for label in ("A1", "A2"):
        await lapse(engine, office, hall, label)
    refused = await asked(office, other, "A1", user_id=str(hall.user_id), **CAPS)
    assert refused.code == "limit_reached"
    assert refused.data == {"limit": "lapsed_holds", "maximum": 2, "window_seconds": 3600}
    assert "2 of your holds ran out unpaid within 60 minutes" in (refused.detail or "")
    assert (await asked(office, other, "A1", **CAPS)).state == "held", "another buyer is not meant"
    # The control: with the cap off the same buyer goes on and on.
    unguarded = await asked(office, other, "A2", user_id=str(hall.user_id))
    assert unguarded.state == "held"


async def test_a_lapse_counts_the_same_when_it_was_written_down(
    engine: AsyncEngine, office: Office, hall: Hall
) -> None:
    for label in ("A1", "A2"):
        await lapse(engine, office, hall, label)
    rival = await create_hall(engine)
    takeover = hall.input("A1", "A2", user_id=str(rival.user_id))
    assert (await office.held(takeover)) is takeover
    assert (await asked(office, hall, "A3", **CAPS)).data["limit"] == "lapsed_holds"


async def test_the_pause_ends_with_its_window(
    engine: AsyncEngine, office: Office, hall: Hall
) -> None:
    for label in ("A1", "A2"):
        await lapse(engine, office, hall, label)
    assert (await asked(office, hall, "A3", **CAPS)).code == "limit_reached"
    await made_old(engine, hall)
    assert (await asked(office, hall, "A3", **CAPS)).state == "held"


async def test_churn_at_one_show_brings_a_pause_at_that_show(
    engine: AsyncEngine, office: Office, hall: Hall
) -> None:
    for label in ("A1", "A2"):
        await office.cancel(await office.held(hall.input(label)))
    refused = await asked(office, hall, "A3", **CAPS)
    assert refused.code == "limit_reached"
    assert refused.data["limit"] == "cancelled_holds_per_show"
    other = await create_hall(engine)
    elsewhere = await asked(office, other, "A1", user_id=str(hall.user_id), **CAPS)
    assert elsewhere.state == "held"
    assert (await asked(office, hall, "A3")).state == "held", "the control: with the cap off"


async def test_what_was_bought_counts_for_nothing(office: Office, hall: Hall) -> None:
    for label in ("A1", "A2", "A3"):
        await office.sell(await office.held(hall.input(label, **CAPS)))
    assert (await asked(office, hall, "A4", **CAPS)).state == "held"


@pytest.mark.parametrize("why", [CloseReason.RELEASED, CloseReason.FAILED])
async def test_a_hold_that_was_ended_for_its_buyer_counts_for_nothing(
    office: Office, hall: Hall, why: CloseReason
) -> None:
    for label in ("A1", "A2"):
        held = await office.held(hall.input(label))
        ended = await office.steps.close_hold(CloseStep(held.booking_id, why, actor="system"))
        assert ended.state == "expired"
    assert (await asked(office, hall, "A3", **CAPS)).state == "held"
