"""Many bookings at once on real PostgreSQL, beside the sandbox's own ledger; no Temporal.

The provider is the sandbox's real application on its real file, called without a network. The
process port takes the booking's real steps at once, in the order in which its workflow does.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from temporalio.exceptions import ApplicationError

from activities.booking import DatabaseBookingActivities
from activities.late_payment import LateActivities
from activities.session import GatewayActivities
from domain.booking import BookingState, CloseReason
from domain.errors import Unavailable
from domain.limits import REFUND_RETRIES
from domain.offer import LateState
from domain.steps import (
    BookingInput,
    CancelRequest,
    CloseStep,
    ConfirmRequest,
    ExtendRequest,
    FinishStep,
    HoldOutcome,
    LateOutcome,
    LatePaymentInput,
    OfferAnswer,
    SessionStep,
    StepOutcome,
)
from infra.postgres.inbox import InboxWriter, NewEvent
from loops.inbox import InboxLoop
from seathold.standins.sandbox import payments, refunds, sessions
from seathold.standins.sandbox.shapes import NewRefund, ScriptedDispute, ScriptedPay
from seathold.standins.sandbox.store import Store
from seathold.standins.sandbox.times import now_us
from services.process import ReadBrief
from tests.factories import Hall
from tests.helpers.saga import Saga
from tests.sequences.facts import Run

AT_ONCE = 10
EVERYTHING = 100_000


class DirectProcess:
    """:class:`services.process.BookingProcess` that takes each step before it answers."""

    def __init__(self, saga: Saga) -> None:
        self.steps = DatabaseBookingActivities(saga.begin, saga.preclaims)
        self._sessions = GatewayActivities(saga.begin, saga.gateways)
        self._late = LateActivities(saga.begin, saga.preclaims, saga.late)

    async def reserve(self, input: BookingInput) -> HoldOutcome:
        return await self.steps.hold_seats(input)

    async def cancel(self, booking_id: str, request: CancelRequest) -> StepOutcome:
        return await self.close(booking_id, CloseReason.CANCELLED)

    async def close(self, booking_id: str, why: CloseReason) -> StepOutcome:
        """As the workflow closes: the page first, then the seats; without any grace."""
        outcome = await self.steps.close_hold(CloseStep(booking_id, why, actor="system"))
        if not outcome.state.is_closing:
            return outcome
        page = await self._sessions.close_session(SessionStep(booking_id))
        if page.captured and outcome.state is BookingState.EXPIRING:
            for paid in page.captured:
                outcome = await self.steps.confirm_booking(ConfirmRequest(booking_id, paid))
        if outcome.state.is_closing:
            outcome = await self.steps.finish_close(FinishStep(booking_id, 0, page.closed))
        if outcome.paid is not None:
            outcome = await self.steps.confirm_booking(ConfirmRequest(booking_id, outcome.paid))
        return outcome

    async def payment_settled(
        self,
        booking_id: UUID,
        provider_payment_id: str | None,
        request_id: str | None,
        *,
        read_brief: ReadBrief,
    ) -> None:
        if await read_brief(booking_id) is not None:
            request = ConfirmRequest(str(booking_id), provider_payment_id, request_id)
            await self.steps.confirm_booking(request)

    async def send_money_back(self, provider_payment_id: str, request_id: str | None) -> None:
        input = LatePaymentInput(provider_payment_id, request_id)
        if (await self._late.settle_late(input)).state is not LateState.GOES_BACK:
            return
        try:
            await self._sessions.send_refund(input)
        except (Unavailable, ApplicationError):
            return  # the workflow would go on asking, or end; the rows say how it stands

    async def ensure_running(self, input: BookingInput) -> None:
        """It always is."""

    async def extend(
        self, booking_id: str, request: ExtendRequest, extension_id: str
    ) -> StepOutcome:
        raise NotImplementedError

    async def answer_offer(self, wish: OfferAnswer) -> LateOutcome:
        raise NotImplementedError

    async def refund(self, booking_id: UUID, number: int, request_id: str | None) -> None:
        raise NotImplementedError


@dataclass
class Street:
    """The bookings of some runs, each with a page of its own."""

    saga: Saga
    process: DirectProcess
    store: Store
    sessions: dict[Run, str] = field(default_factory=dict)
    bookings: dict[Run, BookingInput] = field(default_factory=dict)
    delivered: int = 0

    async def run(self, runs: Sequence[Run], hall: Hall) -> dict[Run, Any]:
        """How each run ends."""
        inputs = [
            hall.input(
                label, max_seats_per_user_show=EVERYTHING, max_live_holds_per_user=EVERYTHING
            )
            for label in hall.labels[: len(runs)]
        ]
        self.bookings = dict(zip(runs, inputs, strict=True))
        await every(runs, self._check_out)
        await self._end_holds([one for one in runs if one.when != "open"])
        live = [one for one in runs if one.as_it_happens]
        for one in runs:
            if not one.as_it_happens:
                self._happen(one, one.facts)
        for place in range(max(len(one.told) for one in runs)):
            for one in live:
                self._happen(one, one.facts[place : place + 1])
            await self._deliver([(one, one.told[place]) for one in runs if place < len(one.told)])
        await self._end_holds(runs)
        await every((one for one in runs if not one.told), self._poll)
        await self.sweep([UUID(one.booking_id) for one in self.bookings.values()])
        await self._tell_of_our_refunds(runs)
        return await self._ends(runs)

    async def _check_out(self, one: Run) -> None:
        assert await self.saga.reserve(self.bookings[one]) == "held"
        self.sessions[one] = await self.saga.checkout(self.bookings[one])

    async def _end_holds(self, runs: Sequence[Run]) -> None:
        """Let what is still held run out, or cancel it; what has ended before stays as it is."""
        ids = [UUID(self.bookings[one].booking_id) for one in runs]
        async with self.saga.engine.begin() as connection:
            await connection.execute(RUN_OUT, {"ids": ids})

        async def end(one: Run) -> None:
            why = CloseReason.CANCELLED if one.when == "cancelled" else CloseReason.LAPSED
            await self.process.close(self.bookings[one].booking_id, why)

        await every(runs, end)

    def _happen(self, one: Run, facts: Sequence[str]) -> None:
        with self.store.write() as conn:
            for fact in facts:
                act(conn, self.sessions[one], fact, one.outcome)

    async def _deliver(self, deliveries: Sequence[tuple[Run, str]]) -> None:
        """One webhook for each of these bookings, through the inbox, to the end."""
        for one, kind in deliveries:
            self.delivered += 1
            body = {"type": kind, "timestamp": "t", "data": {"session_id": self.sessions[one]}}
            await InboxWriter(self.saga.database).store(
                NewEvent(
                    "sandbox",
                    f"evt_{self.bookings[one].booking_id}_{self.delivered}",
                    kind,
                    orjson.dumps(body),
                    None,
                )
            )
        loop = InboxLoop(self.saga.work, self.saga.news)
        while await loop.one_pass():
            pass

    async def _poll(self, one: Run) -> None:
        async with self.saga.begin.alone() as tx:
            attempt = await tx.payments.latest_attempt(UUID(self.bookings[one].booking_id))
        assert attempt is not None
        await self.saga.news.read_again(attempt)

    async def sweep(self, booking_ids: Sequence[UUID]) -> None:
        """What the reaper takes up again, of these bookings alone."""
        for receipt_id, *_ in await self.saga.rows(UNDECIDED, ids=list(booking_ids)):
            await self.saga.news.tell_again(receipt_id)
        # Each telling has tried a refund once: those that fail are tried to their end, as by time.
        for _ in range(REFUND_RETRIES + 1):
            unsent = await self.saga.rows(UNSENT, ids=list(booking_ids))
            for (receipt_id,) in unsent:
                await self.process.send_money_back(str(receipt_id), None)
            if not unsent:
                break

    async def _tell_of_our_refunds(self, runs: Sequence[Run]) -> None:
        """The provider announces these too, so that its row is read once more."""
        ids = [UUID(self.bookings[one].booking_id) for one in runs]
        found = {
            str(row[0])
            for row in await self.saga.rows(
                "SELECT booking_id FROM refunds WHERE booking_id = ANY(:ids)", ids=ids
            )
        }
        refunded = [one for one in runs if self.bookings[one].booking_id in found]
        await self._deliver([(one, "refund.succeeded") for one in refunded])

    async def _ends(self, runs: Sequence[Run]) -> dict[Run, Any]:
        ids = {UUID(self.bookings[one].booking_id): one for one in runs}
        found: dict[UUID, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for name, statement in END.items():
            for booking_id, *row in await self.saga.rows(statement, ids=list(ids)):
                found[booking_id][name].append(tuple(row))
        for booking_id, run in ids.items():
            assert [row[:-1] for row in found[booking_id]["payments"]] == self._ledger(run)
            if run.outcome == "won":
                # Who first hears of it when it is won has nothing to answer the bank any more.
                cases = found[booking_id]["cases"]
                found[booking_id]["cases"] = [one for one in cases if one[0] != "dispute"]
        return {
            run: tuple((name, tuple(found[booking_id][name])) for name in END)
            for booking_id, run in ids.items()
        }

    def _ledger(self, run: Run) -> list[Any]:
        """The provider's own word on the payments of this page, to the unit."""
        rows = self.store.read.execute(
            "SELECT status, amount, currency, captured, refunded FROM payments"
            " WHERE session_id = ?",
            (self.sessions[run],),
        )
        return sorted(tuple(row) for row in rows)


def act(conn: Any, session_id: str, fact: str, closed: str = "") -> None:
    """Make one fact true at the provider; its payments are found by their states."""
    now, session = now_us(), sessions.session_row(conn, session_id)
    if fact == "session.expired":
        sessions.expire(conn, session, now)
        return
    if fact.startswith("payment."):
        outcome = fact.partition(".")[2]
        wanted = {"outcome": outcome, "force": True}
        payments.pay(conn, session, ScriptedPay.model_validate(wanted), now)
        return
    paid = conn.execute(
        "SELECT * FROM payments WHERE session_id = ? AND captured > 0", (session_id,)
    ).fetchone()
    if fact.startswith("refund."):
        # By hand at the provider, and a part only, so that there is something left to dispute.
        wish = NewRefund(payment_id=paid["id"], amount=paid["captured"] // 2)
        refunds.refund(conn, wish, fact.partition(".")[2], None, now)
        return
    outcome = "opened" if fact == "dispute.opened" else closed
    refunds.dispute(conn, paid, ScriptedDispute.model_validate({"outcome": outcome}), now)


async def every(items: Iterable[Run], job: Callable[[Run], Awaitable[Any]]) -> None:
    """Do the job for each, some at once; the first error is raised when all are done."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(item: Run) -> None:
        async with gate:
            await job(item)

    for result in await asyncio.gather(*map(one, items), return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


UNDECIDED = (
    "SELECT id FROM provider_payments"
    " WHERE booking_id = ANY(:ids) AND decision IS NULL AND status = 'captured'"
)
UNSENT = (
    "SELECT provider_payment_id FROM refunds"
    " WHERE booking_id = ANY(:ids) AND number IS NULL AND status = 'pending'"
)
RUN_OUT = text("""
UPDATE bookings SET hold_expires_at = now() - interval '1 second'
WHERE id = ANY(:ids) AND state = 'held'
""")
# The rows of an end, without ids and times. The reason to close a booking that was paid is a part
# of the way to it: its hold ran out while it was looked at.
END = {
    "booking": "SELECT id, state, CASE WHEN state IN ('expired', 'cancelled') THEN close_reason"
    " END, payment_uncertain, seat_count, provider_payment_id IS NOT NULL"
    " FROM bookings WHERE id = ANY(:ids)",
    "seats": "SELECT booking_id, state FROM seat_claims WHERE booking_id = ANY(:ids) ORDER BY 2",
    "attempts": "SELECT booking_id, attempt, status, session_open, amount, currency FROM payments"
    " WHERE booking_id = ANY(:ids) ORDER BY 2",
    "payments": "SELECT booking_id, status, amount, currency, captured, refunded, decision"
    " FROM provider_payments WHERE booking_id = ANY(:ids) ORDER BY 2, 3, 4, 5, 6, 7",
    "refunds": "SELECT booking_id, reason, status, amount, currency, settled_at IS NOT NULL"
    " FROM refunds WHERE booking_id = ANY(:ids) ORDER BY 2, 3, 4",
    "ledger": "SELECT booking_id, account, kind, sum(debit), sum(credit) FROM ledger_entries"
    " WHERE booking_id = ANY(:ids) GROUP BY 1, 2, 3 ORDER BY 2, 3",
    "cases": "SELECT booking_id, kind, status FROM cases WHERE booking_id = ANY(:ids)"
    " ORDER BY 2, 3",
}
