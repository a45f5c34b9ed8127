"""What a provider keeps for itself stands in the books as soon as the provider tells of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from domain.ledger import Account
from domain.money import Money
from domain.payment import ProviderPayment, ProviderSession
from domain.payment import ProviderPaymentStatus as Told
from domain.steps import BookingInput
from infra.gateways.sandbox import SandboxGateway
from infra.postgres.database import Database
from readmodel.statement import Line, of_day
from services import payment
from services.payment import Recorded
from tests.factories import PRICE, Hall, create_hall
from tests.helpers.books import balances
from tests.helpers.saga import Saga
from tests.helpers.till import Till
from tests.sandbox.process import Sandbox
from tests.workflows.test_booking_paths import pay, tell
from tests.workflows.test_reconcile import held, of, reconcile, state_becomes

FEE = PRICE * 15 // 1000 + 25


async def learn(till: Till, input: BookingInput, reference: str, fee: int) -> Recorded:
    fact = ProviderPayment(
        reference, "s", "b", Told.CAPTURED, Money(PRICE, "EUR"), PRICE, 0, fee=fee
    )
    async with till.begin() as tx:
        attempt = await tx.payments.latest_attempt(UUID(input.booking_id))
        assert attempt is not None
        return await payment.record_payment(tx, attempt, fact)


async def books(till: Till, input: BookingInput) -> dict[Account, int]:
    async with till.begin.alone() as tx:
        [balance] = await balances(tx, UUID(input.booking_id))
    assert balance.is_settled
    return {account: amount for account, amount in balance.accounts.items() if amount}


async def statement(database: Database, hall: Hall) -> Line:
    async with database.statements() as session:
        lines = await of_day(session, datetime.now(UTC).date())
    [line] = [line for line in lines if line.show_id == hall.show_id]
    return line


async def test_a_fee_is_posted_once_whenever_it_is_told(
    engine: AsyncEngine, database: Database
) -> None:
    """With the money, after it, in two steps, and again."""
    hall = await create_hall(engine)
    till = Till(database, hall)
    for label, told in (("A1", [43]), ("A2", [0, 43, 43]), ("A3", [10, 43, 10])):
        input = await till.hold(label)
        reference = f"pay_{uuid4()}"
        first = await learn(till, input, reference, told[0])
        assert await till.confirm(input, first) == "confirmed"
        later = [await learn(till, input, reference, fee) for fee in told[1:]]
        assert not any(one.confirms or one.refunds for one in later)
        assert await books(till, input) == {
            Account.PROVIDER: PRICE - 43,
            Account.FEES: 43,
            Account.REVENUE: -PRICE,
        }
    line = await statement(database, hall)
    assert (line.captured, line.fees, line.net) == (3 * PRICE, 3 * 43, 3 * (PRICE - 43))
    assert line.net == line.revenue + line.refunds_due + line.undecided - line.fees


async def test_news_of_a_fee_alone_is_no_news_of_the_payment(saga: Saga, hall: Hall) -> None:
    till = Till(saga.database, hall)
    input = await till.hold("A1")
    reference = f"pay_{uuid4()}"
    await learn(till, input, reference, 0)
    await learn(till, input, reference, 43)
    assert (await saga.events(input)).count("PaymentVerified") == 1


async def test_what_the_provider_keeps_it_keeps_of_refunded_money_too(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    """The buyer gets all of it back: the fee is ours to bear."""
    async with saga.worker():
        input, page = await held(saga, hall, "A1")
        await saga.handle(input).execute_update(
            "cancel", {"actor": str(hall.user_id), "reason": ""}
        )
        reference = pay(provider, page, force=True)
        await tell(saga, page)
        late = saga.client.get_workflow_handle(f"late-payment-{await receipt(saga, reference)}")
        assert (await late.result())["outcome"] == "succeeded"
    assert provider.payment(reference)["refunded"] == PRICE
    assert await books(Till(saga.database, hall), input) == {
        Account.PROVIDER: -FEE,
        Account.FEES: FEE,
    }


async def test_a_fee_that_is_told_later_is_found_by_reconciling(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    """As Stripe does: the charge is there before what it did to our balance."""

    class Mum(SandboxGateway):
        async def read_session(self, session_id: str) -> ProviderSession:
            session = await super().read_session(session_id)
            without = tuple(replace(paid, fee=0) for paid in session.payments)
            return replace(session, payments=without)

    mum = Mum(provider.url)
    quiet = replace(saga, gateways={"sandbox": mum})
    since = datetime.now(UTC)
    async with saga.worker():
        input, page = await held(saga, hall, "A1")
        reference = pay(provider, page)
        await tell(quiet, page)
        await state_becomes(saga, input, "confirmed")
    till = Till(saga.database, hall)
    assert await books(till, input) == {Account.PROVIDER: PRICE, Account.REVENUE: -PRICE}
    told = of(await reconcile(saga, since), reference)
    assert told == [f"repaired: behind of payment {reference}"]
    assert await books(till, input) == {
        Account.PROVIDER: PRICE - FEE,
        Account.FEES: FEE,
        Account.REVENUE: -PRICE,
    }
    assert of(await reconcile(saga, since), reference) == []
    await mum.aclose()


async def receipt(saga: Saga, reference: str) -> UUID:
    [[id_]] = await saga.rows(
        "SELECT id FROM provider_payments WHERE reference = :it", it=reference
    )
    return UUID(str(id_))
