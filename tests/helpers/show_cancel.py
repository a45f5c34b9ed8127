"""A cancelled show on real servers: bookings of every kind, the run, and what the witness says."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from temporalio.client import WorkflowHandle

from contracts.booking import BOOKING_QUEUE
from contracts.show_cancel import ShowCancelContract, show_cancel_workflow_id
from domain.money import Money
from domain.show_cancel import ShowCancelInput
from domain.steps import BookingInput, CancelRequest, SeatChoice, StepOutcome
from infra.temporal import TemporalBookingProcess
from services import show_cancel
from services.refund import RefundWish
from services.refund_desk import RefundDesk
from services.show_ports import CancelShow
from tests.factories import Hall
from tests.helpers.eventually import eventually
from tests.helpers.saga import Saga
from tests.sandbox.process import Sandbox

WHY = "The projector is broken."
RATE = 50.0
TOLD = """
SELECT count(*) FROM notification_outbox JOIN bookings ON bookings.id = booking_id
WHERE show_id = :show AND template = 'show_cancelled' AND channel = 'email'
"""


def refunds(what: str, where: str = "true") -> str:
    """A statement about the refunds of ``:show``; both parts are written in the test."""
    return (
        f"SELECT {what} FROM refunds JOIN bookings ON bookings.id = booking_id"  # noqa: S608
        f" WHERE show_id = :show AND {where}"
    )


@dataclass
class Box:
    """The box office of one hall: sells its seats one after the other."""

    saga: Saga
    hall: Hall
    provider: Sandbox
    sold: int = 0

    def brief(self, seats: int = 2, ticket_type: str = "standard", **changes: Any) -> BookingInput:
        labels = self.hall.labels[self.sold : self.sold + seats]
        assert len(labels) == seats, "the hall is too small for this test"
        self.sold += seats
        plenty = {"max_live_holds_per_user": 100, "max_seats_per_user_show": 200}
        choices = [SeatChoice(label, ticket_type) for label in labels]
        return self.hall.input(seats=choices, **plenty, **changes)

    async def hold(self, **changes: Any) -> BookingInput:
        input = self.brief(**changes)
        assert await self.saga.reserve(input) == "held"
        return input

    async def open_page(self, **changes: Any) -> tuple[BookingInput, str]:
        input = await self.hold(**changes)
        return input, await self.saga.checkout(input)

    async def confirm(self, *, payments: int = 1, **changes: Any) -> tuple[BookingInput, str]:
        """A booking that was paid ``payments`` times, and the reference of what confirmed it."""
        input, session_id = await self.open_page(**changes)
        reference = self.pay(session_id)
        await self.tell(session_id)
        assert (await self.saga.handle(input).result())["state"] == "confirmed"
        for _ in range(payments - 1):
            self.pay(session_id, force=True)
        if payments > 1:
            await self.tell(session_id)
        return input, reference

    def pay(self, session_id: str, **act: Any) -> str:
        return self.provider.pay({"id": session_id}, webhooks={"deliver": False}, **act)

    async def tell(self, session_id: str) -> None:
        assert await self.saga.news.by_session("sandbox", session_id, request_id="webhook")

    async def free(self) -> BookingInput:
        """A confirmed booking that costs nothing."""
        async with self.saga.engine.begin() as connection:
            await connection.execute(
                text(
                    "INSERT INTO prices (show_id, price_class, ticket_type, amount)"
                    " VALUES (:show, 'standard', 'free', 0) ON CONFLICT DO NOTHING"
                ),
                {"show": self.hall.show_id},
            )
        input = await self.hold(ticket_type="free")
        await self.saga.process.payment_settled(
            UUID(input.booking_id), None, None, read_brief=self.saga.work.booking_input
        )
        assert (await self.saga.handle(input).result())["state"] == "confirmed"
        return input

    async def refund(self, input: BookingInput, *seats: str, amount: int | None = None) -> None:
        """A refund that was asked for, to its end."""
        handle = await self.ask_refund(input, *seats, amount=amount)
        assert (await handle.result())["outcome"] == "succeeded"

    async def ask_refund(
        self, input: BookingInput, *seats: str, amount: int | None = None
    ) -> WorkflowHandle[Any, Any]:
        wish = RefundWish(
            seats=seats or None,
            amount=Money(amount, "EUR") if amount else None,
            expected=None,
            note="",
            request_key=uuid4(),
            actor="test",
            request_id=None,
        )
        desk = RefundDesk(self.saga.begin, self.saga.process)
        number = await desk.refund(
            UUID(input.booking_id), wish, user_id=UUID(input.user_id), is_staff=True
        )
        return self.saga.client.get_workflow_handle(f"refund-{input.booking_id}-{number}")

    async def send_back_what_was_found(self) -> None:
        """What the reaper does: start the refund of money that nobody had told of."""
        for receipt_id in await self.saga.work.pending_refunds(seconds=0, limit=50):
            await self.saga.process.send_money_back(str(receipt_id), None)

    async def cancel(self, *, rate: float = RATE, **changes: Any) -> WorkflowHandle[Any, Any]:
        """Write the cancellation down, and start its run."""
        wish = CancelShow(self.hall.show_id, WHY, "operator:test", "test-request")
        async with self.saga.begin() as tx:
            await show_cancel.cancel(tx, wish, refunds_per_second=rate)
        input = ShowCancelInput(str(self.hall.show_id), rate, "test-request", **changes)
        return await self.saga.client.start_workflow(
            ShowCancelContract.run,
            input,
            id=show_cancel_workflow_id(input.show_id),
            task_queue=BOOKING_QUEUE,
        )

    async def states(self) -> dict[str, int]:
        found = await self.saga.rows(
            "SELECT state, count(*) FROM bookings WHERE show_id = :show GROUP BY state",
            show=self.hall.show_id,
        )
        return dict(found)

    async def one(self, statement: str) -> Any:
        """The first column of the first row of a statement about ``:show``."""
        return (await self.saga.rows(statement, show=self.hall.show_id))[0][0]

    async def payments(self) -> list[dict[str, Any]]:
        """What the provider's own books say of this show's bookings."""
        found = await self.saga.rows(
            "SELECT id::text FROM bookings WHERE show_id = :show", show=self.hall.show_id
        )
        ours = {row[0] for row in found}
        ledger = self.provider.get("/test/ledger").json()
        return [paid for paid in ledger["payments"] if paid["reference"] in ours]

    async def refunds_of(self, reference: str) -> list[int]:
        ledger = self.provider.get("/test/ledger").json()
        return [one["amount"] for one in ledger["refunds"] if one["payment_id"] == reference]

    async def until(self, statement: str, wanted: Any, *, seconds: float = 30) -> None:
        async def is_so() -> bool:
            return bool(await self.one(statement) == wanted)

        await eventually(is_so, seconds=seconds, message=statement)


class HardOfHearing(TemporalBookingProcess):
    """Cannot tell the bookings in ``deaf`` that they are cancelled."""

    def __init__(self, saga: Saga, error: Exception) -> None:
        super().__init__(saga.client)
        self.deaf: set[str] = set()
        self._error = error

    async def cancel(self, booking_id: str, request: CancelRequest) -> StepOutcome:
        if booking_id in self.deaf:
            raise self._error
        return await super().cancel(booking_id, request)


class DiesAtRefund(TemporalBookingProcess):
    """Never starts the refund that it is the ``nth`` time asked for: its worker ends before."""

    def __init__(self, saga: Saga, nth: int) -> None:
        super().__init__(saga.client)
        self.unstarted: asyncio.Future[tuple[UUID, int]] = asyncio.Future()
        self._before = nth - 1

    async def refund(self, booking_id: UUID, number: int, request_id: str | None) -> None:
        if self._before == 0:
            self.unstarted.set_result((booking_id, number))
            await asyncio.Event().wait()
        self._before -= 1
        await super().refund(booking_id, number, request_id)


BALANCES = """
SELECT count(*) FROM (
    SELECT booking_id FROM ledger_entries
    WHERE show_id = :show AND account = :account AND kind <> 'fee'
    GROUP BY booking_id HAVING sum(debit) <> sum(credit)
) AS open
"""


async def open_accounts(box: Box) -> dict[str, int]:
    """How many bookings of the show still have something in each account, fees left out."""
    return {
        account: (await box.saga.rows(BALANCES, show=box.hall.show_id, account=account))[0][0]
        for account in ("provider", "buyer", "revenue", "refunds_due", "authorised", "disputed")
    }
