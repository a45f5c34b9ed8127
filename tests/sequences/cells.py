"""One cell of the decision table on real rows: a booking brought into a state, then one fact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from domain.booking import CloseReason
from domain.money import Money
from domain.steps import BookingInput, CloseStep
from seathold.standins.sandbox import payments, refunds, sessions
from seathold.standins.sandbox.shapes import ScriptedDispute, ScriptedPay
from seathold.standins.sandbox.times import now_us
from services import refund, refund_sending, show_cancel
from services.refund import RefundWish
from services.show_ports import CancelShow
from tests.factories import PRICE, Hall
from tests.sequences.street import RUN_OUT, Street

# As if it had all been an hour earlier: past every late window.
LONG_AGO = text("""
UPDATE bookings SET hold_expires_at = hold_expires_at - interval '1 hour',
    hold_max_expires_at = hold_max_expires_at - interval '1 hour',
    closing_since = closing_since - interval '1 hour', updated_at = updated_at - interval '1 hour'
WHERE id = :id
""")
CLOSING = {"EXPIRING": CloseReason.LAPSED, "CANCELLING": CloseReason.CANCELLED}
CLOSED = {
    "EXPIRED": CloseReason.LAPSED,
    "OFFERED": CloseReason.LAPSED,
    "CANCELLED": CloseReason.CANCELLED,
}


@dataclass
class Cell:
    """A booking of its own and the page it is paid on; ``paid`` is the fact's payment."""

    street: Street
    hall: Hall
    input: BookingInput
    session_id: str = ""
    paid: str = ""
    rival: BookingInput | None = None

    @property
    def id(self) -> UUID:
        return UUID(self.input.booking_id)

    async def become(self, state: str) -> None:
        """Bring a fresh booking into one of the policy's states, by the steps that lead there.

        What else than a state may be asked for: ``PolicyCell.way``.
        """
        saga, process = self.street.saga, self.street.process
        assert await saga.reserve(self.input) == "held"
        self.session_id = await saga.checkout(self.input)
        if state == "HELD":
            await self.close_page()
            await self.tell()
        elif state in CLOSING:
            await self.run_out()
            step = CloseStep(self.input.booking_id, CLOSING[state], actor="system")
            await process.steps.close_hold(step)
        elif state in CLOSED:
            await self.run_out()
            await process.close(self.input.booking_id, CLOSED[state])
        elif state != "PAYING":
            self.pay()
            await self.tell()
        if state == "REFUNDED":
            await self.give_back()
        elif state == "CHARGED_BACK":
            self.dispute("lost")
            await self.tell()
        elif state == "CALLED_OFF":
            await self.give_back(Money(PRICE, "EUR"))
            await self.call_off()
        elif state == "OFFERED":
            await self.sell_its_seats()
            self.pay()
            await self.tell()

    async def go_on(self, state: str) -> None:
        """What comes next by itself: a closing booking is closed, and the reaper comes by."""
        if state in CLOSING:
            await self.street.process.close(self.input.booking_id, CLOSING[state])
        await self.street.sweep([self.id])

    async def run_out(self) -> None:
        async with self.street.saga.engine.begin() as connection:
            await connection.execute(RUN_OUT, {"ids": [self.id]})

    async def long_ago(self) -> None:
        async with self.street.saga.engine.begin() as connection:
            await connection.execute(LONG_AGO, {"id": self.id})

    async def sell_its_seats(self) -> None:
        """Somebody else has them now."""
        self.rival = self.hall.input(*[seat.label for seat in self.input.seats])
        assert await self.street.saga.reserve(self.rival) == "held"

    async def free_its_seats(self) -> None:
        """Nobody has them any more."""
        assert self.rival is not None
        await self.street.process.close(self.rival.booking_id, CloseReason.CANCELLED)

    def pay(self, amount: int = PRICE) -> None:
        wanted = {"outcome": "captured", "force": True, "amount": amount}
        with self.street.store.write() as conn:
            session = sessions.session_row(conn, self.session_id)
            act = ScriptedPay.model_validate(wanted)
            self.paid = payments.pay(conn, session, act, now_us())

    async def close_page(self) -> None:
        with self.street.store.write() as conn:
            sessions.expire(conn, sessions.session_row(conn, self.session_id), now_us())

    def dispute(self, outcome: str = "opened", amount: int | None = None) -> None:
        act = ScriptedDispute.model_validate({"outcome": outcome, "amount": amount})
        with self.street.store.write() as conn:
            refunds.dispute(conn, payments.payment_row(conn, self.paid), act, now_us())

    async def give_back(self, amount: Money | None = None) -> None:
        """A refund of everything, or by staff of a sum for no seat, asked for and settled."""
        saga = self.street.saga
        wish = RefundWish(None, amount, None, "", uuid4(), "test", None)
        async with saga.begin() as tx:
            number = await refund.reserve(tx, self.id, wish)
        await refund_sending.ask(saga.begin, saga.gateways, self.id, number, request_id=None)
        outcome = await refund_sending.settle(
            saga.begin, saga.gateways, self.id, number, request_id=None
        )
        assert outcome == "succeeded"
        if amount is None:
            labels = [seat.label for seat in self.input.seats]
            await saga.preclaims.release(self.hall.show_id, labels, self.id)

    async def call_off(self) -> None:
        """Its show is cancelled, and no money of it is left."""
        wish = CancelShow(UUID(str(self.hall.show_id)), "Power cut", "operator:test", None)
        async with self.street.saga.begin() as tx:
            assert await show_cancel.cancel(tx, wish, refunds_per_second=5)
        async with self.street.saga.begin() as tx:
            assert await show_cancel.refund_whole(tx, self.id, request_id=None) is None

    async def offers(self) -> list[str]:
        return [
            row[0]
            for row in await self.street.saga.rows(
                "SELECT state FROM seat_offers WHERE booking_id = :id", id=self.id
            )
        ]

    async def tell(self) -> None:
        """A webhook about the page, worked through."""
        assert await self.street.saga.news.by_session("sandbox", self.session_id, request_id=None)

    def at_provider(self) -> dict[str, Any]:
        return payments.payment_view(payments.payment_row(self.street.store.read, self.paid))

    async def verdict(self) -> str | None:
        """What was decided about the fact's payment."""
        [[decision]] = await self.street.saga.rows(
            "SELECT decision FROM provider_payments WHERE reference = :ref", ref=self.paid
        )
        return str(decision) if decision else None

    async def cases(self) -> list[str]:
        return [
            row[0]
            for row in await self.street.saga.rows(
                "SELECT kind FROM cases WHERE booking_id = :id ORDER BY kind", id=self.id
            )
        ]

    async def disputed(self) -> int:
        """What stands in the ledger as withdrawn by a bank."""
        [[sum_]] = await self.street.saga.rows(
            "SELECT coalesce(sum(debit - credit), 0) FROM ledger_entries"
            " WHERE booking_id = :id AND account = 'disputed'",
            id=self.id,
        )
        return int(sum_)
