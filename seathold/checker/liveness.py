"""L: liveness. Every hold ends, every process runs, every message is worked off."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError

from seathold.checker.report import NotRun
from seathold.checker.world import World

# M11 watches those whose money is being taken. A closing booking may wait for its provider until
# the payment grace has run out, which is longer where money is on its way, and may be where a card
# failed on a page that is open: another one may be.
OVERDUE = """
SELECT id, state, hold_expires_at, closing_since FROM bookings
WHERE state IN ('held', 'expiring', 'cancelling') AND (
    hold_expires_at > hold_max_expires_at
    OR CASE WHEN state = 'held' AND confirming_payment_id IS NOT NULL THEN 'infinity'
        WHEN state = 'held' THEN hold_expires_at
        ELSE coalesce(closing_since, hold_expires_at) + make_interval(secs => CASE
            WHEN EXISTS (
                SELECT FROM payments WHERE booking_id = bookings.id
                AND (status = 'processing' OR status = 'failed' AND session_open)
            ) THEN greatest(%(payment_grace)s, %(settling_grace)s) ELSE %(payment_grace)s END)
        END < now() - make_interval(secs => %(grace)s))
"""
UNSETTLED_REQUESTS = """
SELECT id, created_at FROM booking_requests
WHERE outcome IS NULL AND created_at < now() - interval '60 seconds'
"""

OPEN = "SELECT id::text FROM bookings WHERE state IN ('held', 'expiring', 'cancelling')"
RUNNING = "WorkflowType = 'Booking' AND ExecutionStatus = 'Running'"
CONNECT_SECONDS = 10.0

SLOW_INBOX = """
SELECT id, event_type, received_at, attempts, reason FROM webhook_inbox
WHERE status = 'pending' AND received_at < now() - interval '60 seconds'
"""
SLOW_OUTBOX = """
SELECT id, template, booking_id, created_at, attempts, state FROM notification_outbox
WHERE state IN ('pending', 'sending') AND created_at < now() - interval '5 minutes'
"""
DEAD_WITHOUT_REASON = """
SELECT 'webhook' AS what, id, status AS state FROM webhook_inbox
WHERE status = 'quarantined' AND coalesce(trim(reason), '') = ''
UNION ALL
SELECT 'notification', id, state FROM notification_outbox
WHERE state IN ('failed', 'suppressed') AND coalesce(trim(reason), '') = ''
"""

UNSEEN_CASES = """
SELECT id, kind, opened_at FROM cases
WHERE status = 'open' AND opened_at < now() - interval '24 hours'
"""
# Other checks let be what the case of a booking explains: one that is over explains nothing.
NAMED_AMISS = """
SELECT bookings.id, case_id, coalesce(cases.status, 'missing') AS status
FROM bookings LEFT JOIN cases ON cases.id = case_id AND cases.booking_id = bookings.id
WHERE case_id IS NOT NULL AND coalesce(cases.status, 'resolved') = 'resolved'
"""
# A refund that nobody has answered is a case after a day, and the run that opens it comes often.
UNHEARD_REFUNDS = """
SELECT refunds.id, refunds.created_at FROM refunds JOIN bookings ON bookings.id = booking_id
WHERE status = 'pending' AND reference IS NULL AND case_id IS NULL
  AND refunds.created_at < now() - interval '25 hours'
"""


def l1(world: World) -> Iterator[str]:
    """L1 Every hold ends: none is open past its end and the grace, none past its maximum."""
    yield from world.found(
        OVERDUE,
        "booking {id} is {state}, its hold ended at {hold_expires_at} (closing: {closing_since})",
        grace=world.inputs.hold_grace_seconds,
        payment_grace=world.inputs.payment_grace_seconds,
        settling_grace=world.inputs.settling_grace_seconds,
    )
    yield from world.found(UNSETTLED_REQUESTS, "request {id} of {created_at} has no outcome")


def l2(world: World) -> Iterator[str]:
    """L2 Open bookings and running booking workflows are the same set."""
    if world.inputs.temporal_address is None:
        raise NotRun("Temporal was not named")
    yield from world.settled(lambda: _differences(world))


def l5(world: World) -> Iterator[str]:
    """L5 No webhook waits over 60 s, no notification over 5 min; each dead letter has a reason."""
    yield from world.found(
        SLOW_INBOX, "webhook {id} ({event_type}) of {received_at} waits; {attempts} tries: {reason}"
    )
    yield from world.found(
        SLOW_OUTBOX,
        "{template} {id} of booking {booking_id}, {created_at}, is {state} after {attempts} tries",
    )
    yield from world.found(DEAD_WITHOUT_REASON, "{what} {id} is {state} without a reason")


def l6(world: World) -> Iterator[str]:
    """L6 Every case is taken on by a person within 24 h; a booking names only one that is open."""
    yield from world.found(UNSEEN_CASES, "case {id} ({kind}) of {opened_at} is nobody's yet")
    yield from world.found(NAMED_AMISS, "booking {id} names case {case_id}, which is {status}")


def l7(world: World) -> Iterator[str]:
    """L7 A refund whose outcome nobody knows after a day has a case."""
    yield from world.found(UNHEARD_REFUNDS, "refund {id} of {created_at} has no outcome, no case")


def _differences(world: World) -> set[str]:
    running = asyncio.run(_running(world))
    wanted = {f"booking-{row['id']}" for row in world.now(OPEN)}
    return {f"{id_}: an open booking without a running workflow" for id_ in wanted - running} | {
        f"{id_}: a running workflow without an open booking" for id_ in running - wanted
    }


async def _running(world: World) -> set[str]:
    # Temporal's own variables may hold its certificates and keys.
    config: dict[str, Any] = dict(ClientConfig.load_client_connect_config())
    config["target_host"] = world.inputs.temporal_address
    config["namespace"] = world.inputs.temporal_namespace
    try:
        client = await asyncio.wait_for(Client.connect(**config), CONNECT_SECONDS)
        return {execution.id async for execution in client.list_workflows(RUNNING)}
    except (RuntimeError, RPCError, TimeoutError) as error:
        raise NotRun(f"Temporal did not answer: {error}", unreachable=True) from error


CHECKS = (l1, l2, l5, l6, l7)
