"""Bookings paid by an authorisation: the seats first, then the money, on real servers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from contracts.booking import BookingContract
from domain.errors import NotFound, Unavailable
from domain.payment_policy import PaymentMode
from domain.steps import CancelRequest
from tests.factories import Hall
from tests.helpers.promises import (
    WilfulGateway,
    authorised,
    is_settled,
    let_go,
    lose_the_answer,
    payments,
    refuse,
)
from tests.helpers.saga import Fault, Saga
from tests.sandbox.process import Sandbox
from tests.workflows.test_booking_paths import pay, tell

SOLD = {"A1": "sold", "A2": "sold"}


async def test_the_seats_are_final_before_the_money_is_taken(
    promising: Saga, hall: Hall, provider: Sandbox, gateway: WilfulGateway
) -> None:
    input = hall.input()
    seen: list[Any] = []

    async def look(take: Any) -> Any:
        seen.append(await promising.claims(input))
        seen.append(await promising.state(input))
        seen.append(provider.payment(reference)["status"])
        return await take()

    gateway.turns = [look]
    async with promising.worker():
        await promising.reserve(input)
        session_id = await promising.checkout(input)
        reference = pay(provider, session_id, "authorised")
        await tell(promising, session_id)
        assert (await promising.handle(input).result())["state"] == "confirmed"
    assert seen == [{"A1": "held", "A2": "held"}, "held", "authorised"]
    assert await promising.claims(input) == SOLD
    taken = provider.payment(reference)
    assert (taken["status"], taken["captured"], gateway.asked) == ("captured", 2400, 1)
    assert (await promising.events(input))[3:] == [
        "PaymentAuthorised",
        "BookingConfirming",
        "PaymentVerified",
        "BookingConfirmed",
        "NotificationQueued",
    ]
    assert await payments(promising, input) == [("captured", "confirms")]
    assert await is_settled(promising, input)
    kinds = await promising.rows(
        "SELECT kind FROM ledger_entries WHERE booking_id = :id AND debit > 0 ORDER BY id",
        id=UUID(input.booking_id),
    )
    posted = [kind for (kind,) in kinds]
    assert posted == ["authorised", "released", "captured", "fee", "confirmed"]


async def test_an_authorisation_found_at_the_holds_end_is_on_time(
    promising: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input(hold_seconds=1, hold_max_seconds=2)
    async with promising.worker():
        await promising.reserve(input)
        session_id = await promising.checkout(input)
        pay(provider, session_id, "authorised")  # and no webhook tells of it
        assert (await promising.handle(input).result())["state"] == "confirmed"
    events = await promising.events(input)
    assert events.index("BookingExpiring") < events.index("BookingConfirming")
    assert await promising.claims(input) == SOLD
    assert await is_settled(promising, input)


async def test_money_that_was_taken_at_once_confirms_in_this_mode_too(
    promising: Saga, hall: Hall, provider: Sandbox, gateway: WilfulGateway
) -> None:
    """Not every way to pay can be authorised first."""
    input = hall.input()
    async with promising.worker():
        await promising.reserve(input)
        session_id = await promising.checkout(input)
        pay(provider, session_id)
        await tell(promising, session_id)
        assert (await promising.handle(input).result())["state"] == "confirmed"
    assert gateway.asked == 0


@pytest.mark.parametrize("left", ["authorised", "voided"])
async def test_a_refused_capture_frees_the_seats_and_takes_nothing(
    promising: Saga, hall: Hall, provider: Sandbox, gateway: WilfulGateway, left: str
) -> None:
    """Refused by the bank, which still promises the money, or because it is gone already."""
    input = hall.input()

    async def let_go_first(take: Any) -> Any:
        assert provider.post(f"/v1/payments/{reference}/void").status_code == 200
        return await take()

    gateway.turns = [refuse if left == "authorised" else let_go_first]
    async with promising.worker():
        await promising.reserve(input)
        session_id = await promising.checkout(input)
        reference = pay(provider, session_id, "authorised")
        await tell(promising, session_id)
        assert (await promising.handle(input).result())["state"] == "expired"
        assert await promising.claims(input) == {}
        if left == "authorised":
            assert await let_go(promising, reference) == "voided"
    assert provider.payment(reference)["status"] == "voided"
    assert await payments(promising, input) == [("voided", "refused")]
    assert await promising.rows(
        "SELECT status FROM payments WHERE booking_id = :id", id=UUID(input.booking_id)
    ) == [("refused",)]
    events = await promising.events(input)
    assert events.index("CaptureRefused") < events.index("SeatReleased")
    assert events.count("NotificationQueued") == 1, "the buyer is told as of any unpaid hold"
    assert await is_settled(promising, input)


async def test_a_capture_of_what_the_provider_does_not_know_any_more_frees_the_seats(
    promising: Saga,
    hall: Hall,
    provider: Sandbox,
    gateway: WilfulGateway,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says no, and then nothing of what is left: the step fails for good."""
    input = hall.input()

    async def be_another_account(_: Any) -> Any:
        monkeypatch.setattr(gateway, "read_payment", unknown)
        raise NotFound("There is no such payment.")

    async def unknown(_: str) -> Any:
        raise NotFound("There is no such payment.")

    gateway.turns = [be_another_account]
    async with promising.worker():
        await authorised(promising, provider, input)
        assert (await promising.handle(input).result())["state"] == "expired"
    assert await promising.claims(input) == {}
    assert "CaptureRefused" in await promising.events(input)


async def test_seats_of_a_refused_capture_can_be_sold_at_once(
    promising: Saga, hall: Hall, provider: Sandbox, gateway: WilfulGateway
) -> None:
    refused, next_one = hall.input(), hall.input()
    gateway.turns = [refuse]
    async with promising.worker():
        await authorised(promising, provider, refused)
        await promising.handle(refused).result()
        await authorised(promising, provider, next_one)
        assert (await promising.handle(next_one).result())["state"] == "confirmed"
    assert await promising.claims(next_one) == SOLD


async def test_a_capture_of_another_sum_never_confirms(
    promising: Saga, hall: Hall, provider: Sandbox, gateway: WilfulGateway
) -> None:
    """Somebody took a part of it by hand: what was taken goes back."""
    input = hall.input()

    async def take_a_part(take: Any) -> Any:
        part = provider.post(f"/v1/payments/{reference}/capture", {"amount": 1000})
        assert part.status_code == 200
        return await take()

    gateway.turns = [take_a_part]
    async with promising.worker():
        await promising.reserve(input)
        session_id = await promising.checkout(input)
        reference = pay(provider, session_id, "authorised")
        await tell(promising, session_id)
        assert (await promising.handle(input).result())["state"] == "expired"
        assert await let_go(promising, reference) == "succeeded"
    taken = provider.payment(reference)
    assert (taken["captured"], taken["refunded"]) == (1000, 1000)
    assert await promising.claims(input) == {}
    assert await is_settled(promising, input)


async def test_a_capture_whose_answer_is_lost_is_found_by_its_key(
    promising: Saga, hall: Hall, provider: Sandbox, gateway: WilfulGateway
) -> None:
    input = hall.input()
    gateway.turns = [lose_the_answer]
    async with promising.worker():
        reference = await authorised(promising, provider, input)
        assert (await promising.handle(input).result())["state"] == "confirmed"
    assert gateway.asked == 2
    assert provider.payment(reference)["captured"] == 2400
    assert await is_settled(promising, input)


async def test_a_provider_that_hangs_is_asked_again(
    promising: Saga, hall: Hall, provider: Sandbox, gateway: WilfulGateway
) -> None:
    input = hall.input()

    async def hang(take: Any) -> Any:
        provider.configure(hang_ms=60_000)
        try:
            return await take()
        finally:
            provider.configure(hang_ms=None)

    gateway.turns = [hang]
    async with promising.worker():
        reference = await authorised(promising, provider, input)
        assert (await promising.handle(input).result())["state"] == "confirmed"
    assert provider.payment(reference)["captured"] == 2400
    assert gateway.asked == 2


@pytest.mark.parametrize("step", ["capture_payment", "confirm_booking"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("times", [1, 4])
async def test_taking_the_money_is_never_given_up(
    promising: Saga, hall: Hall, provider: Sandbox, step: str, when: str, times: int
) -> None:
    input, fault = hall.input(), Fault(step, when, times=times)
    async with promising.worker(fault):
        reference = await authorised(promising, provider, input)
        assert (await promising.handle(input).result())["state"] == "confirmed"
    assert fault.failed == times
    assert provider.payment(reference)["captured"] == 2400
    assert await promising.claims(input) == SOLD
    events = await promising.events(input)
    for once in ("BookingConfirming", "BookingConfirmed", "PaymentVerified"):
        assert events.count(once) == 1
    assert await is_settled(promising, input)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_giving_up_a_refused_capture_is_never_given_up(
    promising: Saga, hall: Hall, provider: Sandbox, gateway: WilfulGateway, when: str
) -> None:
    input, fault = hall.input(), Fault("abandon_capture", when, times=3)
    gateway.turns = [refuse]
    async with promising.worker(fault):
        reference = await authorised(promising, provider, input)
        assert (await promising.handle(input).result())["state"] == "expired"
        assert await let_go(promising, reference) == "voided"
    assert fault.failed == 3
    assert (await promising.events(input)).count("CaptureRefused") == 1
    assert await promising.claims(input) == {}


async def test_every_step_run_twice_takes_the_money_once(
    promising: Saga, hall: Hall, provider: Sandbox, gateway: WilfulGateway
) -> None:
    taken, refused = hall.input("A1"), hall.input("A2")
    async with promising.worker(Fault(repeat=2)):
        reference = await authorised(promising, provider, taken)
        assert (await promising.handle(taken).result())["state"] == "confirmed"
        gateway.turns = [refuse, refuse]
        other = await authorised(promising, provider, refused)
        assert (await promising.handle(refused).result())["state"] == "expired"
        assert await let_go(promising, other) == "voided"
    assert provider.payment(reference)["captured"] == 1200
    assert provider.payment(other)["status"] == "voided"
    assert (await promising.events(taken)).count("PaymentVerified") == 1
    assert (await promising.events(refused)).count("CaptureRefused") == 1


async def test_an_authorisation_seen_after_the_buyer_cancelled_is_voided(
    promising: Saga, hall: Hall, provider: Sandbox, gateway: WilfulGateway
) -> None:
    input = hall.input()
    async with promising.worker():
        await promising.reserve(input)
        session_id = await promising.checkout(input)
        reference = pay(provider, session_id, "authorised")
        handle = promising.handle(input)
        await handle.execute_update(BookingContract.cancel, CancelRequest(input.user_id))
        assert (await handle.result())["state"] == "cancelled"
        assert await let_go(promising, reference) == "voided"
    assert (provider.payment(reference)["status"], gateway.asked) == ("voided", 0)
    assert await payments(promising, input) == [("voided", "cancelled")]
    assert await is_settled(promising, input)


async def test_a_page_whose_opening_was_lost_is_asked_for_again_in_its_own_mode(
    promising: Saga, hall: Hall, provider: Sandbox
) -> None:
    """Whatever the deployment's mode is by then: the provider knows the page by key and wish."""
    input = hall.input()
    async with promising.worker():
        await promising.reserve(input)
        provider.configure(error_rate=1.0, fail_after_effect=True)
        try:
            with pytest.raises(Unavailable):
                await promising.checkout(input)
        finally:
            provider.configure(error_rate=None, fail_after_effect=None)
        session_id = await replace(promising, mode=PaymentMode.CAPTURE).checkout(input)
        provider.http.post(f"/pay/{session_id}", data={"act": "pay"})
        [payment] = provider.look({"id": session_id})["payments"]
        assert payment["status"] == "authorised"
