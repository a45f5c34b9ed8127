"""A page of one of Stripe's lists must not be longer than the longest answer that is read."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qsl

import httpx2
import orjson

from infra.gateways.stripe import StripeGateway
from infra.gateways.wire import MAX_ANSWER_BYTES
from tests.helpers.stripe_town import KEY, StripeTown


async def test_a_full_page_is_less_than_half_of_what_is_read(town: StripeTown) -> None:
    gateway = StripeGateway(KEY, base_url=town.mock_url, transport=town)
    since, cursor = datetime.now(UTC), None
    before = len(town.requests)
    while True:
        page = await gateway.list_payments(since, cursor)
        if (cursor := page.next) is None:
            break
    asked = town.requests[before:]
    assert [one.url.path for one in asked] == [
        f"/v1/{name}" for name in ("payment_intents", "disputes", "refunds", "events")
    ]
    async with httpx2.AsyncClient() as http:
        for request in asked:
            told = await http.get(str(request.url), headers=request.headers)
            [one] = told.json()["data"]
            limit = int(dict(parse_qsl(request.url.query.decode()))["limit"])
            # As Stripe writes it: with each line indented.
            full = orjson.dumps({"data": [one] * limit}, option=orjson.OPT_INDENT_2)
            assert 2 * len(full) < MAX_ANSWER_BYTES, request.url.path
