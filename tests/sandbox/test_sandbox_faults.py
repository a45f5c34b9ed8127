"""Every fault of the sandbox strikes where it should and nowhere else."""

from __future__ import annotations

import time

import httpx2
import pytest

from tests.sandbox.process import NO_FAULTS, Sandbox, eventually


def test_errors_are_answered_before_any_effect(sandbox: Sandbox) -> None:
    payment_id = sandbox.pay(sandbox.session())
    sandbox.configure(error_rate=1)
    assert sandbox.refund(payment_id, 1).status_code == 500
    sandbox.configure(error_rate=0)
    assert sandbox.payment(payment_id)["refunded"] == 0


@pytest.mark.parametrize("faults", [{"error_rate": 1}, {}, {"respond": "429"}])
def test_the_effect_is_done_although_the_answer_is_a_failure(
    sandbox: Sandbox, faults: dict[str, object]
) -> None:
    payment_id = sandbox.pay(sandbox.session())
    sandbox.configure(fail_after_effect=True, **faults)
    failed = sandbox.refund(payment_id, 100, idempotency_key=f"once-{payment_id}")
    assert failed.status_code in (429, 500)
    sandbox.configure(**NO_FAULTS)
    assert sandbox.payment(payment_id)["refunded"] == 100
    retried = sandbox.refund(payment_id, 100, idempotency_key=f"once-{payment_id}")
    assert retried.status_code == 201
    assert sandbox.payment(payment_id)["refunded"] == 100


def test_some_calls_fail_at_a_rate_between(sandbox: Sandbox) -> None:
    session = sandbox.session()
    sandbox.configure(error_rate=0.5)
    seen = {sandbox.get(f"/v1/sessions/{session['id']}").status_code for _ in range(60)}
    assert seen == {200, 500}


@pytest.mark.parametrize(
    ("respond", "status", "media_type"),
    [
        ("html", 200, "text/html; charset=utf-8"),
        ("redirect", 302, None),
        ("429", 429, "application/json"),
    ],
)
def test_it_answers_something_else_instead(
    sandbox: Sandbox, respond: str, status: int, media_type: str | None
) -> None:
    session = sandbox.session()
    sandbox.configure(respond=respond)
    answer = sandbox.get(f"/v1/sessions/{session['id']}")
    assert (answer.status_code, answer.headers.get("content-type")) == (status, media_type)
    assert ("retry-after" in answer.headers) == (status == 429)


def test_latency_delays_the_api_but_not_the_scripts(sandbox: Sandbox) -> None:
    session = sandbox.session()
    sandbox.configure(latency_ms=400)
    started = time.monotonic()
    sandbox.look(session)
    api_seconds = time.monotonic() - started
    started = time.monotonic()
    sandbox.pay(session)
    assert time.monotonic() - started < 0.4 <= api_seconds


@pytest.mark.parametrize("effect_first", [True, False])
def test_a_client_that_gives_up_on_a_hanging_call_has_still_done_it(
    sandbox: Sandbox, effect_first: bool
) -> None:
    payment_id = sandbox.pay(sandbox.session())
    sandbox.configure(hang_ms=400, fail_after_effect=effect_first)
    body = {"payment_id": payment_id, "amount": 100}
    with pytest.raises(httpx2.ReadTimeout):
        sandbox.http.post("/v1/refunds", json=body, timeout=0.1)
    sandbox.configure(**NO_FAULTS)
    assert sandbox.payment(payment_id)["refunded"] == (100 if effect_first else 0)
    eventually(lambda: sandbox.payment(payment_id)["refunded"] == 100)


def test_the_configuration_keeps_what_is_not_named_and_null_resets(sandbox: Sandbox) -> None:
    sandbox.configure(error_rate=0.25, latency_ms=1)
    sandbox.configure(latency_ms=None)
    config = sandbox.get("/test/config").json()
    assert (config["error_rate"], config["latency_ms"]) == (0.25, 0)


@pytest.mark.parametrize(
    "faults",
    [
        {"drop_rate": 1.1},
        {"latency_ms": -1},
        {"error_rate": "half"},
        {"respond": "teapot"},
        {"webhook_url": "ftp://shop.test"},
        {"refund_outcome": "lost"},
        {"tyop": None},
    ],
    ids=str,
)
def test_a_bad_configuration_is_refused_and_changes_nothing(
    sandbox: Sandbox, faults: dict[str, object]
) -> None:
    before = sandbox.get("/test/config").json()
    assert sandbox.post("/test/config", faults).status_code == 400
    assert sandbox.get("/test/config").json() == before
