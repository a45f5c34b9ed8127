"""Late money that buys its seats after all, and each reason for which it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.booking import BookingContract
from domain.steps import CancelRequest, LatePaymentInput
from services import late_payment
from services.work import LateLimits
from tests.factories import Hall
from tests.helpers.late import Late, rival_takes, write
from tests.helpers.saga import LATE, Fault, Saga
from tests.sandbox.process import Sandbox


async def test_late_money_gets_the_same_seats_while_they_are_free(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    async with saga.worker():
        late = await Late.expired(saga, hall, provider)
        assert await saga.claims(late.input) == {}
        receipt_id = await late.pay()
        assert await late.outcome(receipt_id) == "confirmed"
    assert await saga.state(late.input) == "confirmed"
    assert await saga.claims(late.input) == {"A1": "sold", "A2": "sold"}
    assert late.refunded() == 0
    assert (await saga.events(late.input))[-4:] == [
        "LatePaymentAccepted",
        "SeatLocked",
        "BookingConfirmed",
        "NotificationQueued",
    ]
    assert await late.mails() == ["lapse", "confirmation"]
    posted = await saga.rows(
        "SELECT DISTINCT kind FROM ledger_entries WHERE booking_id = :id ORDER BY kind",
        id=UUID(late.input.booking_id),
    )
    assert posted == [("captured",), ("confirmed",), ("fee",)]
    taken = await saga.preclaims.taken(hall.show_id, ["A1", "A2", "A3"])
    assert taken == {"A1", "A2"}


async def test_of_two_late_payments_one_confirms_and_the_other_goes_back(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    async with saga.worker():
        late = await Late.expired(saga, hall, provider)
        pages = {"force": True, "webhooks": {"deliver": False}}
        first = provider.pay({"id": late.session_id}, "captured", **pages)
        await late.pay()
        found = await saga.rows(
            "SELECT id FROM provider_payments WHERE booking_id = :id",
            id=UUID(late.input.booking_id),
        )
        ends = await asyncio.gather(*(late.outcome(str(row[0])) for row in found))
    assert sorted(ends) == ["confirmed", "succeeded"]
    assert sorted(late.refunded(one) for one in (first, late.reference)) == [0, 2400]
    assert await saga.claims(late.input) == {"A1": "sold", "A2": "sold"}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_whichever_of_two_late_payments_is_decided_first_wins(
    saga: Saga, hall: Hall, provider: Sandbox, order: tuple[int, int]
) -> None:
    async with saga.worker():
        late = await Late.expired(saga, hall, provider)
    receipts = [await late.pay(), await late.pay()]
    states = [
        str((await late_payment.settle(saga.begin, LatePaymentInput(receipts[n]), LATE)).state)
        for n in (*order, *order)
    ]
    assert states == ["confirmed", "goes_back"] * 2
    verdicts = await saga.rows(
        "SELECT id::text, decision FROM provider_payments WHERE booking_id = :id",
        id=UUID(late.input.booking_id),
    )
    expected = {receipts[order[0]]: "confirms", receipts[order[1]]: "duplicate"}
    assert dict(verdicts) == expected


async def test_one_lost_seat_of_two_is_enough_to_send_all_of_it_back(
    saga: Saga, hall: Hall, provider: Sandbox, engine: AsyncEngine
) -> None:
    async with saga.worker():
        late = await Late.expired(saga, hall, provider)
        rival = await rival_takes(engine, saga, hall, "A2")
        assert await late.outcome(await late.pay()) == "succeeded"
    assert await saga.state(late.input) == "expired"
    assert await saga.claims(rival) == {"A2": "held"}
    assert late.refunded() == 2400
    assert await late.mails() == ["lapse", "refund"]
    assert "LatePaymentRefunded" in await saga.events(late.input)


async def test_a_second_payment_after_a_refund_goes_back_too(
    saga: Saga, hall: Hall, provider: Sandbox, engine: AsyncEngine
) -> None:
    """The buyer was told that the money returns: what comes after it books nothing unasked."""
    async with saga.worker():
        late = await Late.expired(saga, hall, provider)
        rival = await rival_takes(engine, saga, hall, "A2")
        assert await late.outcome(await late.pay()) == "succeeded"
        await saga.handle(rival).execute_update(
            BookingContract.cancel, CancelRequest(rival.user_id)
        )
        assert await late.outcome(await late.pay()) == "succeeded"
    assert await saga.state(late.input) == "expired"
    assert late.refunded() == 2400


async def test_a_hold_that_has_lapsed_is_no_rival(
    saga: Saga, hall: Hall, provider: Sandbox, engine: AsyncEngine
) -> None:
    async with saga.worker():
        late = await Late.expired(saga, hall, provider)
        rival = await rival_takes(engine, saga, hall, "A2", "A3")
    # Its workflow has no worker now, so only the clock ends it.
    await write(
        engine,
        "UPDATE bookings SET hold_expires_at = now() - interval '1 second' WHERE id = :id",
        rival.booking_id,
    )
    outcome = await late_payment.settle(saga.begin, LatePaymentInput(await late.pay()), LATE)
    assert outcome.state == "confirmed"
    assert await saga.state(rival) == "expired"
    assert await saga.claims(late.input) == {"A1": "sold", "A2": "sold"}


Spoil = Callable[[Saga, AsyncEngine, Hall], Awaitable[None]]


async def window_of_nothing(saga: Saga, engine: AsyncEngine, hall: Hall) -> None:
    saga.late = replace(LATE, window_seconds=0)


async def window_over(saga: Saga, engine: AsyncEngine, hall: Hall) -> None:
    await write(
        engine,
        "UPDATE bookings SET hold_expires_at = now() - interval '901 seconds' WHERE show_id = :id",
        hall.show_id,
    )


async def sale_over(saga: Saga, engine: AsyncEngine, hall: Hall) -> None:
    await write(engine, "UPDATE shows SET sales_close_at = now() WHERE id = :id", hall.show_id)


async def show_begun(saga: Saga, engine: AsyncEngine, hall: Hall) -> None:
    await write(engine, "UPDATE shows SET starts_at = now() WHERE id = :id", hall.show_id)


async def show_cancelled(saga: Saga, engine: AsyncEngine, hall: Hall) -> None:
    await write(engine, "UPDATE shows SET status = 'cancelled' WHERE id = :id", hall.show_id)


async def limit_reached(saga: Saga, engine: AsyncEngine, hall: Hall) -> None:
    saga.late = replace(LATE, max_seats_per_user_show=3)
    assert await saga.reserve(hall.input("A8", "A9")) == "held"


@pytest.mark.parametrize(
    "spoil",
    [window_of_nothing, window_over, sale_over, show_begun, show_cancelled, limit_reached],
)
async def test_seats_that_are_free_are_not_enough(
    saga: Saga, hall: Hall, provider: Sandbox, engine: AsyncEngine, spoil: Spoil
) -> None:
    """Nor is an offer made then, though this show makes them."""
    await write(engine, "UPDATE shows SET offers_seats = true WHERE id = :id", hall.show_id)
    async with saga.worker():
        late = await Late.expired(saga, hall, provider)
        await spoil(saga, engine, hall)
    async with saga.worker():
        receipt_id = await late.pay()
        assert await late.outcome(receipt_id) == "succeeded"
    assert late.refunded() == 2400
    assert await saga.state(late.input) == "expired"
    assert not {"A1", "A2"} & set(await saga.claims(late.input))
    assert await late.offer_state(receipt_id) is None


@pytest.mark.parametrize("most", [3, 4])
async def test_the_limit_counts_what_the_buyer_has_and_would_have(
    saga: Saga, hall: Hall, provider: Sandbox, most: int
) -> None:
    async with saga.worker():
        late = await Late.expired(saga, hall, provider)
        assert await saga.reserve(hall.input("A8", "A9")) == "held"
    limits = LateLimits(900, 1800, most)
    outcome = await late_payment.settle(saga.begin, LatePaymentInput(await late.pay()), limits)
    assert outcome.state == ("confirmed" if most == 4 else "goes_back")


async def test_money_for_a_cancelled_booking_goes_back_though_its_seats_are_free(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input()
    async with saga.worker():
        await saga.reserve(input)
        late = Late(saga, provider, input, await saga.checkout(input))
        await saga.handle(input).execute_update(
            BookingContract.cancel, CancelRequest(input.user_id)
        )
        await saga.handle(input).result()
        assert await late.outcome(await late.pay()) == "succeeded"
    assert late.refunded() == 2400
    assert await saga.state(input) == "cancelled"
    assert await saga.claims(input) == {}


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_decision_that_fails_once_is_made_once(
    saga: Saga, hall: Hall, provider: Sandbox, when: str
) -> None:
    fault = Fault("settle_late", when, times=2, repeat=2)
    async with saga.worker(fault):
        late = await Late.expired(saga, hall, provider)
        assert await late.outcome(await late.pay()) == "confirmed"
    assert (await saga.events(late.input)).count("LatePaymentAccepted") == 1
    assert await late.mails() == ["lapse", "confirmation"]


async def test_nothing_is_lost_when_the_saga_never_ran(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    """Killed between the record and the start of the saga: the reaper asks again."""
    async with saga.worker():
        late = await Late.expired(saga, hall, provider)
    receipt_id = await late.pay()
    await late.handle(receipt_id).terminate()
    await write(
        saga.engine,
        "UPDATE provider_payments SET updated_at = now() - interval '9 seconds' WHERE id = :id",
        receipt_id,
    )
    undecided = await saga.work.undecided_captures(seconds=5, limit=1000)
    assert UUID(receipt_id) in undecided
    async with saga.worker():
        await saga.news.tell_again(UUID(receipt_id))
        assert await late.outcome(receipt_id) == "confirmed"
