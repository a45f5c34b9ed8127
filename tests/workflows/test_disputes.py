"""Disputes on real servers: what becomes of the booking, its seats and its money."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from domain.errors import Conflict
from domain.steps import BookingInput
from infra.redis.seat_claims import RedisSeatPreclaims
from services import provider as providers
from services.process import ProcessAway
from tests.factories import Hall
from tests.helpers.eventually import eventually
from tests.helpers.late import page_of_ended_hold
from tests.helpers.saga import LATE, Saga
from tests.sandbox.process import NO_FAULTS, Sandbox
from tests.workflows.test_booking_paths import pay, tell
from tests.workflows.test_refund_faults import at_once, settle_at_the_bank
from tests.workflows.test_refunds import ask, refunds, result, sold

__all__ = ["at_once"]

WHOLE = 2400


async def page_of(saga: Saga, input: BookingInput) -> str:
    [[session_id]] = await saga.rows(
        "SELECT session_id FROM payments WHERE booking_id = :id", id=UUID(input.booking_id)
    )
    return str(session_id)


async def paid_twice(saga: Saga, input: BookingInput, provider: Sandbox) -> tuple[str, str]:
    """A sold booking whose page was paid once more: the page, and the payment too many."""
    await sold(saga, input, provider)
    page = await page_of(saga, input)
    return page, pay(provider, page, force=True)


async def disputed(
    saga: Saga, input: BookingInput, provider: Sandbox, reference: str, outcome: str, **act: Any
) -> None:
    """The bank acts and the webhook comes, twice."""
    provider.dispute(reference, outcome, **act)
    for _ in range(2):
        await tell(saga, await page_of(saga, input))


async def books(saga: Saga, input: BookingInput) -> dict[str, int]:
    """What stands on each account, debit as plus; what is even is left out, and so are fees."""
    found = await saga.rows(
        "SELECT account, (sum(debit) - sum(credit))::bigint FROM ledger_entries"
        " WHERE booking_id = :id AND kind <> 'fee' GROUP BY account"
        " HAVING sum(debit) <> sum(credit)",
        id=UUID(input.booking_id),
    )
    return dict(found)


async def cases(saga: Saga, input: BookingInput) -> list[str]:
    found = await saga.rows(
        "SELECT kind FROM cases WHERE booking_id = :id ORDER BY opened_at, kind",
        id=UUID(input.booking_id),
    )
    return [kind for (kind,) in found]


async def shown(saga: Saga, input: BookingInput) -> tuple[Any, ...]:
    """The booking's state, its payment's own status, and whether that is disputed."""
    [row] = await saga.rows(
        "SELECT state, status, disputed FROM bookings JOIN payments ON booking_id = bookings.id"
        " WHERE bookings.id = :id",
        id=UUID(input.booking_id),
    )
    return row


async def marks(redis: Redis, input: BookingInput) -> list[bytes | str | None]:
    keys = [f"{{show:{input.show_id}}}:seat:{seat.label}" for seat in input.seats]
    return [await redis.get(key) for key in keys]


@pytest.mark.usefixtures("worker")
async def test_a_dispute_that_is_won_leaves_everything_as_it_was(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input()
    reference = await sold(saga, input, provider)
    await disputed(saga, input, provider, reference, "opened")
    assert await shown(saga, input) == ("disputed", "captured", True)
    assert await saga.claims(input) == {"A1": "sold", "A2": "sold"}
    assert await books(saga, input) == {"disputed": WHOLE, "revenue": -WHOLE}
    assert await cases(saga, input) == ["dispute"]
    with pytest.raises(Conflict) as refused:
        await ask(saga, input)
    assert refused.value.code == "payment_disputed"
    await disputed(saga, input, provider, reference, "won")
    assert await shown(saga, input) == ("confirmed", "captured", False)
    assert await books(saga, input) == {"provider": WHOLE, "revenue": -WHOLE}
    assert await result(saga, input, await ask(saga, input)) == "succeeded"
    assert provider.payment(reference)["refunded"] == WHOLE


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("seen", [("opened", "lost"), ("lost",)], ids="-".join)
@pytest.mark.parametrize("begun", [False, True], ids=["before the show", "after its start"])
async def test_a_dispute_that_is_lost_voids_the_tickets(
    saga: Saga, hall: Hall, provider: Sandbox, redis: Redis, seen: tuple[str, ...], begun: bool
) -> None:
    input = hall.input()
    reference = await sold(saga, input, provider)
    if begun:
        async with saga.engine.begin() as connection:
            await connection.exec_driver_sql(
                "UPDATE shows SET starts_at = now() - interval '1 minute' WHERE id = %(id)s",
                {"id": hall.show_id},
            )
    for outcome in seen:
        await disputed(saga, input, provider, reference, outcome)
    assert await shown(saga, input) == ("charged_back", "captured", True)
    assert await books(saga, input) == {}
    sold_still = {"A1": "sold", "A2": "sold"} if begun else {}
    assert await saga.claims(input) == sold_still
    assert [mark is not None for mark in await marks(redis, input)] == [begun] * 2
    told = await saga.events(input)
    assert told.count("BookingChargedBack") == told.count("BookingDisputed") == 1
    assert ("SeatReleased" in told) is not begun
    mails = await saga.rows(
        "SELECT count(*) FROM notification_outbox WHERE booking_id = :id AND channel = 'email'"
        " AND template = 'charged_back'",
        id=UUID(input.booking_id),
    )
    assert mails == [(1,)]
    with pytest.raises(Conflict):
        await ask(saga, input)
    if not begun:
        assert await saga.reserve(hall.input()) == "held"


@pytest.mark.usefixtures("worker")
async def test_seats_that_a_lost_dispute_freed_are_told_until_redis_hears(
    saga: Saga, hall: Hall, provider: Sandbox, redis: Redis
) -> None:
    """Their sold marks would keep them off sale, and the webhook would count as done."""
    input = hall.input()
    reference = await sold(saga, input, provider)
    page = await page_of(saga, input)
    provider.dispute(reference, "lost")
    async with Redis.from_url("redis://127.0.0.1:1/0", retry=Retry(NoBackoff(), 0)) as away:
        with pytest.raises(ProcessAway):
            await tell(replace(saga, preclaims=RedisSeatPreclaims(away)), page)
    assert await saga.claims(input) == {}
    assert None not in await marks(redis, input)
    await tell(saga, page)
    assert await marks(redis, input) == [None, None]


@pytest.mark.parametrize("end", ["won", "lost"])
async def test_news_in_any_order_and_number_ends_the_same(
    saga: Saga, hall: Hall, provider: Sandbox, end: str
) -> None:
    """Each answer of the provider, old ones too, comes in every order, twice."""
    state = "confirmed" if end == "won" else "charged_back"
    ends = set()
    for place, order in enumerate(permutations(range(3))):
        input = hall.input(hall.labels[place], max_live_holds_per_user=20)
        async with saga.worker():
            reference = await sold(saga, input, provider)
        page = await page_of(saga, input)
        answers = [await saga.gateways["sandbox"].read_session(page)]
        for outcome in ("opened", end):
            provider.dispute(reference, outcome)
            answers.append(await saga.gateways["sandbox"].read_session(page))
        async with saga.begin.alone() as tx:
            attempt = await tx.payments.attempt_by_session("sandbox", page)
        assert attempt is not None
        for answer in [answers[one] for one in order for _ in range(2)]:
            await providers.record_session(saga.begin, attempt, answer, request_id=None)
        books_now = tuple(sorted((await books(saga, input)).items()))
        ends.add((*await shown(saga, input), books_now))
    assert len(ends) == 1, ends
    assert next(iter(ends))[:3] == (state, "captured", end == "lost")


@pytest.mark.parametrize("outcome", ["opened", "won", "lost"])
async def test_a_dispute_of_money_that_has_not_confirmed_yet(
    saga: Saga, hall: Hall, provider: Sandbox, redis: Redis, outcome: str
) -> None:
    """It is a case while the booking is held; the payment was on time, so it confirms."""
    input = hall.input()
    async with saga.worker():
        await saga.reserve(input)
        page = await saga.checkout(input)
        provider.dispute(pay(provider, page), outcome)
        session = await saga.gateways["sandbox"].read_session(page)
        async with saga.begin.alone() as tx:
            attempt = await tx.payments.attempt_by_session("sandbox", page)
        assert attempt is not None
        await providers.record_session(saga.begin, attempt, session, request_id=None)
        assert await saga.state(input) == "held"
        assert await cases(saga, input) == ([] if outcome == "won" else ["dispute"])
        await tell(saga, page)
        state = {"opened": "disputed", "won": "confirmed", "lost": "charged_back"}[outcome]
        assert (await saga.handle(input).result())["state"] == state
    assert await saga.state(input) == state
    taken = {} if outcome == "lost" else {"A1": "sold", "A2": "sold"}
    assert await saga.claims(input) == taken
    assert [mark is not None for mark in await marks(redis, input)] == [bool(taken)] * 2
    assert (await books(saga, input)).get("buyer", 0) == 0


@pytest.mark.parametrize("why", ["expired", "cancelled"])
@pytest.mark.parametrize("end", ["won", "lost"])
async def test_a_dispute_of_money_that_bought_no_seat(
    saga: Saga, hall: Hall, provider: Sandbox, why: str, end: str
) -> None:
    """Nothing is sent back while the bank has it; winning brings no seat back."""
    saga = replace(saga, late=replace(LATE, window_seconds=0))
    input = hall.input()
    async with saga.worker():
        page = await page_of_ended_hold(saga, input)
        async with saga.engine.begin() as connection:
            await connection.exec_driver_sql(
                "UPDATE bookings SET state = %(state)s WHERE id = %(id)s",
                {"state": why, "id": input.booking_id},
            )
        reference = pay(provider, page, force=True)
        await disputed(saga, input, provider, reference, "opened")
        [[receipt_id]] = await saga.rows(
            "SELECT id FROM provider_payments WHERE reference = :ref", ref=reference
        )
        sending = saga.client.get_workflow_handle(f"late-payment-{receipt_id}")

        async def has_ended() -> bool:
            tries = await saga.rows(
                "SELECT tries FROM refunds WHERE provider_payment_id = :id", id=receipt_id
            )
            assert tries in ([], [(0,)]), "it was sent, and the provider would have none of it"
            return (await sending.describe()).close_time is not None

        await eventually(has_ended, seconds=60)
        assert (await sending.result())["outcome"] == "disputed"
        assert provider.payment(reference)["refunded"] == 0
        assert (await shown(saga, input))[0::2] == (why, True)
        await disputed(saga, input, provider, reference, end)
        await saga.client.get_workflow_handle(f"late-payment-{receipt_id}").result()
    back = WHOLE if end == "won" else 0
    assert provider.payment(reference)["refunded"] == back
    assert await books(saga, input) == {}
    assert await saga.state(input) == why
    assert await saga.claims(input) == {}


@pytest.mark.usefixtures("worker")
async def test_a_dispute_that_takes_a_part_of_what_goes_back_leaves_a_case_for_the_rest(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input()
    page, extra = await paid_twice(saga, input, provider)
    provider.dispute(extra, "opened", amount=1000)
    await tell(saga, page)
    await disputed(saga, input, provider, extra, "lost")
    assert provider.payment(extra)["refunded"] == 0
    due = {"provider": WHOLE + 1400, "revenue": -WHOLE, "refunds_due": -1400}
    assert await books(saga, input) == due
    told = await saga.rows(
        "SELECT summary FROM cases WHERE booking_id = :id AND kind = 'refund_failed'",
        id=UUID(input.booking_id),
    )
    assert len(told) == 1
    assert "14.00 EUR is still due" in told[0][0]


@pytest.mark.usefixtures("worker")
async def test_an_extra_payment_that_is_disputed_leaves_the_booking_alone(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input()
    page, extra = await paid_twice(saga, input, provider)
    provider.dispute(extra, "opened")
    await tell(saga, page)
    assert await shown(saga, input) == ("confirmed", "captured", True)
    assert await cases(saga, input) == ["dispute"]
    await disputed(saga, input, provider, extra, "lost")
    assert await saga.state(input) == "confirmed"
    assert provider.payment(extra)["refunded"] == 0
    assert await books(saga, input) == {"provider": WHOLE, "revenue": -WHOLE}


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("seats", [(), ("A1",)], ids=["whole", "one seat"])
async def test_a_refund_that_was_settled_before_is_the_answer_to_the_bank(
    saga: Saga, hall: Hall, provider: Sandbox, seats: tuple[str, ...]
) -> None:
    input = hall.input()
    reference = await sold(saga, input, provider)
    await result(saga, input, await ask(saga, input, *seats))
    back = provider.payment(reference)["refunded"]
    was = await saga.state(input)
    await disputed(saga, input, provider, reference, "opened", amount=WHOLE)
    [[refund_id]] = await saga.rows(
        "SELECT id FROM refunds WHERE booking_id = :id", id=UUID(input.booking_id)
    )
    [(kind, summary, named)] = await saga.rows(
        "SELECT kind, summary, refund_id FROM cases WHERE booking_id = :id",
        id=UUID(input.booking_id),
    )
    assert (kind, named) == ("evidence", refund_id)
    assert str(refund_id) in summary
    assert await saga.state(input) == ("disputed" if seats else "refunded")
    await disputed(saga, input, provider, reference, "won")
    assert await saga.state(input) == was
    assert provider.payment(reference)["refunded"] == back, "never paid back twice"


@pytest.mark.parametrize("end", ["won", "lost"])
async def test_a_refund_that_was_asked_for_and_not_sent_is_never_sent_meanwhile(
    saga: Saga, hall: Hall, provider: Sandbox, end: str
) -> None:
    input = hall.input()
    async with saga.worker():
        reference = await sold(saga, input, provider)
    number = await ask(saga, input)  # nobody is at work
    assert await saga.state(input) == "refund_pending"
    await disputed(saga, input, provider, reference, "opened")
    async with saga.worker():
        assert await result(saga, input, number) == "failed"
        assert await shown(saga, input) == ("disputed", "captured", True)
        await disputed(saga, input, provider, reference, end)
    assert await saga.state(input) == ("confirmed" if end == "won" else "charged_back")
    assert provider.payment(reference)["refunded"] == 0
    assert (await books(saga, input)).get("refunds_due", 0) == 0


async def test_a_dispute_lost_before_the_refund_is_withdrawn(
    saga: Saga, hall: Hall, provider: Sandbox, redis: Redis
) -> None:
    """The booking follows as soon as the refund has ended, and its seats are free for all."""
    input = hall.input()
    async with saga.worker():
        reference = await sold(saga, input, provider)
    number = await ask(saga, input)
    await disputed(saga, input, provider, reference, "lost")
    assert await saga.state(input) == "refund_pending"
    async with saga.worker():
        assert await result(saga, input, number) == "failed"
    assert await saga.state(input) == "charged_back"
    assert await saga.claims(input) == {}
    assert await marks(redis, input) == [None, None]
    assert await books(saga, input) == {}


@pytest.mark.usefixtures("worker", "at_once")
@pytest.mark.parametrize("at_the_bank", ["succeeded", "failed"])
async def test_a_refund_in_flight_when_the_dispute_opens(
    saga: Saga, hall: Hall, provider: Sandbox, at_the_bank: str
) -> None:
    input = hall.input()
    reference = await sold(saga, input, provider)
    provider.configure(refund_outcome="pending")
    try:
        number = await ask(saga, input)

        async def accepted() -> bool:
            return await saga.claims(input) == {}

        await eventually(accepted, seconds=30)
        await disputed(saga, input, provider, reference, "opened", amount=WHOLE)
        await settle_at_the_bank(saga, input, provider, at_the_bank)
    finally:
        provider.configure(**NO_FAULTS)
    assert await result(saga, input, number) == at_the_bank
    came = at_the_bank == "succeeded"
    await disputed(saga, input, provider, reference, "won")
    assert await saga.state(input) == ("refunded" if came else "refund_pending")
    assert provider.payment(reference)["refunded"] == (WHOLE if came else 0)
    assert [row[1] for row in await refunds(saga, input)] == [at_the_bank]
    assert await saga.claims(input) == {}
