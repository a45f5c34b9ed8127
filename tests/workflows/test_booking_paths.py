"""Each way a booking can go, on real servers, down to its recorded history."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.enums.v1 import EventType as History
from temporalio.client import WorkflowHandle

from contracts.booking import BOOKING_STATUS, BookingContract
from domain.errors import Conflict, Gone
from domain.steps import CancelRequest, ExtendRequest, PaymentSettled
from services.desk import Caller
from tests.factories import Hall
from tests.helpers.eventually import eventually as when
from tests.helpers.saga import Saga
from tests.sandbox.process import Sandbox, eventually


def pay(provider: Sandbox, session_id: str, outcome: str = "captured", **act: Any) -> str:
    return provider.pay({"id": session_id}, outcome, webhooks={"deliver": False}, **act)


async def tell(saga: Saga, session_id: str) -> None:
    """What the inbox loop does with a webhook that names this session."""
    assert await saga.news.by_session("sandbox", session_id, request_id="webhook")


async def event_types(handle: WorkflowHandle[object, object]) -> list[int]:
    return [event.event_type for event in (await handle.fetch_history()).events]


async def test_reserve_pay_confirm_costs_two_tasks_and_sixteen_events(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input()
    async with saga.worker():
        assert await saga.reserve(input) == "held"
        session_id = await saga.checkout(input)
        pay(provider, session_id)
        await tell(saga, session_id)
        handle = saga.handle(input)
        assert (await handle.result())["state"] == "confirmed"
    types = await event_types(handle)
    assert len(types) <= 16
    assert types.count(History.EVENT_TYPE_WORKFLOW_TASK_COMPLETED) == 2
    [timer] = [
        event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta()
        for event in (await handle.fetch_history()).events
        if event.event_type == History.EVENT_TYPE_TIMER_STARTED
    ]
    assert timer > timedelta(seconds=input.hold_seconds - 60), "one sooner only costs a task more"
    upserts = types.count(History.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES)
    assert upserts == 1
    assert await saga.claims(input) == {"A1": "sold", "A2": "sold"}
    described = await handle.describe()
    assert described.typed_search_attributes.get(BOOKING_STATUS) == "confirmed"


async def test_an_unpaid_hold_lapses_and_its_seats_go_free(saga: Saga, hall: Hall) -> None:
    input = hall.input(hold_seconds=1)
    async with saga.worker():
        await saga.reserve(input)
        assert (await saga.handle(input).result())["state"] == "expired"
    assert await saga.claims(input) == {}
    ended = ["BookingExpired", "SeatReleased", "NotificationQueued"]
    assert (await saga.events(input))[-3:] == ended


async def test_an_open_pay_page_is_closed_before_the_seats_go_free(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input(hold_seconds=1, hold_max_seconds=2)
    async with saga.worker():
        await saga.reserve(input)
        session_id = await saga.checkout(input)
        assert (await saga.handle(input).result())["state"] == "expired"
    assert provider.look({"id": session_id})["status"] == "expired"
    events = await saga.events(input)
    assert events.index("BookingExpiring") < events.index("SeatReleased")


async def test_seats_stay_held_until_the_provider_has_closed_the_page(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    """Seats that were free sooner could be sold again while this buyer still pays for them."""
    input = hall.input(grace_seconds=60)
    async with saga.worker():
        await saga.reserve(input)
        session_id = await saga.checkout(input)
        provider.configure(error_rate=1.0)
        try:
            handle = saga.handle(input)
            outcome = await handle.execute_update(
                BookingContract.cancel, CancelRequest(input.user_id)
            )
            assert outcome.state == "cancelling"
            assert await saga.claims(input) == {"A1": "held", "A2": "held"}
        finally:
            provider.configure(error_rate=None)
        assert (await handle.result())["state"] == "cancelled"
    assert provider.look({"id": session_id})["status"] == "expired"
    assert await saga.claims(input) == {}


@pytest.mark.parametrize("first", ["", "failed"])
async def test_money_that_settles_after_the_ordinary_grace_still_confirms(
    saga: Saga, hall: Hall, provider: Sandbox, first: str
) -> None:
    """Also where a card on the same page failed before: then the rows do not tell of the next."""
    input = hall.input(
        hold_seconds=1, hold_max_seconds=2, grace_seconds=1, settling_grace_seconds=60
    )
    async with saga.worker():
        await saga.reserve(input)
        session_id = await saga.checkout(input)
        if first:
            pay(provider, session_id, first)
            await tell(saga, session_id)
        pay(provider, session_id, "processing")
        await tell(saga, session_id)

        async def grace_is_over() -> bool:
            return await saga.rows(
                "SELECT state, closing_since < now() - interval '2 seconds' FROM bookings"
                " WHERE id = :id",
                id=UUID(input.booking_id),
            ) == [("expiring", True)]

        await when(grace_is_over, seconds=20, message="it did not wait for the money")
        assert await saga.claims(input) == {"A1": "held", "A2": "held"}
        pay(provider, session_id)
        assert (await saga.handle(input).result())["state"] == "confirmed"


async def test_a_notification_is_of_one_transaction_with_what_it_tells(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    """Neither can be lost without the other, wherever the process is killed."""
    paid, lapsed = hall.input("A1"), hall.input("A2", hold_seconds=1)
    async with saga.worker():
        await saga.reserve(paid)
        session_id = await saga.checkout(paid)
        pay(provider, session_id)
        await tell(saga, session_id)
        assert (await saga.handle(paid).result())["state"] == "confirmed"
        await saga.reserve(lapsed)
        assert (await saga.handle(lapsed).result())["state"] == "expired"
    for input, told in ((paid, "BookingConfirmed"), (lapsed, "BookingExpired")):
        written_by = await saga.rows(
            "SELECT xmin::text FROM events WHERE aggregate_id = :id AND event_type = :told"
            " UNION ALL SELECT xmin::text FROM notification_outbox WHERE booking_id = :id",
            id=UUID(input.booking_id),
            told=told,
        )
        assert len(written_by) == 3, "one event, a mail and a text message"
        assert len(set(written_by)) == 1


async def test_money_seen_while_the_page_is_being_closed_is_on_time(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input(hold_seconds=1, hold_max_seconds=2)
    async with saga.worker():
        await saga.reserve(input)
        session_id = await saga.checkout(input)
        pay(provider, session_id)  # and no webhook tells of it
        assert (await saga.handle(input).result())["state"] == "confirmed"
    assert await saga.claims(input) == {"A1": "sold", "A2": "sold"}


async def test_late_money_goes_back_whole(saga: Saga, hall: Hall, provider: Sandbox) -> None:
    """Once somebody else has its seats; see test_late_reinstated.py for when nobody has."""
    input = hall.input(hold_seconds=1, hold_max_seconds=2)
    async with saga.worker():
        await saga.reserve(input)
        session_id = await saga.checkout(input)
        await saga.handle(input).result()
        await saga.reserve(hall.input())
        payment_id = pay(provider, session_id, force=True)
        await tell(saga, session_id)
        [[receipt_id]] = await saga.rows(
            "SELECT id FROM provider_payments WHERE booking_id = :id", id=UUID(input.booking_id)
        )
        await saga.client.get_workflow_handle(f"late-payment-{receipt_id}").result()
    assert provider.payment(payment_id)["refunded"] == 2400
    assert await saga.state(input) == "expired"
    assert "LatePaymentRefunded" in await saga.events(input)


async def test_a_refund_that_settles_later_is_seen_to_its_end(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    """The provider answers a repeat of the key as the first time: `pending`, for ever."""
    input = hall.input(hold_seconds=1, hold_max_seconds=2)
    provider.configure(refund_outcome="pending")
    try:
        async with saga.worker():
            await saga.reserve(input)
            session_id = await saga.checkout(input)
            await saga.handle(input).result()
            await saga.reserve(hall.input())
            payment_id = pay(provider, session_id, force=True)
            await tell(saga, session_id)
            asked = await asyncio.to_thread(
                eventually,
                lambda: [
                    one
                    for one in provider.get("/test/ledger").json()["refunds"]
                    if one["payment_id"] == payment_id
                ],
            )
            provider.post(f"/test/refunds/{asked[0]['id']}/settle", {"outcome": "succeeded"})
            [[receipt_id]] = await saga.rows(
                "SELECT id FROM provider_payments WHERE reference = :ref", ref=payment_id
            )
            await saga.client.get_workflow_handle(f"late-payment-{receipt_id}").result()
    finally:
        provider.configure(refund_outcome=None)
    assert "LatePaymentRefunded" in await saga.events(input)


async def test_a_second_capture_is_refunded_and_the_booking_stands(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input()
    async with saga.worker():
        await saga.reserve(input)
        session_id = await saga.checkout(input)
        first = pay(provider, session_id)
        await tell(saga, session_id)
        await saga.handle(input).result()
        second = pay(provider, session_id, force=True)
        await tell(saga, session_id)
        [[receipt_id]] = await saga.rows(
            "SELECT id FROM provider_payments WHERE reference = :ref", ref=second
        )
        await saga.client.get_workflow_handle(f"late-payment-{receipt_id}").result()
    assert provider.payment(first)["refunded"] == 0
    assert provider.payment(second)["refunded"] == 2400
    assert await saga.state(input) == "confirmed"


@pytest.mark.parametrize("wrong", [{"amount": 2399}, {"amount": 2401}, {"currency": "USD"}])
async def test_a_wrong_amount_or_currency_never_confirms(
    saga: Saga, hall: Hall, provider: Sandbox, wrong: dict[str, Any]
) -> None:
    input = hall.input(hold_seconds=1, hold_max_seconds=2)
    async with saga.worker():
        await saga.reserve(input)
        session_id = await saga.checkout(input)
        pay(provider, session_id, **wrong)
        await tell(saga, session_id)
        assert (await saga.handle(input).result())["state"] == "expired"
    [[verdict]] = await saga.rows(
        "SELECT decision FROM provider_payments WHERE booking_id = :id", id=UUID(input.booking_id)
    )
    assert verdict == "mismatch"


async def test_a_hand_sent_signal_confirms_nothing(saga: Saga, hall: Hall) -> None:
    input = hall.input(hold_seconds=1)
    async with saga.worker():
        await saga.reserve(input)
        handle = saga.handle(input)
        for told in (None, "00000000-0000-0000-0000-000000000000", "what somebody typed", ""):
            await handle.signal(BookingContract.payment_settled, PaymentSettled(told))
        assert (await handle.result())["state"] == "expired"


async def test_an_extension_moves_the_end_and_the_timer_only_asks(saga: Saga, hall: Hall) -> None:
    input = hall.input(hold_seconds=2, hold_max_seconds=60)
    async with saga.worker():
        await saga.reserve(input)
        handle = saga.handle(input)
        outcome = await handle.execute_update(BookingContract.extend, ExtendRequest(input.user_id))
        assert outcome.code is None
        assert (await handle.result())["state"] == "expired"
    assert "HoldExtended" in await saga.events(input)


async def test_a_hold_whose_page_is_being_closed_cannot_be_extended_it_has_run_out(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input(grace_seconds=60)
    async with saga.worker():
        await saga.reserve(input)
        await saga.checkout(input)
        provider.configure(error_rate=1.0)
        try:
            request = CancelRequest("operator:eve", "the screen is broken")
            released = await saga.handle(input).execute_update(
                BookingContract.force_release, request
            )
            assert released.state == "expiring"
            with pytest.raises(Gone) as refused:
                await saga.desk.extend(
                    Caller(UUID(input.user_id), None),
                    UUID(input.booking_id),
                    extension_id=uuid4(),
                )
            with pytest.raises(Gone):
                await saga.checkout(input)
        finally:
            provider.configure(error_rate=0.0)
        assert refused.value.code == "hold_expired"
        assert (await saga.handle(input).result())["state"] == "expired"


async def test_cancelling_before_checkout_frees_the_seats_at_once(saga: Saga, hall: Hall) -> None:
    input = hall.input()
    async with saga.worker():
        await saga.reserve(input)
        handle = saga.handle(input)
        outcome = await handle.execute_update(BookingContract.cancel, CancelRequest(input.user_id))
        assert outcome.state == "cancelled"
        assert (await handle.result())["state"] == "cancelled"
    assert await saga.claims(input) == {}


async def test_money_paid_while_cancelling_goes_back(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input()
    async with saga.worker():
        await saga.reserve(input)
        session_id = await saga.checkout(input)
        payment_id = pay(provider, session_id)
        handle = saga.handle(input)
        await handle.execute_update(BookingContract.cancel, CancelRequest(input.user_id))
        assert (await handle.result())["state"] == "cancelled"
        [[receipt_id]] = await saga.rows(
            "SELECT id FROM provider_payments WHERE reference = :ref", ref=payment_id
        )
        await saga.process.send_money_back(str(receipt_id), None)
        await saga.client.get_workflow_handle(f"late-payment-{receipt_id}").result()
    assert provider.payment(payment_id)["refunded"] == 2400
    assert await saga.claims(input) == {}


async def test_cancelling_the_workflow_itself_closes_in_order(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input()
    async with saga.worker():
        await saga.reserve(input)
        session_id = await saga.checkout(input)
        handle = saga.handle(input)
        await handle.cancel()
        assert (await handle.result())["state"] == "expired"
    assert provider.look({"id": session_id})["status"] == "expired"
    assert await saga.claims(input) == {}


async def test_no_seat_of_a_show_that_has_begun_is_held(
    saga: Saga, hall: Hall, engine: AsyncEngine
) -> None:
    """It began after the API looked, and whatever the end of its sale says."""
    async with engine.begin() as connection:
        begun = text("UPDATE shows SET starts_at = now() WHERE id = :id")
        await connection.execute(begun, {"id": hall.show_id})
    input = hall.input()
    async with saga.worker():
        with pytest.raises(Conflict, match="not on sale"):
            await saga.reserve(input)
    assert await saga.claims(input) == {}


async def test_the_loser_is_refused_and_holds_nothing(saga: Saga, hall: Hall) -> None:
    winner, loser = hall.input("A1", "A2"), hall.input("A2", "A3")
    async with saga.worker():
        await saga.reserve(winner)
        with pytest.raises(Conflict) as refused:
            await saga.reserve(loser)
    assert refused.value.code == "seats_unavailable"
    assert refused.value.data["seats"] == ["A2"]
    assert await saga.claims(winner) == {"A1": "held", "A2": "held"}


async def test_force_release_cannot_free_seats_of_an_open_page_before_it_is_closed(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input()
    async with saga.worker():
        await saga.reserve(input)
        session_id = await saga.checkout(input)
        pay(provider, session_id)
        handle = saga.handle(input)
        await handle.execute_update(
            BookingContract.force_release, CancelRequest("operator:eve", "screen is broken")
        )
        assert (await handle.result())["state"] == "confirmed"
    assert await saga.claims(input) == {"A1": "sold", "A2": "sold"}
