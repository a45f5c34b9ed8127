"""The feed: nothing is skipped when a lower id is committed late; ids are told in order."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from domain.money import Money
from infra.postgres.partner_feed import PostgresPartnerFeed
from readmodel import partners as readmodel
from tests.factories import create_hall
from tests.helpers.till import Till
from tests.partner.town import HAPPENED, Partner

OLDER = text("SELECT id FROM events WHERE aggregate_id = :id")


async def told(partner: Partner, since: int) -> list[dict[str, Any]]:
    async with partner.database.statements() as session:
        items, _ = await readmodel.events(session, since, 100)
    return items


async def last_id(partner: Partner) -> int:
    [row] = await partner.rows("SELECT coalesce(max(id), 0) AS id FROM partner_events")
    return int(row.id)


async def test_an_event_with_a_lower_id_that_is_committed_late_is_not_skipped(
    partner: Partner,
) -> None:
    since, early, late = await last_id(partner), uuid4(), uuid4()
    async with partner.engine.connect() as slow:
        await slow.execute(HAPPENED, {"id": late, "event_type": "ShowCancelled"})
        async with partner.engine.begin() as quick:
            await quick.execute(HAPPENED, {"id": early, "event_type": "ShowCancelled"})
            first = (await slow.execute(OLDER, {"id": late})).scalar_one()
            second = (await quick.execute(OLDER, {"id": early})).scalar_one()
            assert first < second, "the one that is committed late has the lower id"
        await partner.feed.one_pass()
        shows = [one["data"]["show_id"] for one in await told(partner, since)]
        assert str(early) not in shows, "it is above the horizon of the one that still runs"
        assert await naive_reader(partner, after=0, ids=(first, second)) == [second]
        await slow.commit()
    await partner.catch_up()
    items = await told(partner, since)
    shows = [one["data"]["show_id"] for one in items]
    assert {str(early), str(late)} <= set(shows)
    assert [one["id"] for one in items] == sorted(one["id"] for one in items)
    # The negative control: who goes on after the highest id that he saw never sees the lower one.
    assert await naive_reader(partner, after=second, ids=(first, second)) == []


async def naive_reader(partner: Partner, *, after: int, ids: tuple[int, int]) -> list[int]:
    rows = await partner.rows(
        "SELECT id FROM events WHERE id > :after AND id = ANY(:ids) ORDER BY id",
        after=after,
        ids=list(ids),
    )
    return [row.id for row in rows]


async def test_read_twice_the_store_tells_nothing_twice(partner: Partner) -> None:
    endpoint, _ = await partner.listen("ok")
    show = await partner.happens()
    await partner.catch_up()
    async with partner.engine.begin() as connection:
        await connection.execute(text("UPDATE partner_feed SET xid = '0', event_id = 0"))
    await partner.catch_up()
    deliveries = await partner.deliveries(endpoint)
    assert len([one for one in deliveries if str(show) in one.body]) == 1


async def test_of_many_readers_at_once_each_event_is_told_once(partner: Partner) -> None:
    endpoint, _ = await partner.listen("ok")
    shows = [await partner.happens() for _ in range(20)]
    feed = PostgresPartnerFeed(partner.database)
    await asyncio.gather(*(feed.project() for _ in range(10)))
    await partner.catch_up()
    rows = await partner.deliveries(endpoint)
    assert [json.loads(row.body)["data"]["show_id"] for row in rows] == [str(one) for one in shows]


async def test_a_booking_is_told_with_its_show_and_nobodys_data(partner: Partner) -> None:
    await partner.listen("ok", "booking.confirmed")
    hall = await create_hall(partner.engine)
    till = Till(partner.database, hall)
    input = await till.hold("A1")
    recorded = await till.learn(input, f"pay_{uuid4().hex}", Money(1200, "EUR"))
    assert recorded is not None
    await till.confirm(input, recorded)
    await partner.catch_up()
    await partner.deliver()
    [one] = partner.receiver.at("ok")
    assert json.loads(one.body)["data"] == {
        "booking_id": input.booking_id,
        "show_id": str(hall.show_id),
    }
    assert str(hall.user_id) not in one.body.decode()


async def test_what_is_older_than_the_log_is_swept_with_its_deliveries(partner: Partner) -> None:
    endpoint, _ = await partner.listen("ok")
    await partner.tell(2)
    old, young = await partner.deliveries(endpoint)
    await partner.change(
        "UPDATE partner_events SET projected_at = now() - interval '31 days' WHERE id = :id",
        id=old.partner_event_id,
    )
    await PostgresPartnerFeed(partner.database).sweep()
    assert [row.id for row in await partner.deliveries(endpoint)] == [young.id]


async def test_a_secret_that_signs_nothing_any_more_is_swept_and_a_live_one_stays(
    partner: Partner,
) -> None:
    endpoint, _ = await partner.listen("ok")
    await partner.desk.rotate(partner.owner, endpoint, overlap_seconds=60)
    feed = PostgresPartnerFeed(partner.database)
    await feed.sweep()
    assert (await partner.endpoint(endpoint)).previous_secret is not None
    await partner.change(
        "UPDATE partner_endpoints SET previous_until = now() - interval '2 minutes' WHERE id = :id",
        id=endpoint,
    )
    await feed.sweep()
    assert (await partner.endpoint(endpoint)).previous_secret is None
