"""Disputes whose webhooks were lost: the next reconciliation hears of them, and of their end."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from domain.steps import BookingInput
from tests.factories import Hall
from tests.helpers.saga import Saga
from tests.sandbox.process import Sandbox
from tests.workflows.test_case_openings import cases_of
from tests.workflows.test_disputes import WHOLE, books, disputed, shown
from tests.workflows.test_reconcile import now, of, reconcile
from tests.workflows.test_refunds import sold

ASKED_ABOUT = text("""
UPDATE disputes SET status = 'inquiry', opened_at = NULL
FROM provider_payments AS paid
WHERE paid.id = provider_payment_id AND paid.reference = :reference
""")
UNHEARD = text("""
SELECT disputes.id FROM disputes JOIN provider_payments AS paid ON paid.id = provider_payment_id
WHERE disputes.status = 'inquiry' AND paid.reference = :reference
""")
ENDS = {
    "opened": ("disputed", {"disputed": WHOLE, "revenue": -WHOLE}, ["dispute"]),
    "won": ("confirmed", {"provider": WHOLE, "revenue": -WHOLE}, []),
    "lost": ("charged_back", {}, ["dispute"]),
}


@pytest.mark.parametrize("outcome", list(ENDS))
async def test_one_that_nobody_heard_of_is_recorded_as_by_its_webhook(
    saga: Saga, hall: Hall, provider: Sandbox, outcome: str
) -> None:
    since, input = now(), hall.input()
    async with saga.worker():
        reference = await sold(saga, input, provider)
    provider.dispute(reference, outcome)
    told = of(await reconcile(saga, since), reference)
    assert told == [f"repaired: behind of payment {reference}"]
    state, stands, cases = ENDS[outcome]
    assert (await shown(saga, input))[0] == state
    assert await books(saga, input) == stands
    assert await cases_of(saga, input) == cases
    assert of(await reconcile(saga, since), reference) == []


async def disputed_long_ago(saga: Saga, hall: Hall, provider: Sandbox) -> tuple[BookingInput, str]:
    """A booking and its payment, which no list shows any more."""
    input = hall.input()
    async with saga.worker():
        reference = await sold(saga, input, provider)
    await disputed(saga, input, provider, reference, "opened")
    await reconcile(saga, now() - timedelta(minutes=1))
    return input, reference


@pytest.mark.parametrize("outcome", ["won", "lost"])
async def test_the_end_of_one_is_asked_for_though_no_list_shows_its_payment_any_more(
    saga: Saga, hall: Hall, provider: Sandbox, outcome: str
) -> None:
    input, reference = await disputed_long_ago(saga, hall, provider)
    provider.dispute(reference, outcome)
    told = of(await reconcile(saga, now() + timedelta(hours=1)), reference)
    assert told == [f"repaired: behind of payment {reference}"]
    assert (await shown(saga, input))[0] == ENDS[outcome][0]


async def test_nor_is_what_becomes_of_an_inquiry_left_to_its_webhook(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    _, reference = await disputed_long_ago(saga, hall, provider)
    async with saga.database.statements() as session:
        await session.change(ASKED_ABOUT, reference=reference)
    told = of(await reconcile(saga, now() + timedelta(hours=1)), reference)
    assert told == [f"repaired: behind of payment {reference}"]
    async with saga.database.statements() as session:
        assert await session.all(UNHEARD, reference=reference) == []
