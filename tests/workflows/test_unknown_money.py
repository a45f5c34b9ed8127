"""P6 and P11: money that belongs to no booking, and a provider that contradicts itself."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

from infra.postgres.database import Database
from infra.postgres.inbox import InboxWriter, NewEvent
from loops.inbox import InboxLoop
from tests.factories import Hall
from tests.helpers.saga import Saga
from tests.sandbox.process import Sandbox
from tests.workflows.test_booking_paths import pay

KIND = "payment.captured"


async def told(saga: Saga, database: Database, session_id: str, kind: str = KIND) -> str:
    """A signed webhook about the session, worked on once; the event's id."""
    event_id = f"evt_{uuid4().hex}"
    await InboxWriter(database).store(
        NewEvent(
            "sandbox",
            event_id,
            kind,
            json.dumps({"type": kind, "data": {"session_id": session_id}}).encode(),
            None,
        )
    )
    await InboxLoop(saga.work, saga.news).one_pass()
    return event_id


async def later(saga: Saga, event_id: str, seconds: float) -> None:
    """So much time passes, and the event is worked on again."""
    async with saga.engine.begin() as connection:
        await connection.exec_driver_sql(
            "UPDATE webhook_inbox SET next_attempt_at = now(),"
            " received_at = received_at - make_interval(secs => %(seconds)s)"
            " WHERE event_id = %(id)s",
            {"id": event_id, "seconds": seconds},
        )
    await InboxLoop(saga.work, saga.news).one_pass()


async def row(saga: Saga, event_id: str) -> tuple[Any, ...]:
    [found] = await saga.rows(
        "SELECT status, reason FROM webhook_inbox WHERE event_id = :id", id=event_id
    )
    return found


async def test_a_capture_that_the_api_does_not_know_is_asked_for_a_minute_and_then_a_case(
    saga: Saga, hall: Hall, database: Database
) -> None:
    input = hall.input()
    async with saga.worker():
        await saga.reserve(input)
        session_id = await saga.checkout(input)
    event_id = await told(saga, database, session_id)
    status, reason = await row(saga, event_id)
    assert (status, "does not know" in reason) == ("pending", True)
    await later(saga, event_id, 30)
    assert (await row(saga, event_id))[0] == "pending"
    await later(saga, event_id, 31)
    assert await row(saga, event_id) == ("done", None)
    assert await saga.state(input) == "held", "the API's word counts"
    [(kind, summary)] = await saga.rows(
        "SELECT kind, summary FROM cases WHERE booking_id = :id", id=UUID(input.booking_id)
    )
    assert kind == "provider_disagrees"
    assert session_id in summary


async def test_a_capture_that_the_api_knows_a_moment_later_is_no_case(
    saga: Saga, hall: Hall, database: Database, provider: Sandbox
) -> None:
    input = hall.input()
    async with saga.worker():
        await saga.reserve(input)
        session_id = await saga.checkout(input)
        event_id = await told(saga, database, session_id)
        pay(provider, session_id)
        await later(saga, event_id, 10)
        assert (await saga.handle(input).result())["state"] == "confirmed"
    assert await row(saga, event_id) == ("done", None)
    assert (
        await saga.rows("SELECT kind FROM cases WHERE booking_id = :id", id=UUID(input.booking_id))
        == []
    )


async def test_money_of_no_booking_is_named_with_the_way_to_send_it_back(
    saga: Saga, database: Database, provider: Sandbox
) -> None:
    session = provider.session(amount=1234, reference="somebody-elses")
    reference = pay(provider, str(session["id"]))
    event_id = await told(saga, database, str(session["id"]))
    await told(saga, database, str(session["id"]))
    assert (await row(saga, event_id))[0] == "quarantined"
    [(kind, summary)] = await saga.rows(
        "SELECT kind, summary FROM cases WHERE dedupe LIKE '%' || :id || '%'", id=session["id"]
    )
    assert kind == "unknown_payment"
    for named in ("12.34 EUR", reference, "somebody-elses", "refund it in full at sandbox"):
        assert named in summary
    assert provider.payment(reference)["refunded"] == 0, "a person looks first"
