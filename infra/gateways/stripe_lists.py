"""What of Stripe's payments changed since a moment: four lists, read one after another.

Stripe lists each kind of thing by its creation and by nothing else, newest first. So a payment is
in the list of payments when it is new, and later by each dispute and each refund of it. A bank may
send a refund back weeks after it was made: only an event tells of that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Protocol

import stripe
import structlog

from domain.errors import NotFound
from infra.gateways.stripe_answers import ChangeList, EventList, IntentAnswer, IntentList
from infra.gateways.stripe_http import MissingPermission
from infra.gateways.wire import Shape, checked_id, unusable

# Less than half of the longest answer that we read: a payment with its charge has some 8 kB, and a
# dispute may have whole letters with it. Too long a page would be too long at each run again.
PAYMENTS_A_PAGE = 50
CHANGES_A_PAGE = 20
# A payment is created when the page is first tried, and may be paid for as long as the page lives.
LISTED_EARLIER = timedelta(hours=3)
# With each charge its fee.
EXPAND_CHARGE = "latest_charge.balance_transaction"
# The list of payments has no name: its cursors are ids alone.
FOLLOWED_BY = {"": "disputes", "disputes": "refunds", "refunds": "failures"}

log = structlog.get_logger(__name__)


class Ask(Protocol):
    async def __call__(
        self, shape: type[Shape], call: Awaitable[stripe.StripeObject]
    ) -> tuple[Shape, bool]: ...


async def changed(
    client: stripe.StripeClient, ask: Ask, since: datetime, cursor: str | None
) -> tuple[list[IntentAnswer], str | None]:
    """A page of payments, and the cursor of the next one; one may be on several pages."""
    name, _, last = (cursor or "").rpartition(":")
    begin = since if name else since - LISTED_EARLIER
    # The library has a type of its own for each list; of what is asked here all are the same.
    wish: Any = {
        "limit": CHANGES_A_PAGE if name else PAYMENTS_A_PAGE,
        "created": {"gte": int(begin.timestamp())},
    }
    if last:
        wish["starting_after"] = checked_id(last)
    match name:
        case "":
            wish["expand"] = [f"data.{EXPAND_CHARGE}"]
            payments, _ = await ask(IntentList, client.v1.payment_intents.list_async(wish))
            intents, last = payments.data, _last(payments)
        case "failures":
            wish["type"] = "refund.failed"
            try:
                events, _ = await ask(EventList, client.v1.events.list_async(wish))
            except MissingPermission:
                log.warning("failed_refunds_not_listed", permission="Events: read")
                return [], None
            intents, last = await _intents(client, ask, events.payments), _last(events)
        case _:
            wish["expand"] = [f"data.payment_intent.{EXPAND_CHARGE}"]
            things = client.v1.disputes if name == "disputes" else client.v1.refunds
            changes, _ = await ask(ChangeList, things.list_async(wish))
            intents, last = changes.intents, _last(changes)
    if last:
        return intents, f"{name}:{last}" if name else last
    follows = FOLLOWED_BY.get(name)
    return intents, f"{follows}:" if follows else None


def _last(answer: IntentList | ChangeList | EventList) -> str:
    """Where the next page of the list begins; empty: there is none."""
    return answer.data[-1].id if answer.has_more and answer.data else ""


async def _intents(client: stripe.StripeClient, ask: Ask, ids: Sequence[str]) -> list[IntentAnswer]:
    found = []
    for id_ in ids:
        # Events outlive test data that was deleted.
        with suppress(NotFound):
            found.append(await read_intent(client, ask, id_))
    return found


async def read_intent(client: stripe.StripeClient, ask: Ask, reference: str) -> IntentAnswer:
    """One payment with its charge, as the lists have it.

    Raises:
        NotFound: Stripe does not know it.
        Unavailable: it did not answer, or with another payment.
    """
    call = client.v1.payment_intents.retrieve_async(
        checked_id(reference), {"expand": [EXPAND_CHARGE]}
    )
    intent, _ = await ask(IntentAnswer, call)
    if intent.id != reference:
        raise unusable("the payment is not the one that was asked for")
    return intent
