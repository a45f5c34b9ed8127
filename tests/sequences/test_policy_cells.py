"""Each cell of the decision table for money that is taken at once, on PostgreSQL and the sandbox's
ledger. Those of promised money, and all of them through running processes, are in ``tests/cells``.
"""

from __future__ import annotations

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.payment import Verdict
from domain.payment_policy import PaymentFact, PaymentMode, Step
from tests.factories import PRICE, create_hall
from tests.helpers.policy_cells import (
    CELLS,
    NO_TICKET,
    STATES,
    UNDECIDED,
    UNPAID,
    PolicyCell,
    reachable,
)
from tests.sequences.cells import Cell
from tests.sequences.street import Street

REACHABLE = {mode: reachable(mode) for mode in PaymentMode}


def test_the_cells_that_cannot_be_reached_are_counted() -> None:
    assert len(CELLS) == 360
    counted = {mode: len(cells) for mode, cells in REACHABLE.items()}
    assert counted == {PaymentMode.CAPTURE: 84, PaymentMode.AUTHORISE: 59}


@pytest.mark.parametrize("cell", REACHABLE[PaymentMode.CAPTURE], ids=str)
async def test_what_the_table_says_happens(
    street: Street, engine: AsyncEngine, cell: PolicyCell
) -> None:
    hall = await create_hall(engine, starts_in_hours=48, offers_seats=cell.way == "OFFERED")
    one = Cell(street, hall, hall.input("A1"))
    await one.become(cell.way)
    assert await street.saga.state(one.input) == STATES[cell.state]
    if cell.window == "outside W":
        await one.long_ago()
    if cell.way == "OFFERED":
        if cell.seats == "seats free":
            await one.free_its_seats()
    elif cell.seats == "seats taken":
        await one.sell_its_seats()
    before = await one.cases()
    await happen(one, cell.state, cell.fact)
    await one.tell()
    await one.go_on(cell.state)
    await require(one, cell, before)


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
        if state in UNDECIDED:
            # Both are seen at once; the first that confirms wins.
            one.pay()
        one.pay()
    elif state in NO_TICKET:
        # Of a payment that went back before.
        one.pay()
        await one.tell()
        one.dispute(amount=PRICE)
    else:
        if state != "CONFIRMED":
            # Money of the right sum would confirm a booking before its dispute is looked at.
            one.pay(PRICE if state in UNPAID else PRICE - 1)
        one.dispute()


async def require(one: Cell, cell: PolicyCell, before: list[str]) -> None:
    """The rows say what was decided."""
    decision = cell.decision
    assert await one.street.saga.state(one.input) == cell.end
    assert await one.offers() == ["open"] * (cell.way == "OFFERED")
    money = one.at_provider() if one.paid else {}
    if decision.step in (Step.CONFIRM, Step.REINSTATE):
        assert await one.verdict() == Verdict.CONFIRMS
        assert await one.street.saga.claims(one.input) == {"A1": "sold"}
        assert money["refunded"] == 0
    elif decision.step is Step.SEND_BACK:
        assert await one.verdict() == decision.verdict
        assert money["refunded"] == money["captured"] > 0
        assert ("wrong_amount" in await one.cases()) is decision.alert
    elif decision.step is Step.DISPUTE:
        assert await one.disputed() == PRICE
        assert money["refunded"] == 0
        assert "dispute" in await one.cases()
    elif decision.step in (Step.EVIDENCE, Step.REVIEW):
        assert len(await one.cases()) > len(before)
        assert money["refunded"] <= money["captured"]
    else:
        assert decision.step in (Step.NOTHING, Step.BACK_TO_HELD, Step.EXPIRE, Step.CANCEL)
        assert await one.cases() == before
        assert money.get("refunded", 0) == 0
