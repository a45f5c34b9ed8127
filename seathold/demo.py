"""The demo: the main job end to end on a stack of its own, told as a story.

Exit 0 only if every ending is the right one.
"""

from __future__ import annotations

import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from seathold.stack.stack import Stack

HOLD_SECONDS = 4
HOLD_MAX_SECONDS = 12
PASSWORD = "demo: three-word passphrase"

# Short holds, so that the story of a lapse takes seconds; everything else as in production.
DEMO_SETTINGS = {
    "SEATHOLD_HOLD_SECONDS": str(HOLD_SECONDS),
    "SEATHOLD_HOLD_MAX_SECONDS": str(HOLD_MAX_SECONDS),
    "SEATHOLD_PAYMENT_GRACE_SECONDS": "5",
    "SEATHOLD_PAYMENT_SETTLING_GRACE_SECONDS": "5",
    "SEATHOLD_PAYMENT_RETRY_SECONDS": "1",
    "SEATHOLD_RATE_LIMIT_PER_MINUTE": "0",
}

Json = dict[str, Any]


class WrongEnding(Exception):
    """The story did not end as it must."""


def say(text: str = "") -> None:
    print(text, flush=True)


def expect(what: str, got: object, wanted: object) -> None:
    if got != wanted:
        raise WrongEnding(f"{what}: expected {wanted!r}, got {got!r}")


def client(url: str, *, timeout: int) -> httpx2.Client:
    """Asks this machine itself, whatever proxy the environment names for the way out."""
    return httpx2.Client(base_url=url, timeout=timeout, trust_env=False)


@dataclass
class Buyer:
    """A person at the API: registered, with a bearer token."""

    name: str
    http: httpx2.Client
    sandbox: httpx2.Client
    user: Json = field(default_factory=dict)

    def register(self) -> None:
        email = f"{self.name.lower()}.{uuid.uuid4().hex[:8]}@example.test"
        answer = self.http.post(
            "/api/auth/register",
            json={
                "email": email,
                "password": PASSWORD,
                "name": self.name,
                "phone": "+4915112345678",
            },
        )
        expect(f"{self.name} registers", answer.status_code, 201)
        self.user = answer.json()["user"]
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def post(self, path: str, body: Json) -> httpx2.Response:
        key = {"Idempotency-Key": uuid.uuid4().hex}
        return self.http.post(path, json=body, headers=key)

    def reserve(self, show: Json, seats: list[str]) -> httpx2.Response:
        return self.post("/api/booking/reserve", {"show_id": show["id"], "seats": seats})

    def hold(self, show: Json, seats: list[str]) -> Json:
        answer = self.reserve(show, seats)
        expect(f"{self.name} reserves {seats}: {answer.text}", answer.status_code, 201)
        booking: Json = answer.json()
        expect("the booking", booking["state"], "held")
        return booking

    def hold_when_free(self, show: Json, seats: list[str]) -> Json:
        """Redis hears of seats that went free a moment after the booking's end: ask again."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            answer = self.reserve(show, seats)
            if answer.status_code == 201:
                booking: Json = answer.json()
                return booking
            time.sleep(0.1)
        raise WrongEnding(f"{seats} did not go free: {answer.text}")

    def checkout(self, booking: Json) -> Json:
        answer = self.post(f"/api/booking/{booking['id']}/checkout", {"provider": "sandbox"})
        expect(f"checkout: {answer.text}", answer.status_code, 201)
        payment: Json = answer.json()["payment"]
        return payment

    def pay(self, payment: Json, outcome: str, *, force: bool = False) -> Json:
        answer = self.sandbox.post(
            f"/test/sessions/{payment['session_id']}/pay",
            json={"outcome": outcome, "force": force},
        )
        expect(f"the provider takes the payment: {answer.text}", answer.status_code, 200)
        paid: Json = answer.json()
        return paid

    def booking(self, booking: Json) -> Json:
        found: Json = self.http.get(f"/api/booking/{booking['id']}").json()
        return found

    def confirm(self, booking: Json) -> httpx2.Response:
        return self.http.post(
            "/api/booking/confirm", params={"wait": 15}, json={"booking_id": booking["id"]}
        )

    def wait_for(self, booking: Json, what: str, done: Callable[[Json], bool]) -> Json:
        """Ask until ``done`` says so; a minute at most."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = self.booking(booking)
            if done(found):
                return found
            time.sleep(0.1)
        raise WrongEnding(f"{what} did not come; the booking is {self.booking(booking)}")


def euros(money: Json) -> str:
    return f"{money['amount'] / 100:.2f} {money['currency']}"


class Story:
    def __init__(self, info: Json) -> None:
        self._info = info
        self._mail = client(info["mail_url"], timeout=10)
        self._sandbox = client(info["sandbox_url"], timeout=10)

    def run(self) -> None:
        ada, ben = self._buyer("Ada"), self._buyer("Ben")
        show = self._browse(ada)
        free = self._free_pairs(ada, show)
        self._buy(ada, show, free[0])
        self._rival(ada, ben, show, free[1])
        self._lapse(ben, show, free[2])
        self._failed_payment(ben, show, free[3])
        self._late_payment(ada, ben, show, free[4])
        self._reinstated(ada, show, free[2])

    def _buyer(self, name: str) -> Buyer:
        buyer = Buyer(name, client(self._info["api_url"], timeout=40), self._sandbox)
        buyer.register()
        return buyer

    def _browse(self, ada: Buyer) -> Json:
        say("1. Browse")
        movies = ada.http.get("/api/movies", params={"limit": 5}).json()["items"]
        say(f"   Ada registers and looks at {len(movies)} of the films on show.")
        theatre = ada.http.get("/api/theatres").json()["items"][0]
        for movie in ada.http.get("/api/movies", params={"city": theatre["city"]}).json()["items"]:
            listing = ada.http.get(f"/api/shows/{movie['id']}").json()
            shows = [show for one in listing["theatres"] for show in one["shows"]]
            on_sale = [show for show in shows if show["status"] == "on_sale"]
            if on_sale:
                show: Json = on_sale[-1]
                say(
                    f"   She picks “{movie['title']}”, {show['theatre']['name']} in"
                    f" {show['theatre']['city']}, {show['auditorium']['name']},"
                    f" {show['starts_at']} ({show['availability']['available']} seats free)."
                )
                return show
        raise WrongEnding("no film in the catalogue has a show on sale")

    def _free_pairs(self, ada: Buyer, show: Json) -> list[list[str]]:
        """Five pairs of neighbours that nobody has."""
        seatmap = ada.http.get(
            show["seatmap_url"],
            follow_redirects=True,  # house: H5 -- to our own API
        ).json()
        taken = ada.http.get(f"/api/show/{show['id']}/availability").json()["seats"]
        pairs = []
        for row in seatmap["rows"]:
            free = [label for label in row["labels"] if label not in taken]
            if len(free) >= 2:
                pairs.append(free[:2])
        if len(pairs) < 5:
            raise WrongEnding("the show has too few free rows for the story")
        return pairs[:5]

    def _buy(self, ada: Buyer, show: Json, seats: list[str]) -> None:
        say("\n2. Hold, pay, confirmed")
        booking = ada.hold(show, seats)
        say(f"   Seats {', '.join(seats)} are held for Ada until {booking['hold']['expires_at']}.")
        payment = ada.checkout(booking)
        say(f"   The pay page asks for {euros(payment['amount'])}: {payment['checkout_url']}")
        ada.pay(payment, "captured")
        confirmed = ada.confirm(booking)
        expect(f"confirm: {confirmed.text}", confirmed.status_code, 200)
        expect("the paid booking", confirmed.json()["state"], "confirmed")
        tickets = ada.http.get(f"/api/booking/{booking['id']}/tickets").json()["items"]
        expect("tickets", [ticket["label"] for ticket in tickets], sorted(seats))
        say(f"   Paid and confirmed. Ticket {tickets[0]['label']}: {tickets[0]['qr'][:48]}…")
        self._expect_mail(ada, "confirmation")
        say("   What happened, as the booking tells it:")
        for entry in ada.http.get(f"/api/booking/{booking['id']}/timeline").json()["items"]:
            say(f"     {entry['at'][11:19]}  {entry['text']}")

    def _rival(self, ada: Buyer, ben: Buyer, show: Json, seats: list[str]) -> None:
        say("\n3. A rival for the same seat is refused")
        booking = ada.hold(show, seats)
        refused = ben.reserve(show, [seats[0]])
        expect("Ben's reserve", refused.status_code, 409)
        expect("the reason", refused.json()["code"], "seats_unavailable")
        expect("the seats", refused.json()["seats"], [seats[0]])
        say(f"   Ada holds {', '.join(seats)}; Ben hears: {refused.json()['detail']}")
        cancelled = ada.post(f"/api/booking/{booking['id']}/cancel", {"reason": "changed my mind"})
        expect("Ada's cancel", cancelled.json()["state"], "cancelled")
        retry = ben.hold(show, seats)
        ben.post(f"/api/booking/{retry['id']}/cancel", {})
        say("   Ada cancels, and now Ben gets them. He lets them go again.")

    def _lapse(self, ben: Buyer, show: Json, seats: list[str]) -> None:
        say("\n4. A hold left alone lapses")
        booking = ben.hold(show, seats)
        say(f"   Ben holds {', '.join(seats)} and walks away; {HOLD_SECONDS} s pass …")
        ben.wait_for(booking, "the lapse", lambda found: found["state"] == "expired")
        taken = ben.http.get(f"/api/show/{show['id']}/availability").json()["seats"]
        expect("seats still taken", [label for label in seats if label in taken], [])
        self._expect_mail(ben, "lapse")
        say("   The booking expired by itself, the seats are free, Ben was told by mail.")

    def _failed_payment(self, ben: Buyer, show: Json, seats: list[str]) -> None:
        say("\n5. A payment fails")
        booking = ben.hold(show, seats)
        ben.pay(ben.checkout(booking), "failed")
        refused = ben.confirm(booking)
        expect(f"confirm after a failed payment: {refused.text}", refused.status_code, 402)
        expect("the reason", refused.json()["code"], "payment_failed")
        say(f"   Ben's card is declined: {refused.json()['detail']} His seats stay held …")
        ben.wait_for(booking, "the end", lambda found: found["state"] == "expired")
        say("   … he does not try again: pay page closed, hold expired, seats free.")

    def _late_payment(self, ada: Buyer, ben: Buyer, show: Json, seats: list[str]) -> None:
        say("\n6. A payment arrives late, and the seats are gone")
        booking = ada.hold(show, seats)
        payment = ada.checkout(booking)
        say("   Ada opens the pay page and forgets it until the hold has run out …")
        ada.wait_for(booking, "the lapse", lambda found: found["state"] == "expired")
        rival = ben.hold_when_free(show, seats[:1])
        ben.pay(ben.checkout(rival), "captured")
        expect("Ben's purchase", ben.confirm(rival).status_code, 200)
        say(f"   … and Ben has bought {seats[0]} meanwhile …")
        ada.pay(payment, "captured", force=True)
        say(f"   … then {euros(payment['amount'])} arrive all the same (providers do that).")
        ended = ada.wait_for(
            booking,
            "the refund",
            lambda found: bool(found["payment"]) and found["payment"]["status"] == "refunded",
        )
        expect("the booking", ended["state"], "expired")
        ledger = self._sandbox.get("/test/ledger").json()["payments"]
        paid = [one for one in ledger if one["reference"] == booking["id"]]
        expect("captured less refunded", sum(p["captured"] - p["refunded"] for p in paid), 0)
        self._expect_mail(ada, "refund")
        say("   Every cent went back, by the provider's own ledger. Ada was told by mail.")

    def _reinstated(self, ada: Buyer, show: Json, seats: list[str]) -> None:
        say("\n7. A payment arrives late, and the seats are still free")
        booking = ada.hold(show, seats)
        payment = ada.checkout(booking)
        ada.wait_for(booking, "the lapse", lambda found: found["state"] == "expired")
        ada.pay(payment, "captured", force=True)
        ended = ada.wait_for(
            booking, "the confirmation", lambda found: found["state"] == "confirmed"
        )
        expect("refunds", ended["refunds"], [])
        expect("the seats", [seat["label"] for seat in ended["seats"]], sorted(seats))
        say(f"   {', '.join(seats)} are hers all the same: paid a little late, and confirmed.")

    def _expect_mail(self, buyer: Buyer, template: str) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            found = self._mail.get("/api/messages", params={"to": buyer.user["email"]}).json()
            for message in found["items"]:
                if f"-{template}-" in str(message["headers"]):
                    say(f"   Mail to {buyer.name}: “{message['subject']}”")
                    return
            time.sleep(0.1)
        raise WrongEnding(f"no {template} mail reached {buyer.name}")


def main() -> int:
    """Run the demo; 0 when every ending was right."""
    began = time.monotonic()
    say("Seathold demo: starting a stack of its own …")
    with tempfile.TemporaryDirectory(prefix="seathold-demo-") as folder:
        Path(folder).chmod(0o711)
        try:
            with Stack(Path(folder), ports="auto", env=DEMO_SETTINGS) as stack:
                say(f"The stack is up after {time.monotonic() - began:.0f} s.\n")
                Story(stack.info).run()
        except WrongEnding as wrong:
            say(f"\nThe demo failed. {wrong}")
            return 1
    say(f"\nEvery booking ended as it must. {time.monotonic() - began:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
