"""What goes wrong around a delivery: a guarded address, a killed worker, an answer too late."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from ipaddress import ip_network

import pytest

from domain.errors import Invalid
from domain.outbound import OutboundPolicy
from infra.outbound import Outbound
from infra.partner_sender import SignedSender
from infra.postgres.database import Database
from infra.postgres.partner_delivery import PostgresDeliveryQueue
from infra.sealing import SealRing
from infra.settings import DEV_PARTNER_KEYS, Settings
from loops.edge import repeat
from loops.partner_delivery import PartnerDeliveryLoop
from services.partner import Wish
from services.partner_delivery import Tried, after
from tests.helpers.eventually import eventually
from tests.partner.test_partner_delivery import verify
from tests.partner.town import Partner

KILLED_LEASE_SECONDS = 600.0


async def test_guarded_nothing_local_is_reached_and_unguarded_it_is(partner: Partner) -> None:
    """The guard at the last moment: a row that names this machine, however it came there."""
    endpoint, _ = await partner.listen("inside")
    await partner.happens()
    await partner.catch_up()
    guarded = SignedSender(
        SealRing(DEV_PARTNER_KEYS), Outbound(OutboundPolicy(https_only=False, ports=None))
    )
    queue = PostgresDeliveryQueue(partner.database)
    loop = PartnerDeliveryLoop(queue, guarded)
    before = partner.receiver.connections
    await loop.one_pass()
    await loop.drain()
    await guarded.aclose()
    assert partner.receiver.connections == before
    [row] = await partner.deliveries(endpoint)
    assert row.reason.startswith("invalid_url")

    await partner.due_now(endpoint)
    await partner.deliver()
    assert len(partner.receiver.at("inside")) == 1


async def test_a_forbidden_url_is_refused_when_it_is_given(partner: Partner) -> None:
    with pytest.raises(Invalid) as refused:
        await partner.desk.create(
            partner.owner,
            url="http://169.254.169.254/latest",
            description="",
            event_types=["show.cancelled"],
        )
    assert refused.value.code == "invalid_url"
    endpoint, _ = await partner.listen("ok")
    with pytest.raises(Invalid):
        await partner.desk.change(partner.owner, endpoint, None, Wish(url="http://10.0.0.1/"))


def deliver_until_killed(settings: Settings) -> None:
    """A worker's delivery loop in a process of its own."""

    async def main() -> None:
        database = Database(settings)
        policy = OutboundPolicy(https_only=False, ports=None, exempt=(ip_network("127.0.0.0/8"),))
        sender = SignedSender(SealRing(DEV_PARTNER_KEYS), Outbound(policy))
        queue = PostgresDeliveryQueue(database)
        loop = PartnerDeliveryLoop(queue, sender, lease_seconds=KILLED_LEASE_SECONDS)
        await repeat("partner", loop, full=1, rest_seconds=0.05, stop=asyncio.Event())

    asyncio.run(main())


async def test_a_worker_killed_in_the_middle_leaves_the_message_to_the_next(
    partner: Partner, settings: Settings
) -> None:
    endpoint, secret = await partner.listen("hung", behaviour="hang")
    await partner.happens()
    await partner.catch_up()
    process = multiprocessing.get_context("spawn").Process(
        target=deliver_until_killed, args=(settings,), daemon=True
    )
    process.start()

    async def is_at_it() -> bool:
        return len(partner.receiver.at("hung")) == 1

    await eventually(is_at_it, seconds=30)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    await asyncio.to_thread(process.join, 10)
    [row] = await partner.deliveries(endpoint)
    assert (row.state, row.sending, row.total_attempts) == ("pending", True, 1)
    assert await partner.loop.one_pass() == 0, "the lease still runs"
    # Nor does a replay make two of it.
    await partner.desk.replay(partner.owner, row.id)
    assert await partner.loop.one_pass() == 0

    partner.receiver.behaviour["hung"] = "200"
    await partner.due_now(endpoint)
    await partner.deliver()
    first, second = partner.receiver.at("hung")
    assert (first.id, first.body) == (second.id, second.body)
    verify(secret, second)
    [row] = await partner.deliveries(endpoint)
    assert (row.state, row.total_attempts) == ("delivered", 2)


async def test_an_answer_that_comes_after_the_lease_changes_nothing(partner: Partner) -> None:
    endpoint, _ = await partner.listen("late", behaviour="500")
    await partner.happens()
    await partner.catch_up()
    queue = PostgresDeliveryQueue(partner.database)
    wanted = {"busy": {}, "per_endpoint": 4, "lease_seconds": 60.0}
    [slow] = await queue.take(64, **wanted)  # type: ignore[arg-type]
    await partner.due_now(endpoint)
    [quick] = await queue.take(64, **wanted)  # type: ignore[arg-type]
    assert quick.number == slow.number + 1
    good, bad = Tried(200), Tried(500)
    assert await queue.record(quick, good, after(quick, good, chance=0), seconds=0)
    assert not await queue.record(slow, bad, after(slow, bad, chance=0), seconds=0)
    [row] = await partner.deliveries(endpoint)
    assert row.state == "delivered"
    tries = await partner.rows(
        "SELECT number FROM partner_attempts WHERE delivery_id = :id ORDER BY number", id=row.id
    )
    assert [one.number for one in tries] == [slow.number, quick.number]
