"""Each cell of the decision table that can be reached, on PostgreSQL and the sandbox's ledger.

The cells of authorise mode are other money, promised and not taken: they have tests of their own.
"""

from __future__ import annotations

from itertools import product

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.booking import BookingState
from domain.payment import Verdict
from domain.payment_policy import Decision, PaymentFact, Step, decide
from tests.factories import PRICE, create_hall
from tests.sequences.cells import Cell
from tests.sequences.street import Street

STATES = {
    "HELD": BookingState.HELD,
    "PAYING": BookingState.HELD,
    "EXPIRING": BookingState.EXPIRING,
    "EXPIRED": BookingState.EXPIRED,
    "CANCELLING": BookingState.CANCELLING,
    "CANCELLED": BookingState.CANCELLED,
    "CONFIRMED": BookingState.CONFIRMED,
    "REFUNDED": BookingState.REFUNDED,
    "CHARGED_BACK": BookingState.CHARGED_BACK,
}
OWN_SEATS = ("HELD", "PAYING", "EXPIRING", "CANCELLING", "CONFIRMED")
UNPAID = ("EXPIRED", "CANCELLING", "CANCELLED")
PAID = ("CONFIRMED", "REFUNDED", "CHARGED_BACK")
CELLS = list(product(STATES, PaymentFact, ("seats free", "seats taken"), ("inside W", "outside W")))


def unreachable(state: str, fact: PaymentFact, seats: str, window: str) -> str | None:
    """Why no call at all leads to the cell; None for one that can be reached."""
    if state in OWN_SEATS and (seats, window) != ("seats free", "inside W"):
        return "it still has its seats: nobody else can, and no hold has ended yet"
    if fact is PaymentFact.DUPLICATE and state in UNPAID:
        return "nothing has confirmed it, so that no payment is one too many"
    if fact is PaymentFact.EXACT and state in ("REFUNDED", "CHARGED_BACK"):
        return "it was paid: whatever else is captured is one too many"
    if (state, fact, seats, window) == ("EXPIRED", PaymentFact.DISPUTE, "seats free", "inside W"):
        return "its money comes first and gets the seats again: then it is confirmed"
    if fact is PaymentFact.CANCEL_CONFIRMED and state in PAID:
        return "a page that was paid on is never closed unpaid"
    return None


REACHABLE = [cell for cell in CELLS if unreachable(*cell) is None]


def test_the_cells_that_cannot_be_reached_are_counted() -> None:
    assert len(CELLS) == 180
    assert len(REACHABLE) == 78


PARAMS = [pytest.param(cell, id=", ".join(cell)) for cell in REACHABLE]


@pytest.mark.parametrize("cell", PARAMS)
async def test_what_the_table_says_happens(
    street: Street, engine: AsyncEngine, cell: tuple[str, PaymentFact, str, str]
) -> None:
    state, fact, seats, window = cell
    hall = await create_hall(engine, starts_in_hours=48)
    one = Cell(street, hall, hall.input("A1"))
    await one.become(state)
    assert await street.saga.state(one.input) == STATES[state]
    if window == "outside W":
        await one.long_ago()
    if seats == "seats taken":
        await one.sell_its_seats()
    before = await one.cases()
    await happen(one, state, fact)
    await one.tell()
    await one.go_on(state)
    decision = decide(
        STATES[state],
        fact,
        seats_free=seats == "seats free",
        in_window=window == "inside W",
        refund_settled=fact is PaymentFact.DISPUTE and state in ("REFUNDED", "CHARGED_BACK"),
    )
    await require(one, state, decision, before)


async def happen(one: Cell, state: str, fact: PaymentFact) -> None:
    """Make the fact true at the provider."""
    if fact is PaymentFact.CANCEL_CONFIRMED:
        await one.close_page()
    elif fact is PaymentFact.WRONG_SUM:
        one.pay(PRICE - 1)
    elif fact is PaymentFact.EXACT:
        if state != "CONFIRMED":
            one.pay()
    elif fact is PaymentFact.DUPLICATE:
        if state not in PAID:
            # Both are seen at once; the first that confirms wins.
            one.pay()
        one.pay()
    elif state in ("REFUNDED", "CHARGED_BACK"):
        # Of a payment that went back before.
        one.pay()
        await one.tell()
        one.dispute(amount=PRICE)
    else:
        if state != "CONFIRMED":
            # Money of the right sum would confirm a booking before its dispute is looked at.
            one.pay(PRICE if state in UNPAID else PRICE - 1)
        one.dispute()


async def require(one: Cell, state: str, decision: Decision, before: list[str]) -> None:
    """The rows say what was decided."""
    ends = {"EXPIRING": BookingState.EXPIRED, "CANCELLING": BookingState.CANCELLED}
    stays = ends.get(state, STATES[state])
    now = await one.street.saga.state(one.input)
    money = one.at_provider() if one.paid else {}
    if decision.step in (Step.CONFIRM, Step.REINSTATE):
        assert (now, await one.verdict()) == ("confirmed", Verdict.CONFIRMS)
        assert await one.street.saga.claims(one.input) == {"A1": "sold"}
        assert money["refunded"] == 0
    elif decision.step is Step.SEND_BACK:
        if decision.verdict is Verdict.DUPLICATE and state not in PAID:
            stays = BookingState.CONFIRMED
        assert now == (decision.becomes or stays)
        assert await one.verdict() == decision.verdict
        assert money["refunded"] == money["captured"] > 0
        assert ("wrong_amount" in await one.cases()) is decision.alert
    elif decision.step is Step.DISPUTE:
        assert now == (decision.becomes or stays)
        assert await one.disputed() == PRICE
        assert money["refunded"] == 0
        assert "dispute" in await one.cases()
    elif decision.step in (Step.EVIDENCE, Step.REVIEW):
        assert now == stays
        assert len(await one.cases()) > len(before)
        assert money["refunded"] <= money["captured"]
    else:
        assert decision.step in (Step.NOTHING, Step.BACK_TO_HELD, Step.EXPIRE, Step.CANCEL)
        assert now == (decision.becomes or stays)
        assert await one.cases() == before
        assert money.get("refunded", 0) == 0
