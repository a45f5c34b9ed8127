"""Many bookings at once in a running stack, each brought into a state, then told one fact.

What happens is done in steps, all bookings at each: so the provider may fail for those that are
closing while nobody else asks it anything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx2
import psycopg
from psycopg.rows import dict_row
from temporalio.client import Client

from domain.payment import Verdict
from domain.payment_policy import MoneyBack, PaymentFact, PaymentMode, Step
from infra.payloads import sealed_by
from infra.settings import DEV_PAYLOAD_KEYS
from seathold.demo import Buyer
from tests.helpers.policy_cells import CLOSING, NO_TICKET, UNDECIDED, UNPAID, PolicyCell
from tests.stack.command import Dev, wait_for

Json = dict[str, Any]
QUIET = {"deliver": False}
# As if it had all been an hour earlier: past the late window, which no test can wait out.
LONG_AGO = """
UPDATE bookings SET hold_expires_at = hold_expires_at - interval '1 hour',
    hold_max_expires_at = hold_max_expires_at - interval '1 hour',
    closing_since = closing_since - interval '1 hour', updated_at = updated_at - interval '1 hour'
WHERE id = %s
"""
STANDS = """
SELECT bookings.id::text, state,
       (SELECT json_object_agg(reference, decision) FROM provider_payments
        WHERE booking_id = bookings.id) AS verdicts,
       (SELECT json_agg(kind ORDER BY kind) FROM cases WHERE booking_id = bookings.id) AS cases,
       (SELECT json_agg(state) FROM seat_claims WHERE booking_id = bookings.id) AS claims,
       (SELECT coalesce(sum(debit - credit), 0)::bigint FROM ledger_entries
        WHERE booking_id = bookings.id AND account = 'disputed') AS disputed
FROM bookings
"""
OFFERS = """
SELECT count(*) AS count FROM seat_offers WHERE booking_id = ANY(%s::uuid[]) AND state = 'open'
"""
UNREAD = "SELECT count(*) AS count FROM webhook_inbox WHERE status = 'pending'"


@dataclass
class Told:
    """One cell's booking and page; ``paid`` is the fact's payment at the provider."""

    cell: PolicyCell
    show: Json
    seat: str
    rival: Json = field(default_factory=dict)
    booking: Json = field(default_factory=dict)
    session_id: str = ""
    paid: str = ""
    cases_before: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        return str(self.booking["id"])

    @property
    def price(self) -> int:
        return int(self.booking["total"]["amount"])


@dataclass
class Street:
    """The bookings of all cells of one mode."""

    dev: Dev
    buyer: Buyer
    rival: Buyer
    told: list[Told]
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(8))

    def each(self, what: Callable[[Told], object], *of: Iterable[Told]) -> None:
        """Do it for all of these (everybody when not said), some at once."""
        list(self.pool.map(what, *(of or [self.told])))

    def where(self, *ways: str) -> list[Told]:
        return [one for one in self.told if one.cell.way in ways]

    # How the states come about.

    def check_out(self, one: Told) -> None:
        one.booking = self.buyer.hold(one.show, [one.seat])
        one.session_id = self.buyer.checkout(one.booking)["session_id"]

    def pay_first(self, one: Told) -> None:
        self.pay(one)

    def give_back(self, one: Told) -> None:
        answer = self.buyer.post(f"/api/booking/{one.id}/refund", {})
        assert answer.status_code == 202, answer.text

    def close_page(self, one: Told) -> None:
        """Somebody closes it at the provider."""
        answer = self.buyer.sandbox.post(f"/v1/sessions/{one.session_id}/expire")
        assert answer.status_code == 200, answer.text

    def cancel(self, one: Told) -> None:
        answer = self.buyer.post(f"/api/booking/{one.id}/cancel", {})
        assert answer.status_code == 200, answer.text

    def release(self, found: list[Told]) -> None:
        """Their time is up, says an operator."""
        asyncio.run(self._release(found))

    async def _release(self, found: list[Told]) -> None:
        info = self.dev.info
        client = await Client.connect(
            info["temporal_address"],
            namespace=info["temporal_namespace"],
            data_converter=sealed_by(DEV_PAYLOAD_KEYS),
        )
        wish = {"actor": "operator:cells", "reason": "its time is up"}
        await asyncio.gather(
            *(
                client.get_workflow_handle(f"booking-{one.id}").execute_update(
                    "force_release", wish
                )
                for one in found
            )
        )

    def sell_its_seat(self, one: Told) -> None:
        one.rival = self.rival.hold(one.show, [one.seat])

    def free_its_seat(self, one: Told) -> None:
        answer = self.rival.post(f"/api/booking/{one.rival['id']}/cancel", {})
        assert answer.status_code == 200, answer.text

    def make_offers(self, show: Json) -> None:
        with psycopg.connect(self.dev.info["database_url"]) as database:
            database.execute("UPDATE shows SET offers_seats = true WHERE id = %s", (show["id"],))

    def pay_back(self, one: Told) -> None:
        """All of the money, by staff; the seats stay its buyer's."""
        money = {"amount": one.price, "currency": one.booking["total"]["currency"]}
        answer = self._as_staff(f"/api/booking/{one.id}/refund", {"amount": money})
        assert answer.status_code == 202, answer.text
        wait_for(lambda: self.payment(one)["refunded"] == one.price, 60)

    def call_off(self, show: Json) -> None:
        """The show of those who were paid back is cancelled."""
        answer = self._as_staff(f"/api/admin/shows/{show['id']}/cancel", {"reason": "Power cut"})
        assert answer.status_code == 202, answer.text

    def _as_staff(self, path: str, body: Json) -> httpx2.Response:
        login = {key: self.dev.info["admin"][key] for key in ("email", "password")}
        with httpx2.Client(base_url=self.dev.info["api_url"], timeout=40) as http:
            token = http.post("/api/auth/login", json=login).json()["access_token"]
            headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": uuid4().hex}
            return http.post(path, json=body, headers=headers)

    def long_ago(self, one: Told) -> None:
        with psycopg.connect(self.dev.info["database_url"]) as database:
            database.execute(LONG_AGO, (one.id,))

    @contextmanager
    def provider_away(self) -> Iterator[None]:
        """It answers nothing to us; buyers can pay all the same."""
        self._configure(error_rate=1.0)
        yield
        self._configure(error_rate=0.0)

    # The facts.

    def happen(self, one: Told) -> None:
        """Make the cell's fact true at the provider, which tells of it by webhook."""
        state, fact = one.cell.state, one.cell.fact
        if fact is PaymentFact.CANCEL_CONFIRMED:
            if state not in CLOSING:
                self.close_page(one)
            # Else its process closes it, as soon as the provider answers.
        elif fact is PaymentFact.WRONG_SUM:
            self.pay(one, one.price - 1)
        elif fact is PaymentFact.EXACT:
            if state != "CONFIRMED":
                self.pay(one)
        elif fact is PaymentFact.DUPLICATE:
            if state in UNDECIDED:
                # Both are seen at once; the first that confirms wins.
                self.pay(one, webhooks=QUIET)
            self.pay(one)
        elif state in NO_TICKET:
            # Of a payment that went back before.
            self.pay(one)
            wait_for(lambda: self.payment(one)["refunded"] == one.price, 60)
            self.dispute(one, amount=one.price)
        else:
            if state != "CONFIRMED":
                # Money of the right sum would confirm a booking before its dispute is looked at.
                self.pay(one, one.price - (state not in UNPAID), webhooks=QUIET)
            self.dispute(one)

    def pay(self, one: Told, amount: int | None = None, **act: Any) -> None:
        outcome = "authorised" if one.cell.mode is PaymentMode.AUTHORISE else "captured"
        wish = {"outcome": outcome, "force": True, "amount": amount or one.price, **act}
        answer = self.buyer.sandbox.post(f"/test/sessions/{one.session_id}/pay", json=wish)
        assert answer.status_code == 200, answer.text
        one.paid = answer.json()["payment_id"]

    def dispute(self, one: Told, outcome: str = "opened", amount: int | None = None) -> None:
        wish = {"outcome": outcome, "amount": amount}
        answer = self.buyer.sandbox.post(f"/test/payments/{one.paid}/dispute", json=wish)
        assert answer.status_code == 200, answer.text

    def lose(self, one: Told) -> None:
        self.dispute(one, "lost")

    # What came of it.

    def payment(self, one: Told) -> Json:
        [found] = [paid for paid in self._ledger()["payments"] if paid["id"] == one.paid]
        return dict(found)

    def wait_offers(self, found: list[Told]) -> None:
        ids = [one.id for one in found]
        wait_for(lambda: self._rows(OFFERS, ids) == [{"count": len(ids)}], 60)

    def wait_states(self, found: list[Told], state: str) -> None:
        wanted = {one.id for one in found}

        def all_there() -> bool:
            return all(row["state"] == state for row in self._stands() if row["id"] in wanted)

        wait_for(all_there, 90)

    def remember_cases(self) -> None:
        rows = {row["id"]: row for row in self._stands()}
        for one in self.told:
            one.cases_before = rows[one.id]["cases"] or []

    def wait_heard(self) -> None:
        """Every webhook was delivered, and every one that came was worked through."""

        def all_heard() -> bool:
            deliveries = [one for event in self._ledger()["events"] for one in event["deliveries"]]
            if any(one["state"] == "pending" for one in deliveries):
                return False
            return self._rows(UNREAD) == [{"count": 0}]

        wait_for(all_heard, 60)

    def wrong(self, *, seconds: float) -> list[str]:
        """The cells that did not end as the table says, within so long."""
        deadline = time.monotonic() + seconds
        while True:
            rows = {row["id"]: row for row in self._stands()}
            money = {payment["id"]: payment for payment in self._ledger()["payments"]}
            found = [
                f"{one.cell}: {problem}; {rows[one.id]}, {money.get(one.paid)}"
                for one in self.told
                if (problem := problem_of(one, rows[one.id], money.get(one.paid, {})))
            ]
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.2)

    def _stands(self) -> list[Json]:
        return self._rows(STANDS)

    def _rows(self, statement: str, *values: object) -> list[Json]:
        url = self.dev.info["database_url"]
        with psycopg.connect(url, row_factory=dict_row) as database:
            return database.execute(statement.encode(), values or None).fetchall()

    def _ledger(self) -> Json:
        found: Json = self.buyer.sandbox.get("/test/ledger").json()
        return found

    def _configure(self, **faults: float) -> None:
        answer: httpx2.Response = self.buyer.sandbox.post("/test/config", json=faults)
        assert answer.status_code == 200, answer.text


def problem_of(one: Told, row: Json, money: Json) -> str | None:
    """What is not as the cell's decision says; None where everything is."""
    decision, cases = one.cell.decision, row["cases"] or []
    verdict = (row["verdicts"] or {}).get(one.paid)
    is_back = money.get("captured") == money.get("refunded")
    expected: dict[str, tuple[object, object]] = {"state": (row["state"], one.cell.end)}
    if decision.step in (Step.CONFIRM, Step.REINSTATE):
        expected |= {
            "verdict": (verdict, Verdict.CONFIRMS),
            "claims": (row["claims"], ["sold"]),
            "kept": (money["captured"] - money["refunded"], one.price),
        }
    elif decision.step is Step.SEND_BACK:
        way = "voided" if decision.back is MoneyBack.VOID else "refunded"
        expected |= {
            "verdict": (verdict, decision.verdict),
            "at the provider": (money["status"], way),
            "all of it": (is_back, True),
            "alert": ("wrong_amount" in cases, decision.alert),
        }
    elif decision.step is Step.DISPUTE:
        expected |= {
            "disputed": (row["disputed"], one.price),
            "refunded": (money["refunded"], 0),
            "case": ("dispute" in cases, True),
        }
    elif decision.step in (Step.EVIDENCE, Step.REVIEW):
        expected["a new case"] = (len(cases) > len(one.cases_before), True)
    else:
        assert decision.step in (Step.NOTHING, Step.BACK_TO_HELD, Step.EXPIRE, Step.CANCEL)
        expected["cases"] = (cases, one.cases_before)
        expected["refunded"] = (money.get("refunded", 0), 0)
    for what, (is_now, wanted) in expected.items():
        if is_now != wanted:
            return f"{what} is {is_now!r}, not {wanted!r}"
    return None
