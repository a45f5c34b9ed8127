"""The same facts, told in any order, any number of times or not at all, come to the same end."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.postgres.payment import PostgresPayments
from services.payment_news import PaymentNews
from tests.factories import create_hall
from tests.sequences.facts import NEEDS, TYPES, Run, facts_of, runs, sequences
from tests.sequences.street import Street

# ``make campaign-webhooks`` sets 5.
LONGEST = int(os.environ.get("SEATHOLD_TEST_SEQUENCE_LENGTH", "3"))
SHARES = 8 if LONGEST <= 3 else 64
BOOKINGS_AT_ONCE = 150
SET_STATUS = text("UPDATE payments SET status = :status WHERE session_id = :session_id")
Record = Callable[[str, object], None]


def test_each_sequence_stands_for_facts_that_can_happen() -> None:
    assert len(set(sequences(3))) == 584
    assert sum(8**length for length in range(1, 6)) == 37_448
    assert {run.told for run in runs(4) if run.is_whole} == set(sequences(4))
    for sequence in sequences(3):
        facts = facts_of(sequence)
        assert set(sequence) <= set(facts)
        assert all(set(NEEDS.get(fact, ())) <= set(facts) for fact in facts)
        assert list(facts) == sorted(facts, key=TYPES.index)


@pytest.mark.timeout(600 if LONGEST <= 3 else 0)
@pytest.mark.parametrize("share", range(SHARES))
async def test_the_same_facts_come_to_the_same_end(
    street: Street, engine: AsyncEngine, share: int, record_property: Record
) -> None:
    places = {
        facts: place for place, facts in enumerate(dict.fromkeys(map(facts_of, sequences(LONGEST))))
    }
    wanted = dict.fromkeys(run for run in runs(LONGEST) if places[run.facts] % SHARES == share)
    ends = await ends_of(street, engine, wanted)
    differ = differences(ends)
    record_property("bookings", len(ends))
    record_property("deliveries", street.delivered)
    record_property("sequences", len({run.told for run in ends if run.is_whole}))
    assert not differ, told(differ)


async def test_a_rule_by_which_the_last_delivery_wins_is_found_out(
    street: Street, engine: AsyncEngine
) -> None:
    """The control: were the end compared badly, nothing would be found here either."""
    street.saga.news = LastWins(street)  # type: ignore[assignment]
    payments = set(TYPES[1:4])
    wanted = dict.fromkeys(
        run for run in runs(2) if run.is_whole and run.when == "open" and set(run.facts) <= payments
    )
    differ = differences(await ends_of(street, engine, wanted))
    assert (("payment.failed", "payment.captured"), "open", "") in differ


async def test_unless_a_closed_page_is_opened_again_the_order_of_facts_shows(
    street: Street, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: who hears of the closed page first waits for no payment on it."""
    monkeypatch.setattr(PostgresPayments, "reopen_session", lambda *_: None)
    both = ("session.expired", "payment.processing")
    wanted = dict.fromkeys(run for run in runs(2) if (run.facts, run.when) == (both, "open"))
    assert (both, "open", "") in differences(await ends_of(street, engine, wanted))


async def ends_of(street: Street, engine: AsyncEngine, wanted: Iterable[Run]) -> dict[Run, Any]:
    ends: dict[Run, Any] = {}
    rest = iter(wanted)
    while some := list(islice(rest, BOOKINGS_AT_ONCE)):
        hall = await create_hall(engine, seats=len(some))
        ends.update(await street.run(some, hall))
    return ends


def differences(ends: Mapping[Run, Any]) -> dict[Any, dict[Any, list[Run]]]:
    """Facts whose runs came to more than one end: each end with the runs that came to it."""
    by_facts: dict[Any, dict[Any, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run, end in ends.items():
        by_facts[run.same][end].append(run)
    return {same: found for same, found in by_facts.items() if len(found) > 1}


def told(differ: dict[Any, dict[Any, list[Run]]]) -> str:
    lines = []
    for same, found in differ.items():
        lines.append(f"{same}:")
        for end, of in found.items():
            lines += [f"  {len(of)} runs such as {of[0]}", *(f"    {rows}" for rows in end)]
    return "\n".join(lines)


class LastWins:
    """The news with the mistake of believing each webhook as it comes."""

    def __init__(self, street: Street) -> None:
        self._news: PaymentNews = street.saga.news
        self._database = street.saga.database
        self._last: dict[str, str] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._news, name)

    async def session_id_of(self, provider: str, event: Mapping[str, Any]) -> str | None:
        session_id = await self._news.session_id_of(provider, event)
        assert session_id is not None
        self._last[session_id] = str(event["type"]).partition(".")[2]
        return session_id

    async def by_session(self, provider: str, session_id: str, *, request_id: str | None) -> Any:
        seen = await self._news.by_session(provider, session_id, request_id=request_id)
        async with self._database.statements() as session:
            await session.change(SET_STATUS, status=self._last[session_id], session_id=session_id)
        return seen
