"""Facts of an authorised payment in any order and number: the same row, the same books."""

from __future__ import annotations

from itertools import permutations
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import Conflict
from domain.ledger import Account
from domain.limits import PRECLAIM_LEASE_SECONDS
from domain.money import Money
from domain.payment import ProviderPayment
from domain.payment import ProviderPaymentStatus as Told
from domain.payment_policy import PaymentMode
from domain.steps import BookingInput
from infra.postgres.database import Database
from services import authorise, checkout, payment
from services.payment import Recorded
from tests.factories import PRICE, create_hall
from tests.helpers.books import balances
from tests.helpers.late import write
from tests.helpers.till import Till

TOTAL = 2 * PRICE


async def learn(till: Till, input: BookingInput, reference: str, status: Told) -> Recorded:
    captured = TOTAL if status is Told.CAPTURED else 0
    fact = ProviderPayment(reference, "s", "b", status, Money(TOTAL, "EUR"), captured, 0)
    async with till.begin() as tx:
        attempt = await tx.payments.latest_attempt(UUID(input.booking_id))
        assert attempt is not None
        return await payment.record_payment(tx, attempt, fact)


async def books(till: Till, input: BookingInput) -> dict[Account, int]:
    async with till.begin.alone() as tx:
        [balance] = await balances(tx, UUID(input.booking_id))
    return {account: amount for account, amount in balance.accounts.items() if amount}


@pytest.mark.parametrize(
    ("facts", "end"),
    [
        ((Told.AUTHORISED,), {Account.AUTHORISED: TOTAL, Account.BUYER: -TOTAL}),
        ((Told.AUTHORISED, Told.VOIDED), {}),
        (
            (Told.AUTHORISED, Told.CAPTURED),
            {Account.PROVIDER: TOTAL, Account.BUYER: -TOTAL},
        ),
        (
            (Told.PROCESSING, Told.AUTHORISED, Told.CAPTURED),
            {Account.PROVIDER: TOTAL, Account.BUYER: -TOTAL},
        ),
    ],
    ids=["promised", "voided", "taken", "taken later"],
)
async def test_the_same_facts_in_any_order_leave_the_same_books(
    engine: AsyncEngine,
    database: Database,
    facts: tuple[Told, ...],
    end: dict[Account, int],
) -> None:
    for order in permutations(facts):
        till = Till(database, await create_hall(engine))
        input, reference = await till.hold(), f"pay_{uuid4()}"
        for status in order:
            for _ in range(2):
                await learn(till, input, reference, status)
        try:
            stand = await books(till, input)
        except ValueError:
            stand = {}  # voided before it was ever seen as promised: nothing to post
        assert stand == end, order


async def test_money_taken_while_it_is_given_up_is_not_given_up(
    engine: AsyncEngine, database: Database
) -> None:
    till = Till(database, await create_hall(engine))
    input = await till.hold()
    recorded = await learn(till, input, "pay_after_all", Told.AUTHORISED)
    assert recorded.confirms is not None
    assert await till.confirm(input, recorded) == "held"
    await learn(till, input, "pay_after_all", Told.CAPTURED)
    async with till.begin() as tx:
        outcome = await authorise.abandon(
            tx, UUID(input.booking_id), recorded.confirms, request_id=None
        )
    assert (outcome.state, outcome.capture) == ("held", str(recorded.confirms))
    assert await till.confirm(input, recorded) == "confirmed"


async def test_nothing_frees_the_seats_while_the_money_is_taken(
    engine: AsyncEngine, database: Database
) -> None:
    till = Till(database, await create_hall(engine))
    input = await till.hold()
    recorded = await learn(till, input, "pay_taking", Told.AUTHORISED)
    await till.confirm(input, recorded)
    await till.lapse(input)
    ended = (
        "UPDATE bookings SET hold_expires_at = now(), hold_max_expires_at = now() WHERE id = :id"
    )
    await write(engine, ended, input.booking_id)
    async with till.begin.alone() as tx:
        booking = await tx.bookings.peek(UUID(input.booking_id))
        claims = await tx.claims.active(till.hall.show_id, None)
    assert booking is not None
    assert (booking.state, booking.confirming) == ("held", recorded.confirms)
    assert {claim.booking_id for claim in claims} == {booking.id}
    assert {claim.ttl_seconds for claim in claims} == {PRECLAIM_LEASE_SECONDS}


@pytest.mark.parametrize(
    ("status", "provider"),
    [(Told.AUTHORISED, "stripe"), (Told.CAPTURED, "stripe"), (Told.CAPTURED, "sandbox")],
)
async def test_a_paid_or_promised_booking_opens_no_second_page(
    engine: AsyncEngine, database: Database, status: Told, provider: str
) -> None:
    """Also while it is still held, for nobody has told its process yet."""
    till = Till(database, await create_hall(engine))
    input = await till.hold()
    await learn(till, input, f"pay_{uuid4()}", status)
    async with till.begin() as tx:
        attempt = await tx.payments.latest_attempt(UUID(input.booking_id))
        assert attempt is not None
        tx.payments.close_session(attempt.id)
    with pytest.raises(Conflict) as refused:
        async with till.begin() as tx:
            await checkout.plan_checkout(
                tx,
                UUID(input.booking_id),
                user_id=UUID(input.user_id),
                provider=provider,
                return_url="http://shop.test/back",
                request_id=None,
                mode=PaymentMode.AUTHORISE,
            )
    assert refused.value.code == "nothing_to_pay"
