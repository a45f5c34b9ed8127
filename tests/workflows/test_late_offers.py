"""Other seats for late money: offered where the show allows it, and only ever with a yes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.exceptions import ApplicationError

from domain.errors import Conflict, Gone, NotFound, Unavailable
from domain.offer import LateState, OfferState
from domain.steps import LateOutcome, LatePaymentInput, OfferAnswer
from infra.temporal import TemporalBookingProcess
from services import late_payment
from services.desk import Caller
from services.offer_desk import OfferDesk
from services.process import ProcessAway, ProcessUnknown
from tests.factories import Hall, create_hall
from tests.helpers.eventually import eventually
from tests.helpers.late import Late, rival_takes, write
from tests.helpers.saga import LATE, Fault, Saga
from tests.sandbox.process import Sandbox

ACCEPTED, DECLINED, LAPSED = OfferState.ACCEPTED, OfferState.DECLINED, OfferState.LAPSED


@pytest.fixture
async def hall(engine: AsyncEngine) -> Hall:
    return await create_hall(engine, starts_in_hours=48, offers_seats=True)


async def late_and_lost(
    saga: Saga, hall: Hall, provider: Sandbox, engine: AsyncEngine
) -> tuple[Late, str]:
    """A1 and A2 paid late, A2 gone: the offer's payment."""
    late = await Late.expired(saga, hall, provider)
    await rival_takes(engine, saga, hall, "A2")
    receipt_id = await late.pay()
    assert await late.offered(receipt_id) == ["A3", "A4"]
    return late, receipt_id


def desk(saga: Saga) -> OfferDesk:
    return OfferDesk(saga.begin, saga.process)


def caller(late: Late) -> Caller:
    return Caller(UUID(late.input.user_id), "test-request")


async def test_an_offer_keeps_as_many_seats_of_the_same_price_and_books_nothing(
    saga: Saga, hall: Hall, provider: Sandbox, engine: AsyncEngine
) -> None:
    async with saga.worker():
        late, receipt_id = await late_and_lost(saga, hall, provider, engine)
        assert await saga.state(late.input) == "expired"
        claims = await saga.claims(late.input)
        assert claims == {"A2": "held", "A3": "held", "A4": "held"}
        assert late.refunded() == 0
        assert await late.mails() == ["lapse", "offer"]
        assert await saga.preclaims.taken(hall.show_id, ["A3", "A4", "A5"]) == {"A3", "A4"}
        with pytest.raises(Conflict):
            await rival_takes(engine, saga, hall, "A4")
        async with saga.begin.alone() as tx:
            offer = await tx.offers.find(UUID(receipt_id))
        assert offer is not None
        assert sum(seat.amount for seat in offer.seats) == 2400
        assert 1700 < offer.seconds_left <= 1800


async def test_accepted_seats_are_booked_for_the_money_that_came(
    saga: Saga, hall: Hall, provider: Sandbox, engine: AsyncEngine
) -> None:
    async with saga.worker():
        late, receipt_id = await late_and_lost(saga, hall, provider, engine)
        for _ in range(2):
            await desk(saga).answer(caller(late), UUID(late.input.booking_id), ACCEPTED)
        assert await late.outcome(receipt_id) == "confirmed"
        with pytest.raises(Conflict):
            await desk(saga).answer(caller(late), UUID(late.input.booking_id), DECLINED)
    assert await saga.state(late.input) == "confirmed"
    assert await saga.claims(late.input) == {"A2": "held", "A3": "sold", "A4": "sold"}
    assert await late.seats() == ["A3", "A4"]
    assert late.refunded() == 0
    assert await late.mails() == ["lapse", "offer", "confirmation"]


async def test_declined_seats_go_free_and_the_money_back_at_once(
    saga: Saga, hall: Hall, provider: Sandbox, engine: AsyncEngine
) -> None:
    async with saga.worker():
        late, receipt_id = await late_and_lost(saga, hall, provider, engine)
        for _ in range(2):
            await desk(saga).answer(caller(late), UUID(late.input.booking_id), DECLINED)
        assert await late.outcome(receipt_id) == "succeeded"
        with pytest.raises(Conflict):
            await desk(saga).answer(caller(late), UUID(late.input.booking_id), ACCEPTED)
    assert late.refunded() == 2400
    assert await saga.state(late.input) == "expired"
    assert await saga.claims(late.input) == {"A2": "held"}
    assert await late.seats() == ["A1", "A2"]
    assert await late.mails() == ["lapse", "offer", "refund"]
    assert await saga.preclaims.taken(hall.show_id, ["A3", "A4"]) == set()


async def test_an_offer_that_nobody_answers_lapses_and_the_money_goes_back(
    saga: Saga, hall: Hall, provider: Sandbox, engine: AsyncEngine
) -> None:
    saga.late = replace(LATE, offer_seconds=2)
    async with saga.worker():
        late, receipt_id = await late_and_lost(saga, hall, provider, engine)
        assert await late.outcome(receipt_id) == "succeeded"
        with pytest.raises(Gone):
            await desk(saga).answer(caller(late), UUID(late.input.booking_id), ACCEPTED)
    assert await late.offer_state(receipt_id) == LAPSED
    assert late.refunded() == 2400
    assert await saga.claims(late.input) == {"A2": "held"}
    events = await saga.events(late.input)
    assert events.index("OfferLapsed") < events.index("RefundRequested")


async def test_a_show_that_makes_no_offers_sends_the_money_back(
    saga: Saga, hall: Hall, provider: Sandbox, engine: AsyncEngine
) -> None:
    await write(engine, "UPDATE shows SET offers_seats = false WHERE id = :id", hall.show_id)
    async with saga.worker():
        late = await Late.expired(saga, hall, provider)
        await rival_takes(engine, saga, hall, "A2")
        receipt_id = await late.pay()
        assert await late.outcome(receipt_id) == "succeeded"
    assert await late.offer_state(receipt_id) is None


async def test_without_seats_together_there_is_no_offer(
    saga: Saga, hall: Hall, provider: Sandbox, engine: AsyncEngine
) -> None:
    """Every second seat is gone: two single seats are not what was paid for."""
    async with saga.worker():
        late = await Late.expired(saga, hall, provider)
        await rival_takes(engine, saga, hall, "A2", "A4", "A6", "A8", "A10")
        receipt_id = await late.pay()
        assert await late.outcome(receipt_id) == "succeeded"
    assert late.refunded() == 2400
    assert await late.offer_state(receipt_id) is None


async def test_a_second_payment_while_an_offer_is_open_goes_back(
    saga: Saga, hall: Hall, provider: Sandbox, engine: AsyncEngine
) -> None:
    async with saga.worker():
        late, receipt_id = await late_and_lost(saga, hall, provider, engine)
        first = late.reference
        assert await late.outcome(await late.pay()) == "succeeded"
        assert late.refunded() == 2400
        assert await late.offer_state(receipt_id) == OfferState.OPEN
        await late.answer(receipt_id, ACCEPTED)
        assert await late.outcome(receipt_id) == "confirmed"
        assert late.refunded(first) == 0


async def test_an_offer_beyond_the_limit_waits_until_the_buyer_has_room(
    saga: Saga, hall: Hall, provider: Sandbox, engine: AsyncEngine
) -> None:
    saga.late = replace(LATE, max_seats_per_user_show=3)
    async with saga.worker():
        late, receipt_id = await late_and_lost(saga, hall, provider, engine)
        assert await saga.reserve(hall.input("A8", "A9", hold_seconds=1)) == "held"
        with pytest.raises(Conflict) as refused:
            await desk(saga).answer(caller(late), UUID(late.input.booking_id), ACCEPTED)
        assert refused.value.code == "limit_reached"
        assert await late.offer_state(receipt_id) == OfferState.OPEN

        async def has_room() -> bool:
            return (await late.answer(receipt_id, ACCEPTED)).state is LateState.CONFIRMED

        await eventually(has_room)
        assert await late.outcome(receipt_id) == "confirmed"


async def test_nobody_else_may_answer(
    saga: Saga, hall: Hall, provider: Sandbox, engine: AsyncEngine
) -> None:
    async with saga.worker():
        late, receipt_id = await late_and_lost(saga, hall, provider, engine)
        stranger = Caller(UUID(int=7), None)
        with pytest.raises(NotFound):
            await desk(saga).answer(stranger, UUID(late.input.booking_id), ACCEPTED)
        assert await late.offer_state(receipt_id) == OfferState.OPEN
        for end, actor in ((LAPSED, "buyer"), (ACCEPTED, ""), (DECLINED, "operator:eve")):
            with pytest.raises(Conflict):
                await saga.process.answer_offer(OfferAnswer(receipt_id, end, actor))


async def test_of_many_answers_and_the_lapse_exactly_one_wins(
    saga: Saga, hall: Hall, provider: Sandbox, engine: AsyncEngine
) -> None:
    """The rows end it, not the workflow: here each answer comes from a process of its own."""
    late = await offered_without_a_worker(saga, hall, provider, engine)
    [[receipt_id]] = await saga.rows(
        "SELECT provider_payment_id FROM seat_offers WHERE booking_id = :id",
        id=UUID(late.input.booking_id),
    )
    wishes = [OfferAnswer(str(receipt_id), end, "buyer") for end in (ACCEPTED, DECLINED) * 4]
    ends = await asyncio.gather(*(late_payment.answer(saga.begin, one, LATE) for one in wishes))
    assert len({outcome.state for outcome in ends}) == 1, "every answer tells the one end"
    events = await saga.events(late.input)
    told = [one for one in events if one in ("LatePaymentAccepted", "OfferDeclined")]
    assert len(told) == 1
    held = await saga.claims(late.input)
    sold = {"A2": "held", "A3": "sold", "A4": "sold"}
    assert held == (sold if told == ["LatePaymentAccepted"] else {"A2": "held"})


async def offered_without_a_worker(
    saga: Saga, hall: Hall, provider: Sandbox, engine: AsyncEngine
) -> Late:
    async with saga.worker():
        late = await Late.expired(saga, hall, provider)
        await rival_takes(engine, saga, hall, "A2")
    receipt_id = await late.pay()
    outcome = await late_payment.settle(saga.begin, LatePaymentInput(receipt_id), LATE)
    assert outcome.state is LateState.OFFERED
    return late


@pytest.mark.parametrize("first", [ACCEPTED, LAPSED])
async def test_an_answer_and_the_end_of_the_time_race_and_the_rows_decide(
    saga: Saga, hall: Hall, provider: Sandbox, engine: AsyncEngine, first: OfferState
) -> None:
    late = await offered_without_a_worker(saga, hall, provider, engine)
    [[receipt_id]] = await saga.rows(
        "SELECT provider_payment_id FROM seat_offers WHERE booking_id = :id",
        id=UUID(late.input.booking_id),
    )
    accept, lapse = (OfferAnswer(str(receipt_id), end, "buyer") for end in (ACCEPTED, LAPSED))
    early = await late_payment.answer(saga.begin, lapse, LATE)
    assert early.state is LateState.OFFERED, "the timer only asks: the database clock decides"
    if first is LAPSED:
        async with engine.begin() as connection:
            await connection.execute(
                text("UPDATE seat_offers SET expires_at = now() WHERE provider_payment_id = :id"),
                {"id": receipt_id},
            )
    ends = [await late_payment.answer(saga.begin, one, LATE) for one in (accept, lapse, accept)]
    expected = LateState.CONFIRMED if first is ACCEPTED else LateState.GOES_BACK
    assert {outcome.state for outcome in ends} == {expected}


class Unheard(TemporalBookingProcess):
    """Cannot tell an offer's saga the answer."""

    def __init__(self, saga: Saga, error: Exception) -> None:
        super().__init__(saga.client)
        self._error = error

    async def answer_offer(self, wish: OfferAnswer) -> LateOutcome:
        raise self._error


async def test_an_answer_that_was_not_heard_is_for_the_buyer_to_give_again(
    saga: Saga, hall: Hall, provider: Sandbox, engine: AsyncEngine
) -> None:
    """Whatever the saga says: while the row is open, nobody has decided."""
    late = await offered_without_a_worker(saga, hall, provider, engine)
    for error in (ProcessAway("away"), ProcessUnknown("slow"), Conflict("No offer is open.")):
        unheard = OfferDesk(saga.begin, Unheard(saga, error))
        with pytest.raises(Unavailable):
            await unheard.answer(caller(late), UUID(late.input.booking_id), ACCEPTED)


async def test_an_answer_reaches_a_saga_that_is_lost(
    saga: Saga, hall: Hall, provider: Sandbox, engine: AsyncEngine
) -> None:
    async with saga.worker():
        late, receipt_id = await late_and_lost(saga, hall, provider, engine)
        await late.handle(receipt_id).terminate("all of Temporal's data is gone")
        await desk(saga).answer(caller(late), UUID(late.input.booking_id), ACCEPTED)
        assert await late.outcome(receipt_id) == "confirmed"
    assert await late.seats() == ["A3", "A4"]


async def test_an_overdue_offer_of_a_lost_saga_is_found_and_ended(
    saga: Saga, hall: Hall, provider: Sandbox, engine: AsyncEngine
) -> None:
    async with saga.worker():
        late, receipt_id = await late_and_lost(saga, hall, provider, engine)
        await late.handle(receipt_id).terminate("all of Temporal's data is gone")
        async with engine.begin() as connection:
            await connection.execute(
                text(
                    "UPDATE seat_offers SET expires_at = now() - interval '6 seconds'"
                    " WHERE provider_payment_id = :id"
                ),
                {"id": UUID(receipt_id)},
            )
        assert UUID(receipt_id) in await saga.work.overdue_offers(seconds=5, limit=1000)
        await saga.process.send_money_back(receipt_id, None)
        assert await late.outcome(receipt_id) == "succeeded"
    assert await late.offer_state(receipt_id) == LAPSED
    assert late.refunded() == 2400


async def test_another_worker_goes_on_with_an_open_offer(
    saga: Saga, hall: Hall, provider: Sandbox, engine: AsyncEngine
) -> None:
    async with saga.worker():
        late, receipt_id = await late_and_lost(saga, hall, provider, engine)
    async with saga.worker():
        assert (await late.answer(receipt_id, ACCEPTED)).state is LateState.CONFIRMED
        assert await late.outcome(receipt_id) == "confirmed"


async def test_cancelling_the_workflow_gives_the_seats_and_the_money_back(
    saga: Saga, hall: Hall, provider: Sandbox, engine: AsyncEngine
) -> None:
    async with saga.worker():
        late, receipt_id = await late_and_lost(saga, hall, provider, engine)
        await late.handle(receipt_id).cancel()
        assert await late.outcome(receipt_id) == "succeeded"
    assert late.refunded() == 2400
    assert await saga.claims(late.input) == {"A2": "held"}


@pytest.mark.parametrize("step", ["settle_late", "end_offer"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_each_step_failed_or_doubled_ends_as_it_must(
    saga: Saga, hall: Hall, provider: Sandbox, engine: AsyncEngine, step: str, when: str
) -> None:
    async with saga.worker(Fault(step, when, times=4, repeat=2)):
        late, receipt_id = await late_and_lost(saga, hall, provider, engine)
        await late.answer(receipt_id, ACCEPTED)
        assert await late.outcome(receipt_id) == "confirmed"
    assert await saga.claims(late.input) == {"A2": "held", "A3": "sold", "A4": "sold"}
    assert await late.mails() == ["lapse", "offer", "confirmation"]
    assert late.refunded() == 0


async def test_an_offer_whose_decision_then_fails_for_good_leaves_no_mark(
    saga: Saga,
    hall: Hall,
    provider: Sandbox,
    engine: AsyncEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was made and its answer lost; asked again, the step fails, and nobody knows of it."""
    settle, asked = late_payment.settle, 0

    async def once(*args: Any) -> LateOutcome:
        nonlocal asked
        asked += 1
        if asked == 1:
            return await settle(*args)
        raise ApplicationError("no decision is possible", non_retryable=True)

    monkeypatch.setattr(late_payment, "settle", once)
    async with saga.worker(Fault("settle_late", "after", times=1)):
        late = await Late.expired(saga, hall, provider)
        await rival_takes(engine, saga, hall, "A2")
        receipt_id = await late.pay()
        assert await late.outcome(receipt_id) == "succeeded"
    assert await late.offer_state(receipt_id) == LAPSED
    assert await saga.preclaims.taken(hall.show_id, hall.labels) == {"A2"}


async def test_the_undo_leaves_no_offer_and_no_undecided_money(
    saga: Saga, hall: Hall, provider: Sandbox, engine: AsyncEngine
) -> None:
    late = await offered_without_a_worker(saga, hall, provider, engine)
    [[receipt_id]] = await saga.rows(
        "SELECT provider_payment_id FROM seat_offers WHERE booking_id = :id",
        id=UUID(late.input.booking_id),
    )
    for _ in range(2):
        outcome = await late_payment.abandon(saga.begin, LatePaymentInput(str(receipt_id)))
        assert outcome.state is LateState.GOES_BACK
    assert await saga.claims(late.input) == {"A2": "held"}
    assert await late.offer_state(str(receipt_id)) == LAPSED
    assert (await saga.events(late.input)).count("RefundRequested") == 1
