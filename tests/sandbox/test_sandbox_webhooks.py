"""Webhooks of the sandbox: signed, at least once, retried, and still there after a restart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from standardwebhooks import Webhook

from tests.sandbox.process import (
    SECRET,
    Receiver,
    Sandbox,
    eventually,
    free_port,
    running_receiver,
    running_sandbox,
    soon,
)


@pytest.fixture(scope="module")
def shared_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox of its own: no other test's events are in the queue."""
    with running_sandbox(tmp_path_factory.mktemp("webhooks") / "sandbox.db") as sandbox:
        yield sandbox


def count(receiver: Receiver, event_id: str) -> int:
    return receiver.ids().count(event_id)


def event_id_of(sandbox: Sandbox, **act: Any) -> str:
    """Pay a new session and return the id of the event that tells it."""
    session = sandbox.session()
    sandbox.pay(session, **act)
    return str(sandbox.events(session)[0]["id"])


def scripted_event(sandbox: Sandbox, receiver: Receiver, statuses: list[int]) -> str:
    """An event whose first attempts are answered with ``statuses``; its id."""
    event_id = event_id_of(sandbox, webhooks={"deliver": False})
    receiver.scripts[event_id] = statuses
    sandbox.post("/test/events/redeliver", {"event_ids": [event_id]})
    return event_id


def delivery_states(sandbox: Sandbox, event_id: str) -> list[str]:
    events = sandbox.get("/test/ledger").json()["events"]
    (event,) = [one for one in events if one["id"] == event_id]
    return [delivery["state"] for delivery in event["deliveries"]]


def test_an_event_arrives_signed_and_tells_the_payment(
    sandbox: Sandbox, receiver: Receiver
) -> None:
    session = sandbox.session()
    payment_id = sandbox.pay(session)
    event_id = sandbox.events(session)[0]["id"]
    eventually(lambda: count(receiver, event_id))
    (got,) = [(h, body) for h, body in receiver.got if h["webhook-id"] == event_id]
    event = Webhook(SECRET).verify(got[1], got[0])
    assert got[0]["content-type"] == "application/json"
    assert event["type"] == "payment.captured"
    assert event["data"] == {
        "payment_id": payment_id,
        "session_id": session["id"],
        "reference": session["reference"],
        "status": "captured",
        "amount": 2400,
        "currency": "EUR",
        "captured": 2400,
        "refunded": 0,
    }
    eventually(lambda: delivery_states(sandbox, event_id) == ["delivered"])


@pytest.mark.parametrize("status", [302, 400, 410, 500, 503])
def test_an_answer_other_than_2xx_is_tried_again_and_signed_anew(
    sandbox: Sandbox, receiver: Receiver, status: int
) -> None:
    event_id = scripted_event(sandbox, receiver, [status, status])
    eventually(lambda: delivery_states(sandbox, event_id) == ["delivered"])
    assert count(receiver, event_id) == 3
    for headers, body in receiver.got:
        Webhook(SECRET).verify(body, headers)


def test_a_delivery_is_given_up_after_the_last_pause_and_can_be_redelivered(
    sandbox: Sandbox, receiver: Receiver
) -> None:
    event_id = scripted_event(sandbox, receiver, [500] * 5)
    eventually(lambda: delivery_states(sandbox, event_id) == ["given_up"])
    assert count(receiver, event_id) == 5
    sandbox.post("/test/events/redeliver", {"event_ids": [event_id]})
    eventually(lambda: delivery_states(sandbox, event_id) == ["given_up", "delivered"])


def test_copies_arrive_so_many_times(sandbox: Sandbox, receiver: Receiver) -> None:
    event_id = event_id_of(sandbox, webhooks={"copies": 20, "shuffle": True})
    eventually(lambda: delivery_states(sandbox, event_id) == ["delivered"] * 20)
    assert count(receiver, event_id) == 20


def test_an_undelivered_event_is_recorded_and_comes_when_redelivered(
    sandbox: Sandbox, receiver: Receiver
) -> None:
    silent = event_id_of(sandbox, webhooks={"deliver": False})
    spoken = event_id_of(sandbox)
    eventually(lambda: count(receiver, spoken))
    assert delivery_states(sandbox, silent) == []
    assert count(receiver, silent) == 0
    sandbox.post("/test/events/redeliver", {"event_ids": [silent]})
    eventually(lambda: count(receiver, silent) == 1)


def test_a_delayed_event_comes_after_a_later_one(sandbox: Sandbox, receiver: Receiver) -> None:
    late = event_id_of(sandbox, webhooks={"delay_ms": 400})
    early = event_id_of(sandbox)
    eventually(lambda: count(receiver, late))
    order = receiver.ids()
    assert order.index(early) < order.index(late)


def test_dropped_deliveries_are_lost_for_good(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.configure(drop_rate=1)
    event_id = event_id_of(sandbox, webhooks={"copies": 3})
    eventually(lambda: delivery_states(sandbox, event_id) == ["dropped"] * 3)
    assert count(receiver, event_id) == 0
    sandbox.configure(drop_rate=0.5)
    event_id = event_id_of(sandbox, webhooks={"copies": 60})
    eventually(lambda: "pending" not in delivery_states(sandbox, event_id))
    states = Counter(delivery_states(sandbox, event_id))
    assert min(states["dropped"], states["delivered"]) > 5  # fails once in 10**11 runs
    assert count(receiver, event_id) == states["delivered"]


def test_everything_is_redelivered_in_any_order(tmp_path: Path) -> None:
    with running_receiver() as receiver, running_sandbox(tmp_path / "s.db", receiver.url) as box:
        ids = [event_id_of(box, webhooks={"deliver": False}) for _ in range(12)]
        answer = box.post("/test/events/redeliver", {"shuffle": True})
        assert answer.json() == {"queued": 12}
        eventually(lambda: len(receiver.got) == 12)
        assert sorted(receiver.ids()) == sorted(ids)
        unknown = box.post("/test/events/redeliver", {"event_ids": [ids[0], "evt_none"]})
        assert unknown.status_code == 404


def test_a_restart_goes_on_delivering_and_forgets_no_money(tmp_path: Path) -> None:
    db_path, port = tmp_path / "s.db", free_port()
    url = f"http://127.0.0.1:{port}/hook"  # nobody listens there yet
    with running_sandbox(db_path, url) as box:
        session = box.session()
        box.pay(session, webhooks={"delay_ms": 1500})
        kept = box.post("/v1/sessions", wish := box.wish(), idempotency_key="kept").json()
        before = box.get("/test/ledger").json()
        box.process.kill()
        box.process.join()
    with running_receiver(port) as receiver, running_sandbox(db_path, url) as box:
        assert box.get("/test/ledger").json()["payments"] == before["payments"]
        eventually(lambda: receiver.ids() == [before["events"][0]["id"]])
        again = box.post("/v1/sessions", wish, idempotency_key="kept")
        assert orjson.loads(again.content) == kept | {"url": again.json()["url"]}


def test_a_session_that_ended_while_the_sandbox_was_down_expires_at_start(tmp_path: Path) -> None:
    with running_sandbox(tmp_path / "s.db") as box:
        session = box.session(expires_at=soon(0.6))
        box.process.kill()
        box.process.join()
    with running_sandbox(tmp_path / "s.db") as box:
        eventually(lambda: box.event_types(session) == ["session.expired"])


def test_webhooks_wait_until_there_is_an_address(tmp_path: Path) -> None:
    with running_receiver() as receiver, running_sandbox(tmp_path / "s.db") as box:
        event_id = event_id_of(box)
        assert delivery_states(box, event_id) == ["pending"]
        box.configure(webhook_url=receiver.url)
        eventually(lambda: receiver.ids() == [event_id])
