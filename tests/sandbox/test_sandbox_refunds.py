"""Refunds, disputes and the ledger: no unit leaves twice and every unit is told."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sandbox.process import Sandbox


def test_a_refund_gives_money_back_once_per_key(sandbox: Sandbox) -> None:
    session = sandbox.session()
    payment_id = sandbox.pay(session)
    first = sandbox.refund(payment_id, 1000, idempotency_key=f"r-{payment_id}")
    again = sandbox.refund(payment_id, 1000, idempotency_key=f"r-{payment_id}")
    assert (first.status_code, first.json()["status"]) == (201, "succeeded")
    assert again.json() == first.json()
    assert sandbox.get(f"/v1/refunds/{first.json()['id']}").json() == first.json()
    assert sandbox.payment(payment_id)["refunded"] == 1000
    assert sandbox.payment(payment_id)["status"] == "captured"
    sandbox.refund(payment_id, 1400)
    assert sandbox.payment(payment_id)["status"] == "refunded"
    assert sandbox.event_types(session)[1:] == ["refund.succeeded", "refund.succeeded"]


def test_a_refused_refund_changes_nothing_and_its_key_may_be_used_again(sandbox: Sandbox) -> None:
    session = sandbox.session()
    payment_id = sandbox.pay(session, "processing")
    early = sandbox.refund(payment_id, 1, idempotency_key=f"r-{payment_id}")
    assert (early.status_code, early.json()["error"]["code"]) == (409, "exceeds_captured")
    sandbox.pay(session)
    later = sandbox.refund(payment_id, 1, idempotency_key=f"r-{payment_id}")
    assert later.status_code == 201


def test_a_refund_in_another_currency_or_of_nothing_known_is_refused(sandbox: Sandbox) -> None:
    payment_id = sandbox.pay(sandbox.session())
    wrong = {"payment_id": payment_id, "amount": 1, "currency": "USD"}
    assert sandbox.post("/v1/refunds", wrong).json()["error"]["code"] == "wrong_currency"
    assert sandbox.refund("none", 1).status_code == 404
    assert sandbox.refund(payment_id, 0).status_code == 400


def test_a_failed_refund_leaves_the_money_with_the_merchant(sandbox: Sandbox) -> None:
    session = sandbox.session()
    payment_id = sandbox.pay(session)
    sandbox.configure(refund_outcome="failed")
    assert sandbox.refund(payment_id, 2400).json()["status"] == "failed"
    assert sandbox.payment(payment_id)["refunded"] == 0
    assert sandbox.event_types(session)[-1] == "refund.failed"


@pytest.mark.parametrize(("outcome", "refunded"), [("succeeded", 2400), ("failed", 0)])
def test_a_pending_refund_is_reserved_until_it_settles(
    sandbox: Sandbox, outcome: str, refunded: int
) -> None:
    session = sandbox.session()
    payment_id = sandbox.pay(session)
    sandbox.configure(refund_outcome="pending")
    refund = sandbox.refund(payment_id, 2400).json()
    assert refund["status"] == "pending"
    assert sandbox.event_types(session) == ["payment.captured"]
    assert sandbox.refund(payment_id, 1).status_code == 409
    settled = sandbox.post(f"/test/refunds/{refund['id']}/settle", {"outcome": outcome})
    assert settled.json()["status"] == outcome
    assert sandbox.payment(payment_id)["refunded"] == refunded
    assert sandbox.event_types(session)[-1] == f"refund.{outcome}"


def test_a_refund_may_fail_after_it_succeeded_but_never_the_other_way(sandbox: Sandbox) -> None:
    payment_id = sandbox.pay(sandbox.session())
    refund = sandbox.refund(payment_id, 2400).json()
    path = f"/test/refunds/{refund['id']}/settle"
    assert sandbox.post(path, {"outcome": "failed"}).json()["status"] == "failed"
    payment = sandbox.payment(payment_id)
    assert (payment["refunded"], payment["status"]) == (0, "captured")
    assert sandbox.post(path, {"outcome": "succeeded"}).status_code == 409


def test_a_lost_dispute_takes_what_was_left_and_blocks_refunds(sandbox: Sandbox) -> None:
    session = sandbox.session()
    payment_id = sandbox.pay(session)
    sandbox.refund(payment_id, 400)
    path = f"/test/payments/{payment_id}/dispute"
    assert sandbox.post(path).json()["dispute"] == "open"
    assert sandbox.refund(payment_id, 1).json()["error"]["code"] == "payment_disputed"
    lost = sandbox.post(path, {"outcome": "lost"}).json()
    assert (lost["dispute"], lost["charged_back"]) == ("lost", 2000)
    assert sandbox.refund(payment_id, 1).json()["error"]["code"] == "exceeds_captured"
    assert sandbox.post(path, {"outcome": "won"}).status_code == 409
    told = [(event["type"], event["data"]["status"]) for event in sandbox.events(session)[2:]]
    assert told == [("dispute.opened", "open"), ("dispute.closed", "lost")]


def test_a_won_dispute_takes_nothing(sandbox: Sandbox) -> None:
    payment_id = sandbox.pay(sandbox.session())
    won = sandbox.post(f"/test/payments/{payment_id}/dispute", {"outcome": "won"}).json()
    assert (won["dispute"], won["charged_back"]) == ("won", 0)
    assert sandbox.refund(payment_id, 2400).status_code == 201


def test_nothing_captured_cannot_be_disputed(sandbox: Sandbox) -> None:
    payment_id = sandbox.pay(sandbox.session(), "failed")
    answer = sandbox.post(f"/test/payments/{payment_id}/dispute", {"outcome": "opened"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "nothing_captured")


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["refund", "repeat", "pending", "settle", "fail", "dispute"]),
        st.integers(1, 120),
    ),
    max_size=12,
)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(amount=st.integers(1, 200), steps=STEPS)
def test_money_going_back_never_exceeds_what_was_captured(
    sandbox: Sandbox, amount: int, steps: list[tuple[str, int]]
) -> None:
    payment_id = sandbox.pay(sandbox.session(amount=amount))
    refunds: list[str] = []
    for place, (step, wish) in enumerate(steps):
        if step in ("refund", "repeat", "pending"):
            outcome = "pending" if step == "pending" else "succeeded"
            sandbox.configure(refund_outcome=outcome)
            key = f"{payment_id}-{place if step != 'repeat' else 'same'}"
            answer = sandbox.refund(payment_id, wish, idempotency_key=key)
            assert answer.status_code in (201, 409)
            refunds += [answer.json()["id"]] if answer.status_code == 201 else []
        elif step == "dispute":
            sandbox.post(f"/test/payments/{payment_id}/dispute", {"outcome": "lost"})
        elif refunds:
            outcome = "succeeded" if step == "settle" else "failed"
            path = f"/test/refunds/{refunds[wish % len(refunds)]}/settle"
            assert sandbox.post(path, {"outcome": outcome}).status_code in (200, 409)
    ledger = sandbox.get("/test/ledger").json()
    (payment,) = [one for one in ledger["payments"] if one["id"] == payment_id]
    given_back = {
        one["id"]: one["amount"]
        for one in ledger["refunds"]
        if one["payment_id"] == payment_id and one["status"] == "succeeded"
    }
    assert payment["refunded"] == sum(given_back.values())
    assert payment["refunded"] + payment["charged_back"] <= payment["captured"] == amount


def test_the_ledger_tells_every_unit(sandbox: Sandbox) -> None:
    captured = sandbox.pay(sandbox.session(amount=700))
    refunded = sandbox.pay(sandbox.session(amount=300))
    sandbox.pay(sandbox.session(amount=900), "failed")
    sandbox.refund(refunded, 300, idempotency_key=f"whole-{refunded}")
    ledger = sandbox.get("/test/ledger").json()
    mine = {one["id"]: one for one in ledger["payments"][-3:]}
    assert sum(one["captured"] - one["refunded"] for one in mine.values()) == 700
    assert mine[captured]["status"] == "captured"
    assert mine[refunded]["status"] == "refunded"
    assert ledger["refunds"][-1]["idempotency_key"] == f"whole-{refunded}"
    told = {event["data"].get("payment_id") for event in ledger["events"]}
    assert set(mine) <= told
