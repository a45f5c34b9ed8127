"""Authorised money breached on purpose; and what the services write of it, which is right."""

from __future__ import annotations

# ruff: noqa: F811 (the fixture `desk` comes from the module that it is shared with)
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from domain.booking import CloseReason
from domain.money import Money
from domain.payment import ProviderPayment, ProviderPaymentStatus
from domain.steps import BookingInput, ConfirmRequest
from services import authorise, payment
from tests.check.builders import PRICE, Brief, Connection, add_booking, add_posting, id_of, insert
from tests.check.conftest import Checker
from tests.check.test_written_by_the_services import Desk, desk  # noqa: F401
from tests.check.town import EUR, add_payment, started
from tests.factories import PRICE as SEAT_PRICE

Spoil = Callable[[Connection], None]
CONFIRMING, LAPSED, PROMISE = id_of("confirming"), id_of("lapsed"), id_of("pay_promised")


@pytest.fixture(autouse=True)
def confirming(db: Connection) -> None:
    """One more booking in the town, whose money is being taken."""
    add_confirming(db)


def add_confirming(db: Connection) -> None:
    checkout, ends = started("confirming", 5)
    told = {"provider_payment_id": str(PROMISE)}
    commands = [checkout, [("PaymentAuthorised", {})], [("BookingConfirming", told)]]
    row = {"lapses": False, "hold_expires_at": ends, "confirming_payment_id": PROMISE}
    brief = Brief("confirming", "held", ("A8",), commands, minutes_ago=5, row=row)
    add_booking(db, brief)
    add_payment(db, "confirming", "authorised", PRICE)
    paid = {
        "id": PROMISE,
        "provider": "sandbox",
        "reference": "pay_promised",
        "booking_id": CONFIRMING,
        "payment_id": id_of("attempt-confirming"),
        "status": "authorised",
        "amount": PRICE,
        "currency": EUR,
        "updated_at": datetime.now(UTC) - timedelta(minutes=4),
    }
    insert(db, "provider_payments", paid)
    add_posting(db, "authorised", {**paid, "captured": PRICE}, "authorised", "buyer")


def by(statement: str, **values: object) -> Spoil:
    def spoil(db: Connection) -> None:
        db.execute("SET session_replication_role = replica")
        db.execute(statement, values)

    return spoil


def promise(booking: str) -> Spoil:
    """The promise is another booking's, in the rows and in the books."""
    return by(
        "WITH moved AS (UPDATE provider_payments SET booking_id = %(to)s, payment_id = %(attempt)s"
        " WHERE id = %(id)s) UPDATE ledger_entries SET booking_id = %(to)s"
        " WHERE provider_payment_id = %(id)s",
        to=id_of(booking),
        attempt=id_of("attempt-confirmed"),
        id=PROMISE,
    )


BREACHES: list[tuple[str, str, Spoil]] = [
    ("M9", "promise not posted", by("DELETE FROM ledger_entries WHERE kind = 'authorised'")),
    ("M9", "promise over and posted", by("UPDATE provider_payments SET status = 'voided'"
                                         " WHERE id = %(id)s", id=PROMISE)),
    (
        "M9",
        "another amount",
        by("UPDATE ledger_entries SET debit = sign(debit), credit = sign(credit)"
           " WHERE kind = 'authorised'"),
    ),
    ("M11", "nobody judged it", by("UPDATE bookings SET confirming_payment_id = NULL")),
    ("M11", "its booking is over", by("UPDATE bookings SET state = 'expired' WHERE id = %(id)s",
                                      id=CONFIRMING)),
    ("M11", "no such payment", by("UPDATE bookings SET confirming_payment_id = id"
                                  " WHERE id = %(id)s", id=CONFIRMING)),
    ("M11", "another booking's", promise("held")),
    ("M11", "another sum", by("UPDATE bookings SET total_amount = 1 WHERE id = %(id)s",
                              id=CONFIRMING)),
    ("M11", "another currency", by("UPDATE bookings SET currency = 'USD' WHERE id = %(id)s",
                                   id=CONFIRMING)),
    ("M11", "money is gone", by("UPDATE provider_payments SET status = 'voided'"
                                " WHERE id = %(id)s", id=PROMISE)),
    ("M11", "sent back already", by("UPDATE provider_payments SET decision = 'late'"
                                    " WHERE id = %(id)s", id=PROMISE)),
    ("M11", "the clock may free it", by("UPDATE bookings SET lapses = true WHERE id = %(id)s",
                                        id=CONFIRMING)),
    ("M11", "taken for ever", by("UPDATE events SET created_at = now() - interval '20 minutes'"
                                 " WHERE aggregate_id = %(id)s", id=CONFIRMING)),
    ("E1", "events say nothing of it", by("UPDATE bookings SET confirming_payment_id = id"
                                          " WHERE id = %(id)s", id=LAPSED)),
    ("E4", "cancelled while taken", by(
        "UPDATE events SET event_type = 'BookingCancelling' WHERE event_type = 'PaymentVerified'"
        " OR aggregate_id = %(id)s AND event_type = 'PaymentStarted'", id=CONFIRMING)),
]  # fmt: skip


def test_money_that_is_being_taken_is_right(checker: Checker) -> None:
    checker.run()
    assert checker.with_status("BREACH") == set()


@pytest.mark.parametrize(
    ("id_", "spoil"),
    [pytest.param(id_, spoil, id=f"{id_} {name}") for id_, name, spoil in BREACHES],
)
def test_breach_of_a_promise_is_found(
    id_: str, spoil: Spoil, checker: Checker, db: Connection
) -> None:
    spoil(db)
    checker.run()
    assert checker.exit_code == 1
    assert id_ in checker.with_status("BREACH")


def test_a_capture_that_takes_long_is_let_be_with_a_case(checker: Checker, db: Connection) -> None:
    by("UPDATE events SET created_at = created_at - interval '20 minutes'")(db)
    checker.run()
    assert "M11" in checker.with_status("BREACH")
    db.execute("UPDATE bookings SET case_id = gen_random_uuid() WHERE id = %s", (CONFIRMING,))
    checker.run()
    assert "M11" in checker.with_status("ok")


class Promises:
    """A booking's money as the provider tells of it, one transaction each."""

    def __init__(self, desk: Desk, input: BookingInput, name: str) -> None:
        self.desk, self.input, self.reference = desk, input, f"pay_{name}"

    async def told(
        self, status: str, *, amount: int = SEAT_PRICE, captured: int = 0
    ) -> payment.Recorded:
        money = Money(amount, "EUR")
        paid = ProviderPayment(
            self.reference, "s", "b", ProviderPaymentStatus(status), money, captured, 0
        )
        async with self.desk.begin() as tx:
            attempt = await tx.payments.latest_attempt(UUID(self.input.booking_id))
            assert attempt is not None
            recorded = await payment.record_payment(tx, attempt, paid)
            tx.payments.close_session(attempt.id)
        return recorded

    async def confirm(self, recorded: payment.Recorded) -> str:
        told = recorded.confirms or recorded.refunds
        async with self.desk.begin() as tx:
            request = ConfirmRequest(self.input.booking_id, str(told))
            return str((await payment.confirm(tx, request)).state)


async def test_what_the_services_write_of_promises_is_right(
    desk: Desk,
    checker: Checker,
    db: Connection,
) -> None:
    async def paid(label: str) -> Promises:
        input = await desk.hold(label)
        await desk.pay(input, amount=SEAT_PRICE, confirm=False)
        return Promises(desk, input, label)

    taken = await paid("A1")
    recorded = await taken.told("authorised")
    assert await taken.confirm(recorded) == "held"
    extra = Promises(desk, taken.input, "extra")
    await extra.told("authorised")
    await extra.told("voided")
    await taken.told("captured", captured=SEAT_PRICE)
    assert await taken.confirm(recorded) == "confirmed"

    refused = await paid("A2")
    recorded = await refused.told("authorised")
    await refused.confirm(recorded)
    assert recorded.confirms is not None
    async with desk.begin() as tx:
        booking_id = UUID(refused.input.booking_id)
        await authorise.abandon(tx, booking_id, recorded.confirms, request_id=None)
    await desk.finish(refused.input)
    await refused.told("voided")

    wrong = await paid("A3")
    await wrong.told("authorised", amount=1)
    unwanted = await paid("A4")
    await desk.close(unwanted.input, CloseReason.CANCELLED)
    await unwanted.told("authorised")
    await desk.finish(unwanted.input)
    pending = await paid("A5")
    await pending.confirm(await pending.told("authorised"))

    checker.run(SEATHOLD_SANDBOX_URL="", SEATHOLD_MAIL_URL="")
    found = {id_: one["examples"] for id_, one in checker.verdicts.items() if one["breaches"]}
    assert found == {}
