"""Sessions and payments of the sandbox provider, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seathold.standins.sandbox.store import Store
from tests.sandbox.process import Sandbox, eventually, soon


def test_the_folder_of_its_file_is_made(tmp_path: Path) -> None:
    Store(tmp_path / "new" / "sandbox.sqlite").close()
    assert (tmp_path / "new" / "sandbox.sqlite").exists()


def test_a_session_is_opened_and_read_back(sandbox: Sandbox) -> None:
    opened = sandbox.session(reference="booking-a")
    assert opened["status"] == "open"
    assert opened["url"] == f"{sandbox.url}/pay/{opened['id']}"
    assert (opened["amount"], opened["currency"], opened["reference"]) == (2400, "EUR", "booking-a")
    assert opened["payments"] == []
    assert sandbox.look(opened) == opened


def test_the_same_key_opens_one_session_and_another_body_is_refused(sandbox: Sandbox) -> None:
    wish = sandbox.wish()
    first = sandbox.post("/v1/sessions", wish, idempotency_key="open-once")
    again = sandbox.post("/v1/sessions", wish, idempotency_key="open-once")
    other = sandbox.post("/v1/sessions", {**wish, "amount": 1}, idempotency_key="open-once")
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["idempotent-replayed"] == "true"
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_key_reused")


@pytest.mark.parametrize("key", ["", "two words", "k" * 256])
def test_a_key_that_is_not_visible_ascii_is_refused(sandbox: Sandbox, key: str) -> None:
    answer = sandbox.post("/v1/sessions", sandbox.wish(), idempotency_key=key)
    assert answer.json()["error"]["code"] == "invalid_idempotency_key"


BAD_SESSIONS: list[dict[str, Any]] = [
    {"amount": 0},
    {"amount": -1},
    {"amount": 1.5},
    {"amount": True},
    {"amount": "2400"},
    {"amount": 10**30},
    {"currency": "eur"},
    {"currency": "EUR\n"},
    {"currency": None},
    {"reference": ""},
    {"reference": "a\x00b"},
    {"reference": "r" * 256},
    {"return_url": "javascript:alert(1)"},
    {"return_url": "//shop.test"},
    {"return_url": "http://[::1"},
    {"return_url": "https://shop.test/a b"},
    {"expires_at": "soon"},
    {"expires_at": "2020-01-01T00:00:00Z"},
    {"expires_at": "2026-01-01T00:00:00"},
    {"expires_at": "9999-12-31T23:59:59-14:00"},
    {"mode": "gift"},
    {"extra": 1},
]


@pytest.mark.parametrize("change", BAD_SESSIONS, ids=str)
def test_a_bad_session_is_a_400(sandbox: Sandbox, change: dict[str, Any]) -> None:
    answer = sandbox.post("/v1/sessions", sandbox.wish(**change))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"\xff"', b'{"reference": "\\ud800"}', b"[" * 60_000]
)
@pytest.mark.parametrize(
    "path", ["/v1/sessions", "/v1/refunds", "/test/sessions/x/pay", "/test/config"]
)
def test_a_body_that_is_no_such_object_is_never_a_500(
    sandbox: Sandbox, path: str, body: bytes
) -> None:
    answer = sandbox.http.post(path, content=body)
    assert answer.status_code == (200 if (path, body) == ("/test/config", b"") else 400)


def test_a_body_that_is_too_large_is_a_413(sandbox: Sandbox) -> None:
    answer = sandbox.http.post("/v1/sessions", content=b" " * 70_000)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/sessions/none"),
        ("GET", "/v1/sessions/%00%ff"),
        ("POST", "/v1/sessions/none/expire"),
        ("GET", "/v1/payments/none"),
        ("POST", "/v1/payments/none/capture"),
        ("POST", "/v1/payments/none/void"),
        ("GET", "/v1/refunds/none"),
        ("POST", "/test/payments/none/dispute"),
        ("POST", "/test/refunds/none/settle"),
        ("GET", "/nowhere"),
    ],
)
def test_what_does_not_exist_is_a_404(sandbox: Sandbox, method: str, path: str) -> None:
    body = {"outcome": "failed"} if "settle" in path else None
    answer = (
        sandbox.http.request(method, path, json=body)
        if body
        else sandbox.http.request(method, path)
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_a_wrong_method_is_a_405(sandbox: Sandbox) -> None:
    answer = sandbox.get("/v1/payments/x/void")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/test/config", "GET, HEAD, POST"),
        ("/pay/x", "GET, HEAD, POST"),
        ("/test/ledger", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_told_those_that_answer(
    sandbox: Sandbox, path: str, methods: str
) -> None:
    answer = sandbox.http.delete(path)
    assert (answer.status_code, answer.headers["allow"]) == (405, methods)


def test_a_captured_payment_closes_the_session(sandbox: Sandbox) -> None:
    session = sandbox.session()
    payment_id = sandbox.pay(session)
    seen = sandbox.look(session)
    assert seen["status"] == "paid"
    assert seen["payments"] == [sandbox.payment(payment_id)]
    paid = seen["payments"][0]
    assert (paid["status"], paid["captured"], paid["refunded"]) == ("captured", 2400, 0)
    assert sandbox.event_types(session) == ["payment.captured"]
    again = sandbox.try_pay(session)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "session_closed")


def test_a_failed_payment_leaves_the_session_open(sandbox: Sandbox) -> None:
    session = sandbox.session()
    sandbox.pay(session, "failed")
    assert sandbox.look(session)["status"] == "open"
    sandbox.pay(session)
    seen = sandbox.look(session)
    assert seen["status"] == "paid"
    assert [payment["status"] for payment in seen["payments"]] == ["failed", "captured"]


@pytest.mark.parametrize(
    ("outcome", "status"), [("captured", "paid"), ("authorised", "paid"), ("failed", "open")]
)
def test_a_payment_in_flight_is_settled_under_its_own_id(
    sandbox: Sandbox, outcome: str, status: str
) -> None:
    session = sandbox.session()
    payment_id = sandbox.pay(session, "processing")
    assert sandbox.look(session)["status"] == "processing"
    closed = sandbox.post(f"/v1/sessions/{session['id']}/expire")
    assert (closed.status_code, closed.json()["status"]) == (200, "processing")
    assert sandbox.pay(session, "processing") == payment_id
    assert sandbox.pay(session, outcome, force=True) == payment_id
    assert sandbox.look(session)["status"] == status
    assert sandbox.event_types(session) == ["payment.processing", f"payment.{outcome}"]


def test_money_in_flight_that_fails_after_the_end_leaves_the_session_expired(
    sandbox: Sandbox,
) -> None:
    session = sandbox.session(expires_at=soon(0.3))
    sandbox.pay(session, "processing")
    other = sandbox.session(expires_at=soon(0.4))
    eventually(lambda: sandbox.look(other)["status"] == "expired")
    assert sandbox.look(session)["status"] == "processing"
    sandbox.pay(session, "failed")
    assert sandbox.look(session)["status"] == "expired"
    assert sandbox.event_types(session)[-2:] == ["session.expired", "payment.failed"]


def test_a_closed_session_is_closed_again_in_silence_when_forced_money_fails(
    sandbox: Sandbox,
) -> None:
    session = sandbox.session()
    sandbox.post(f"/v1/sessions/{session['id']}/expire")
    sandbox.pay(session, "processing", force=True)
    sandbox.pay(session, "failed")
    assert sandbox.look(session)["status"] == "expired"
    told = ["session.expired", "payment.processing", "payment.failed"]
    assert sandbox.event_types(session) == told


def test_a_session_expires_by_itself_and_says_so_once(sandbox: Sandbox) -> None:
    session = sandbox.session(expires_at=soon(0.3))
    eventually(lambda: sandbox.event_types(session))
    assert sandbox.event_types(session) == ["session.expired"]
    assert sandbox.look(session)["status"] == "expired"
    assert sandbox.try_pay(session).status_code == 409


def test_expiring_is_repeatable_and_leaves_paid_sessions_alone(sandbox: Sandbox) -> None:
    unpaid, paid = sandbox.session(), sandbox.session()
    sandbox.pay(paid)
    for _ in range(2):
        answer = sandbox.post(
            f"/v1/sessions/{unpaid['id']}/expire", idempotency_key="e" + unpaid["id"]
        )
        assert (answer.status_code, answer.json()["status"]) == (200, "expired")
        answer = sandbox.post(f"/v1/sessions/{paid['id']}/expire")
        assert (answer.status_code, answer.json()["status"]) == (200, "paid")
    assert sandbox.event_types(unpaid) == ["session.expired"]


@pytest.mark.parametrize("closed_by", ["paying", "expiring"])
def test_force_pays_on_a_closed_session(sandbox: Sandbox, closed_by: str) -> None:
    session = sandbox.session()
    if closed_by == "paying":
        sandbox.pay(session)
    else:
        sandbox.post(f"/v1/sessions/{session['id']}/expire")
    payment_id = sandbox.pay(session, force=True, amount=1, currency="USD")
    forced = sandbox.payment(payment_id)
    assert (forced["amount"], forced["currency"], forced["captured"]) == (1, "USD", 1)
    seen = sandbox.look(session)
    assert seen["status"] == "paid"
    assert seen["payments"][-1] == forced


def test_an_authorisation_is_captured_or_voided_and_never_both(sandbox: Sandbox) -> None:
    session = sandbox.session(mode="authorise")
    payment_id = sandbox.pay(session, "authorised")
    assert sandbox.payment(payment_id)["captured"] == 0
    too_much = sandbox.post(f"/v1/payments/{payment_id}/capture", {"amount": 2401})
    assert (too_much.status_code, too_much.json()["error"]["code"]) == (409, "exceeds_authorised")
    for _ in range(2):
        taken = sandbox.post(f"/v1/payments/{payment_id}/capture", {"amount": 2000})
        assert (taken.status_code, taken.json()["captured"]) == (200, 2000)
    assert sandbox.post(f"/v1/payments/{payment_id}/void").status_code == 409
    assert sandbox.event_types(session) == ["payment.authorised", "payment.captured"]

    other = sandbox.session(mode="authorise")
    voided_id = sandbox.pay(other, "authorised")
    for _ in range(2):
        released = sandbox.post(f"/v1/payments/{voided_id}/void")
        assert (released.status_code, released.json()["status"]) == (200, "voided")
    assert sandbox.post(f"/v1/payments/{voided_id}/capture").status_code == 409
    assert sandbox.event_types(other) == ["payment.authorised", "payment.voided"]


def test_capturing_at_once_in_authorise_mode_tells_both_steps(sandbox: Sandbox) -> None:
    session = sandbox.session(mode="authorise")
    sandbox.pay(session, "captured")
    told = [(e["type"], e["data"]["captured"]) for e in sandbox.events(session)]
    assert told == [("payment.authorised", 0), ("payment.captured", 2400)]


def test_the_list_pages_through_every_change_since_a_moment(sandbox: Sandbox) -> None:
    sandbox.pay(sandbox.session())
    since = soon(0)
    made = [sandbox.pay(sandbox.session()) for _ in range(5)]
    sandbox.refund(made[0], 1)
    listed, cursor = [], ""
    while cursor is not None:
        query = f"since={since}&limit=2" + (f"&cursor={cursor}" if cursor else "")
        page = sandbox.get(f"/v1/payments?{query}").json()
        assert len(page["items"]) <= 2
        listed += [payment["id"] for payment in page["items"]]
        cursor = page["next"]
    assert listed == [*made[1:], made[0]]


@pytest.mark.parametrize(
    "query", ["since=yesterday", "since=2026-01-01T00:00:00", "cursor=-1", "cursor=x", "limit=101"]
)
def test_a_bad_list_query_is_a_400(sandbox: Sandbox, query: str) -> None:
    assert sandbox.get(f"/v1/payments?{query}").status_code == 400
