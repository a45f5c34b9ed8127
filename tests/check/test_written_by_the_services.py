"""What the services write is what the checker, which shares no code with them, calls right."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from domain.booking import CloseReason
from domain.money import Money
from domain.offer import LateState, OfferState
from domain.payment import (
    DisputeStatus,
    ProviderDispute,
    ProviderPayment,
    ProviderPaymentStatus,
)
from domain.steps import (
    BookingInput,
    CloseStep,
    ConfirmRequest,
    ExtendRequest,
    ExtendStep,
    FinishStep,
    LatePaymentInput,
    OfferAnswer,
)
from infra.postgres.database import Database
from infra.postgres.engine import create_engine
from infra.postgres.uow import PostgresUnitOfWork
from infra.settings import Settings
from services import booking, checkout, late_payment, payment, refund
from services.refund import RefundWish
from services.work import LateLimits
from tests.check.builders import Connection
from tests.check.conftest import Checker, settings_for
from tests.factories import PRICE, Hall, create_hall
from tests.fixtures import servers


class Desk:
    """The steps of a booking, one transaction each, on the test's own town."""

    def __init__(self, database: Database, hall: Hall) -> None:
        self.begin, self.hall = PostgresUnitOfWork(database), hall
        self.limits = LateLimits(window_seconds=900, offer_seconds=1800, max_seats_per_user_show=20)
        self.late, self.paid = LateState.NOTHING_DUE, ""

    async def hold(self, *labels: str) -> BookingInput:
        input = self.hall.input(*labels)
        async with self.begin() as tx:
            await tx.bookings.add_request(input, key_hash=None, body_hash=b"body")
            await booking.hold(tx, input)
        return input

    async def extend(self, input: BookingInput) -> None:
        step = ExtendStep(input.booking_id, 900, ExtendRequest(input.user_id), "wish")
        async with self.begin() as tx:
            await booking.extend(tx, step)

    async def close(self, input: BookingInput, why: CloseReason) -> None:
        async with self.begin() as tx:
            await booking.begin_close(tx, CloseStep(input.booking_id, why, "test"))

    async def finish(self, input: BookingInput) -> None:
        async with self.begin() as tx:
            await booking.finish_close(tx, FinishStep(input.booking_id, 0, False))

    async def pay(self, input: BookingInput, *, amount: int, confirm: bool = True) -> None:
        """Check out, record a captured payment and confirm, as the workflow would."""
        id_ = UUID(input.booking_id)
        async with self.begin() as tx:
            attempt = await tx.payments.latest_attempt(id_)
            if attempt is None:
                attempt = await checkout.plan_checkout(
                    tx,
                    id_,
                    user_id=UUID(input.user_id),
                    provider="sandbox",
                    return_url="http://shop.test/back",
                    request_id=None,
                )
        assert attempt is not None
        if not confirm:
            return
        money = Money(amount, "EUR")
        captured = ProviderPaymentStatus.CAPTURED
        paid = ProviderPayment(f"pay_{uuid4()}", "s", str(id_), captured, money, amount, 0)
        async with self.begin() as tx:
            recorded = await payment.record_payment(tx, attempt, paid)
            tx.payments.close_session(attempt.id)
        if recorded.refunds is not None:
            late = LatePaymentInput(str(recorded.refunds))
            self.late = (await late_payment.settle(self.begin, late, self.limits)).state
            self.paid = str(recorded.refunds)
        if recorded.refunds is not None and self.late is LateState.GOES_BACK:
            async with self.begin() as tx:
                await payment.settle_refund(
                    tx, recorded.refunds, status="succeeded", reference="ref", request_id=None
                )
        async with self.begin() as tx:
            told = recorded.confirms or recorded.refunds
            await payment.confirm(tx, ConfirmRequest(input.booking_id, str(told)))

    async def dispute(self, input: BookingInput, *words: str) -> None:
        """The provider tells of a dispute over all of the latest payment, step by step."""
        id_ = UUID(input.booking_id)
        async with self.begin() as tx:
            attempt = await tx.payments.latest_attempt(id_)
            locked = await tx.bookings.lock(id_)
            assert attempt is not None
            assert locked is not None
            assert locked.provider_payment_id is not None
            receipt = await tx.payments.receipt(locked.provider_payment_id)
        assert receipt is not None
        for word in words:
            told = ProviderDispute(f"dsp_{id_}", DisputeStatus(word), receipt.paid)
            captured, amount = ProviderPaymentStatus.CAPTURED, receipt.paid.amount
            paid = ProviderPayment(
                receipt.reference, "s", str(id_), captured, receipt.paid, amount, 0, (told,)
            )
            async with self.begin() as tx:
                await payment.record_payment(tx, attempt, paid)

    async def refund(self, input: BookingInput, *seats: str, end: str = "succeeded") -> None:
        """Ask for a refund and let the provider do as ``end`` says; ``refused`` is no at once."""
        id_ = UUID(input.booking_id)
        wish = RefundWish(seats or None, None, None, "", uuid4(), input.user_id, None)
        async with self.begin() as tx:
            number = await refund.reserve(tx, id_, wish)
        async with self.begin() as tx:
            [part] = await tx.refunds.parts(id_, number)
            if end == "refused":
                await refund.withdraw(tx, id_, number, request_id=None)
                return
            await refund.accept(tx, id_, part, f"ref_{part.id}", is_found=False, request_id=None)
        async with self.begin() as tx:
            [part] = await tx.refunds.parts(id_, number)
            if end != "pending":
                await refund.record_end(tx, id_, part, end, request_id=None)


@pytest.fixture
async def desk(settings: Settings, database_url: str) -> AsyncIterator[Desk]:
    engine = create_engine(settings_for(settings, database_url))
    database = Database(settings_for(settings, servers.as_app(database_url)))
    yield Desk(database, await create_hall(engine, seats=12, starts_in_hours=48))
    await database.close()
    await engine.dispose()


async def test_every_path_of_the_services_is_right(
    desk: Desk, checker: Checker, db: Connection
) -> None:
    confirmed = await desk.hold("A1", "A2")
    await desk.extend(confirmed)
    await desk.pay(confirmed, amount=2 * PRICE)
    await desk.pay(confirmed, amount=2 * PRICE)
    released = await desk.hold("A3")
    await desk.close(released, CloseReason.RELEASED)
    mismatch = await desk.hold("A3", "A4")
    await desk.pay(mismatch, amount=PRICE)
    await desk.close(mismatch, CloseReason.CANCELLED)
    await desk.finish(mismatch)
    await desk.pay(mismatch, amount=2 * PRICE)
    uncertain = await desk.hold("A5")
    await desk.pay(uncertain, amount=PRICE, confirm=False)
    await desk.close(uncertain, CloseReason.RELEASED)
    await desk.finish(uncertain)
    lapsed = await desk.hold("A6", "A7")
    db.execute("UPDATE bookings SET hold_expires_at = now() WHERE id = %s", (lapsed.booking_id,))
    await desk.hold("A7", "A8")
    states = db.execute(
        "SELECT state, payment_uncertain, count(*) FROM bookings WHERE show_id = %s"
        " GROUP BY 1, 2 ORDER BY 1, 2",
        (desk.hall.show_id,),
    ).fetchall()
    assert states == [
        ("cancelled", False, 1),
        ("confirmed", False, 1),
        ("expired", False, 2),
        ("expired", True, 1),
        ("held", False, 1),
    ]

    checker.run(SEATHOLD_SANDBOX_URL="", SEATHOLD_MAIL_URL="")
    found = {id_: one["examples"] for id_, one in checker.verdicts.items() if one["breaches"]}
    assert set(found) == {"E1"}, found
    assert len(found["E1"]) == 1, "only the hold whose end this test moved"
    assert lapsed.booking_id in found["E1"][0]


async def test_late_money_of_every_kind_is_right(
    desk: Desk, checker: Checker, db: Connection
) -> None:
    db.execute("UPDATE shows SET offers_seats = true WHERE id = %s", (desk.hall.show_id,))

    async def late(rival: str | None) -> str:
        """A seat paid for after its hold, which somebody else may have by then."""
        input = await desk.hold("A1")
        await desk.pay(input, amount=PRICE, confirm=False)
        await desk.close(input, CloseReason.RELEASED)
        await desk.finish(input)
        if rival is not None:
            standing = await desk.hold(rival)
            await desk.pay(input, amount=PRICE)
            await desk.close(standing, CloseReason.RELEASED)
        else:
            await desk.pay(input, amount=PRICE)
        return str(desk.late)

    for end in (OfferState.ACCEPTED, OfferState.DECLINED, None):
        assert await late("A1") == "offered"
        if end is not None:
            wish = OfferAnswer(desk.paid, end, str(desk.hall.user_id))
            outcome = await late_payment.answer(desk.begin, wish, desk.limits)
            if outcome.state is LateState.GOES_BACK:
                async with desk.begin() as tx:
                    await payment.settle_refund(
                        tx, UUID(desk.paid), status="succeeded", reference="r", request_id=None
                    )
    assert await late(None) == "confirmed"
    sold = db.execute(
        "SELECT label, state FROM seat_claims WHERE show_id = %s AND state <> 'free'"
        " ORDER BY label",
        (desk.hall.show_id,),
    ).fetchall()
    assert sold == [("A1", "sold"), ("A2", "sold"), ("A3", "held")]

    db.execute("ALTER TABLE ledger_entries DISABLE TRIGGER USER")
    db.execute("UPDATE ledger_entries SET posted_at = posted_at - interval '2 minutes'")
    db.execute("ALTER TABLE ledger_entries ENABLE TRIGGER USER")
    checker.run(SEATHOLD_SANDBOX_URL="", SEATHOLD_MAIL_URL="")
    found = {id_: one["examples"] for id_, one in checker.verdicts.items() if one["breaches"]}
    assert found == {}


async def test_refunds_of_every_kind_are_right(
    desk: Desk, checker: Checker, db: Connection
) -> None:
    ends = {"succeeded": "refunded", "failed": "refund_pending", "pending": "refund_pending"}
    for end, state in {**ends, "refused": "confirmed"}.items():
        bought = await desk.hold("A1", "A2")
        await desk.pay(bought, amount=2 * PRICE)
        await desk.refund(bought, "A1")
        await desk.refund(bought, end=end)
        row = db.execute("SELECT state FROM bookings WHERE id = %s", (bought.booking_id,))
        assert row.fetchone() == (state,)
    kept = db.execute(
        "SELECT label FROM seat_claims WHERE state = 'sold' AND show_id = %s", (desk.hall.show_id,)
    ).fetchall()
    assert kept == [("A2",)]

    checker.run(SEATHOLD_SANDBOX_URL="", SEATHOLD_MAIL_URL="")
    assert checker.with_status("BREACH") == set()


async def test_disputes_of_every_kind_are_right(
    desk: Desk, checker: Checker, db: Connection
) -> None:
    ways = {
        ("inquiry",): "confirmed",
        ("open",): "disputed",
        ("open", "won"): "confirmed",
        ("open", "lost"): "charged_back",
        ("lost",): "charged_back",
    }
    for place, (words, state) in enumerate(ways.items(), 1):
        bought = await desk.hold(f"A{place}")
        await desk.pay(bought, amount=PRICE)
        await desk.dispute(bought, *words, *words)
        row = db.execute("SELECT state FROM bookings WHERE id = %s", (bought.booking_id,))
        assert row.fetchone() == (state,), words
    begun = await desk.hold("A6")
    await desk.pay(begun, amount=PRICE)
    db.execute("UPDATE shows SET starts_at = now() WHERE id = %s", (desk.hall.show_id,))
    await desk.dispute(begun, "open", "lost")
    kept = db.execute(
        "SELECT label FROM seat_claims WHERE state = 'sold' AND show_id = %s ORDER BY label",
        (desk.hall.show_id,),
    ).fetchall()
    assert kept == [("A1",), ("A2",), ("A3",), ("A6",)]
    # Long after, when nothing is under way any more.
    db.execute("SET session_replication_role = replica")
    db.execute("UPDATE ledger_entries SET posted_at = now() - interval '2 minutes'")

    checker.run(SEATHOLD_SANDBOX_URL="", SEATHOLD_MAIL_URL="")
    assert checker.with_status("BREACH") == set()
