"""From an event of the store to a partner's server, over real sockets: at least once."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from domain.errors import Conflict, NotFound
from infra.postgres.partner_delivery import PostgresDeliveryQueue
from infra.sealing import SealRing
from infra.settings import DEV_PARTNER_KEYS
from loops.partner_delivery import PartnerDeliveryLoop
from services.partner import Owner, Wish
from tests.helpers.eventually import eventually
from tests.partner.receiver import Received
from tests.partner.town import Partner

GONE_BY = timedelta(days=3, minutes=1)


def states(rows: Sequence[object]) -> list[str]:
    return [row.state for row in rows]  # type: ignore[attr-defined]


def verify(secret: str, one: Received) -> object:
    return Webhook(secret).verify(one.body, one.headers)


async def test_what_happened_is_told_signed_and_once(partner: Partner) -> None:
    endpoint, secret = await partner.listen("ok")
    [show] = await partner.tell()
    await partner.deliver()
    [one] = partner.receiver.at("ok")
    told = verify(secret, one)
    assert told == json.loads(one.body)
    assert json.loads(one.body)["type"] == "show.cancelled"
    assert json.loads(one.body)["data"] == {"show_id": str(show)}
    assert one.headers["content-type"] == "application/json"
    assert one.headers["host"] == f"127.0.0.1:{partner.receiver.port}"
    [row] = await partner.deliveries(endpoint)
    assert (row.state, row.total_attempts, one.id) == (
        "delivered",
        1,
        f"evt_{row.partner_event_id:016d}",
    )


async def test_an_endpoint_hears_what_it_chose_and_nobody_else_does(partner: Partner) -> None:
    await partner.listen("shows", "show.cancelled")
    await partner.listen("bookings", "booking.confirmed", "booking.expired")
    show, booking = await partner.happens(), await partner.happens("BookingConfirmed")
    other = await partner.happens("SeatLocked")
    await partner.catch_up()
    await partner.deliver()
    assert [str(show) in one.body.decode() for one in partner.receiver.at("shows")] == [True]
    assert [str(booking) in one.body.decode() for one in partner.receiver.at("bookings")] == [True]
    assert not any(str(other) in one.body.decode() for one in partner.receiver.received)


@pytest.mark.parametrize("behaviour", ["500", "429", "hang", "slow", "garbage", "close", "404"])
async def test_what_is_not_taken_is_tried_again_with_the_same_id_and_body(
    partner: Partner, behaviour: str
) -> None:
    endpoint, secret = await partner.listen("bad", behaviour=behaviour)
    await partner.tell()
    [row] = await partner.deliveries(endpoint)
    assert (row.state, row.total_attempts, row.sending) == ("pending", 1, False)
    assert (await partner.endpoint(endpoint)).failing_since is not None

    await partner.deliver()
    assert len(partner.receiver.at("bad")) == 1, "it waits for its time"

    partner.receiver.behaviour["bad"] = "204"
    await partner.due_now(endpoint)
    await partner.deliver()
    first, second = partner.receiver.at("bad")
    assert (first.id, first.body) == (second.id, second.body)
    verify(secret, second)
    [row] = await partner.deliveries(endpoint)
    assert (row.state, row.total_attempts) == ("delivered", 2)
    assert (await partner.endpoint(endpoint)).failing_since is None
    tries = await partner.rows(
        "SELECT number, status, error FROM partner_attempts WHERE delivery_id = :id"
        " ORDER BY number",
        id=row.id,
    )
    assert [one.number for one in tries] == [1, 2]
    assert tries[0].error or tries[0].status == int(behaviour)
    assert tries[1].status == 204


async def test_a_redirect_is_not_followed(partner: Partner) -> None:
    await partner.listen("elsewhere")
    to = partner.receiver.url("elsewhere")
    endpoint, _ = await partner.listen("moved", "booking.expired", behaviour=f"redirect {to}")
    await partner.happens("BookingExpired")
    await partner.catch_up()
    await partner.deliver()
    assert len(partner.receiver.at("moved")) == 1
    assert partner.receiver.at("elsewhere") == []
    [row] = await partner.deliveries(endpoint)
    assert (row.state, row.reason) == ("pending", "answered 302")


async def test_of_a_huge_answer_little_is_read(partner: Partner) -> None:
    endpoint, _ = await partner.listen("huge", behaviour="huge")
    await partner.tell()
    assert states(await partner.deliveries(endpoint)) == ["delivered"]
    assert partner.receiver.sent_bytes < 8 * 1024 * 1024


async def test_410_ends_it_and_a_person_is_told(partner: Partner) -> None:
    endpoint, _ = await partner.listen("gone", behaviour="410")
    for _ in range(3):
        await partner.happens()
    await partner.catch_up()
    await partner.deliver()
    row = await partner.endpoint(endpoint)
    assert (row.state, row.disabled_reason) == ("disabled", "gone")
    found = sorted(states(await partner.deliveries(endpoint)))
    assert set(found) == {"failed", "skipped"} or set(found) == {"failed"}
    [case] = await partner.rows(
        "SELECT kind, summary FROM cases WHERE dedupe LIKE :like", like=f"%{endpoint}%"
    )
    assert case.kind == "partner_endpoint"
    assert str(endpoint) in case.summary

    heard = len(partner.receiver.at("gone"))
    partner.receiver.behaviour["gone"] = "200"
    await partner.tell()
    assert len(partner.receiver.at("gone")) == heard, "a disabled endpoint hears nothing"
    assert (await partner.deliveries(endpoint))[-1].state == "skipped"
    assert (await partner.deliveries(endpoint))[-1].reason == "endpoint_disabled"


async def test_three_days_of_failure_disable_it_and_an_hour_less_does_not(partner: Partner) -> None:
    endpoint, _ = await partner.listen("dead", behaviour="500")
    await partner.tell()
    since = "UPDATE partner_endpoints SET failing_since = now() - :age WHERE id = :id"
    await partner.change(since, id=endpoint, age=GONE_BY - timedelta(hours=1))
    await partner.due_now(endpoint)
    await partner.deliver()
    assert (await partner.endpoint(endpoint)).state == "active"

    await partner.change(since, id=endpoint, age=GONE_BY)
    await partner.due_now(endpoint)
    await partner.deliver()
    row = await partner.endpoint(endpoint)
    assert (row.state, row.disabled_reason) == ("disabled", "failing")
    [row] = await partner.deliveries(endpoint)
    assert (row.state, row.reason) == ("skipped", "endpoint_disabled")


async def test_a_delivery_that_failed_for_three_days_fails_alone(partner: Partner) -> None:
    endpoint, _ = await partner.listen("poison", behaviour="500")
    await partner.tell()
    await partner.change(
        "UPDATE partner_deliveries SET due_since = now() - :age WHERE endpoint_id = :id",
        id=endpoint,
        age=GONE_BY,
    )
    await partner.due_now(endpoint)
    await partner.deliver()
    assert states(await partner.deliveries(endpoint)) == ["failed"]
    assert (await partner.endpoint(endpoint)).state == "active"


async def test_after_a_rotation_both_secrets_sign_until_the_overlap_ends(partner: Partner) -> None:
    endpoint, old = await partner.listen("ok")
    new = await partner.desk.rotate(partner.owner, endpoint, overlap_seconds=3600)
    await partner.tell()
    [one] = partner.receiver.at("ok")
    assert verify(old, one) == verify(new, one)

    await partner.change(
        "UPDATE partner_endpoints SET previous_until = now() WHERE id = :id", id=endpoint
    )
    await partner.tell()
    last = partner.receiver.at("ok")[-1]
    verify(new, last)
    with pytest.raises(WebhookVerificationError):
        verify(old, last)


async def test_the_secret_lies_sealed(partner: Partner) -> None:
    endpoint, secret = await partner.listen("ok")
    row = await partner.endpoint(endpoint)
    raw = SealRing(DEV_PARTNER_KEYS).open(bytes(row.secret), f"partner_endpoint:{endpoint}")
    assert secret == "whsec_" + base64.b64encode(raw).decode()
    assert raw not in bytes(row.secret)


async def test_a_secret_that_cannot_be_opened_is_no_reason_to_send_unsigned(
    partner: Partner,
) -> None:
    endpoint, _ = await partner.listen("ok")
    await partner.change("UPDATE partner_endpoints SET secret = 'x' WHERE id = :id", id=endpoint)
    await partner.tell()
    assert partner.receiver.at("ok") == []
    [row] = await partner.deliveries(endpoint)
    assert row.reason == "our key ring does not open the endpoint's secret"


async def test_one_delivery_is_replayed_with_its_id_and_body(partner: Partner) -> None:
    endpoint, _ = await partner.listen("ok")
    await partner.tell()
    [row] = await partner.deliveries(endpoint)
    await partner.desk.replay(partner.owner, row.id)
    await partner.deliver()
    first, second = partner.receiver.at("ok")
    assert (first.id, first.body) == (second.id, second.body)


async def test_a_replay_since_an_instant_covers_what_came_before_the_endpoint(
    partner: Partner,
) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    shows = await partner.tell(3)
    endpoint, _ = await partner.listen("late")
    assert await partner.deliveries(endpoint) == []
    done = await partner.desk.replay_since(partner.owner, endpoint, before)
    await partner.deliver()
    heard = [json.loads(one.body)["data"]["show_id"] for one in partner.receiver.at("late")]
    assert {str(show) for show in shows} <= set(heard)
    assert len(heard) == done.count
    assert done.more_from is None


async def test_a_disabled_endpoint_is_not_replayed_and_enabled_it_can_be(partner: Partner) -> None:
    endpoint, _ = await partner.listen("ok")
    await partner.desk.change(partner.owner, endpoint, None, Wish(enabled=False))
    await partner.tell()
    [row] = await partner.deliveries(endpoint)
    assert row.state == "skipped"
    with pytest.raises(Conflict) as refused:
        await partner.desk.replay(partner.owner, row.id)
    assert refused.value.code == "endpoint_disabled"
    await partner.desk.change(partner.owner, endpoint, None, Wish(enabled=True))
    await partner.desk.replay(partner.owner, row.id)
    await partner.deliver()
    assert len(partner.receiver.at("ok")) == 1


async def test_a_test_event_goes_to_its_endpoint_alone(partner: Partner) -> None:
    endpoint, secret = await partner.listen("mine")
    await partner.listen("other")
    await partner.desk.send_test(partner.owner, endpoint)
    await partner.deliver()
    [one] = partner.receiver.at("mine")
    verify(secret, one)
    assert json.loads(one.body)["type"] == "endpoint.test"
    assert partner.receiver.at("other") == []


async def test_a_foreign_endpoint_is_none(partner: Partner) -> None:
    endpoint, _ = await partner.listen("ok")
    await partner.tell()
    [row] = await partner.deliveries(endpoint)
    stranger = Owner(uuid4(), None)
    for attempt in (
        partner.desk.change(stranger, endpoint, None, Wish(enabled=False)),
        partner.desk.rotate(stranger, endpoint, overlap_seconds=0),
        partner.desk.remove(stranger, endpoint),
        partner.desk.send_test(stranger, endpoint),
        partner.desk.replay_since(stranger, endpoint, datetime.now(UTC)),
        partner.desk.replay(stranger, row.id),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert (await partner.endpoint(endpoint)).version == 1


async def test_an_account_has_ten_endpoints_even_when_asked_at_once(partner: Partner) -> None:
    made = await asyncio.gather(
        *(partner.listen(f"many{number}") for number in range(13)), return_exceptions=True
    )
    refused = [one for one in made if isinstance(one, Conflict)]
    assert [one.code for one in refused] == ["limit_reached"] * 3


async def test_deleted_it_takes_its_deliveries_along(partner: Partner) -> None:
    endpoint, _ = await partner.listen("bad", behaviour="500")
    await partner.tell()
    await partner.desk.remove(partner.owner, endpoint)
    assert await partner.deliveries(endpoint) == []
    await partner.deliver()
    assert len(partner.receiver.at("bad")) == 1


async def test_two_loops_at_once_send_each_message_once(partner: Partner) -> None:
    endpoint, _ = await partner.listen("ok")
    for _ in range(30):
        await partner.happens()
    await partner.catch_up()
    queue = PostgresDeliveryQueue(partner.database)
    loops = [PartnerDeliveryLoop(queue, partner.sender) for _ in range(3)]

    async def work(loop: PartnerDeliveryLoop) -> None:
        while await loop.one_pass():
            await loop.drain()

    await asyncio.gather(*(work(loop) for loop in loops))
    heard = [one.id for one in partner.receiver.at("ok")]
    assert len(heard) == len(set(heard)) == 30
    assert set(states(await partner.deliveries(endpoint))) == {"delivered"}


async def test_endpoints_that_hang_keep_no_other_waiting(partner: Partner) -> None:
    for number in range(8):
        await partner.listen(f"stuck{number}", behaviour="hang")
    await partner.listen("quick")
    shows = [await partner.happens() for _ in range(20)]
    await partner.catch_up()

    async def all_heard() -> bool:
        await partner.loop.one_pass()
        return len(partner.receiver.at("quick")) == len(shows)

    await eventually(all_heard, seconds=20)
    # Each try of a stuck one takes a second: had they stood in line, there would be 160 of those.
    stuck = sum(len(partner.receiver.at(f"stuck{number}")) for number in range(8))
    assert stuck < 8 * 20


async def test_in_one_line_a_hanging_endpoint_would_keep_all_waiting(partner: Partner) -> None:
    """The negative control: with one slot, nothing is heard while the first one hangs."""
    await partner.listen("stuck", behaviour="hang")
    await partner.happens()
    await partner.catch_up()
    await partner.listen("quick")
    await partner.happens()
    await partner.catch_up()
    queue = PostgresDeliveryQueue(partner.database)
    line = PartnerDeliveryLoop(queue, partner.sender, slots=1)
    await line.one_pass()

    async def is_stuck() -> bool:
        return len(partner.receiver.at("stuck")) == 1

    await eventually(is_stuck)
    assert partner.receiver.at("quick") == []
    await line.drain()
