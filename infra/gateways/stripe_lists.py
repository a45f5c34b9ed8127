"""What of Stripe's payments changed since a moment: three lists, read one after another.

Stripe lists each kind of thing by its creation and by nothing else, newest first. So a payment is
in the list of payments when it is new, and later by each dispute and each refund of it.
"""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import Any, Protocol

import stripe

from infra.gateways.stripe_answers import ChangeList, IntentAnswer, IntentList
from infra.gateways.wire import Shape, checked_id

# Less than half of the longest answer that we read: a payment with its charge has some 8 kB, and a
# dispute may have whole letters with it. Too long a page would be too long at each run again.
PAYMENTS_A_PAGE = 50
CHANGES_A_PAGE = 20
# A payment is created when the page is first tried, and may be paid for as long as the page lives.
LISTED_EARLIER = timedelta(hours=3)
# With each charge its fee.
EXPAND_CHARGE = "latest_charge.balance_transaction"
# The list of payments has no name: its cursors are ids alone.
FOLLOWED_BY = {"": "disputes", "disputes": "refunds"}


class Ask(Protocol):
    async def __call__(
        self, shape: type[Shape], call: Awaitable[stripe.StripeObject]
    ) -> tuple[Shape, bool]: ...


async def changed(
    client: stripe.StripeClient, ask: Ask, since: datetime, cursor: str | None
) -> tuple[list[IntentAnswer], str | None]:
    """A page of payments, and the cursor of the next one; one may be on several pages."""
    name, _, last = (cursor or "").rpartition(":")
    # The library has a type of its own for each list; of what is asked here all are the same.
    wish: Any = {"limit": CHANGES_A_PAGE if name else PAYMENTS_A_PAGE}
    if last:
        wish["starting_after"] = checked_id(last)
    answer: IntentList | ChangeList
    if not name:
        wish["created"] = {"gte": int((since - LISTED_EARLIER).timestamp())}
        wish["expand"] = [f"data.{EXPAND_CHARGE}"]
        answer, _ = await ask(IntentList, client.v1.payment_intents.list_async(wish))
    else:
        wish["created"] = {"gte": int(since.timestamp())}
        wish["expand"] = [f"data.payment_intent.{EXPAND_CHARGE}"]
        things = client.v1.disputes if name == "disputes" else client.v1.refunds
        answer, _ = await ask(ChangeList, things.list_async(wish))
    if answer.has_more and answer.data:
        last = answer.data[-1].id
        return answer.intents, f"{name}:{last}" if name else last
    follows = FOLLOWED_BY.get(name)
    return answer.intents, f"{follows}:" if follows else None
