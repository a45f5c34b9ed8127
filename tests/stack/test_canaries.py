"""A person's details stand in one table and in what was sent to them, and nowhere else.

The demo's story is lived by people whose every detail is unlike anything else, and one of them
does besides all that an account can do; then each place that a stack writes to is searched for
them and for every credential that was handed out, and each search finds what is put there.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from uuid import uuid4

import httpx2
import orjson
import psycopg
import pyotp
import pytest
import redis
from temporalio.client import Client

from seathold.demo import DEMO_SETTINGS, Buyer, Story
from tests.kill.conftest import roomy_show
from tests.stack.command import Dev, running, wait_for
from tests.stack.person import Json, Person, Stores, forms, mails_to

pytestmark = pytest.mark.timeout(300)
# The worker erases what is left of a person beside the request.
ERASED_SECONDS = 60
# Where a living account's details may stand: with a refund, what its buyer wrote about it.
HOME = {"table users", "table refunds"}
REASON = "for the entrance"


@dataclass
class CanaryBuyer(Buyer):
    person: Person = field(default_factory=Person)

    def register(self) -> None:
        person = self.person
        body = {"email": person.email, "password": person.password, "name": person.name}
        answer = self.http.post("/api/auth/register", json={**body, "phone": person.phone})
        self.user = answer.raise_for_status().json()["user"]
        self.enter(answer.json())

    def enter(self, session: Json) -> None:
        self.person.remember(session)
        self.http.headers["Authorization"] = f"Bearer {session['access_token']}"


class CanaryStory(Story):
    """The demo's, with people to look for; ``Ada`` does the rest afterwards."""

    def __init__(self, info: Json, closing: ExitStack) -> None:
        super().__init__(info)
        self.buyers: dict[str, CanaryBuyer] = {}
        self._closing = closing
        for client in (self._mail, self._sandbox):
            closing.enter_context(client)

    def somebody(self, name: str) -> CanaryBuyer:
        http = httpx2.Client(base_url=self._info["api_url"], timeout=40)
        self._closing.enter_context(http)
        self.buyers[name] = CanaryBuyer(name, http, self._sandbox)
        return self.buyers[name]

    def _buyer(self, name: str) -> Buyer:
        buyer = self.somebody(name)
        buyer.register()
        return buyer


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    run_dir = tmp_path_factory.mktemp("canaries") / "run"
    with running(run_dir, "--ports", "auto", env=DEMO_SETTINGS) as dev:
        yield dev


@pytest.fixture(scope="module")
def stores(dev: Dev) -> Stores:
    return Stores(dev)


@pytest.fixture(scope="module")
def buyers(dev: Dev) -> Iterator[list[CanaryBuyer]]:
    """Who has lived through the demo, and through everything an account can do, well and badly."""
    with ExitStack() as closing:
        story = CanaryStory(dev.info, closing)
        story.run()
        go_on(dev, story.buyers["Ada"], story.somebody("Clerk"))
        yield list(story.buyers.values())


def go_on(dev: Dev, ada: CanaryBuyer, clerk: CanaryBuyer) -> None:
    mistype(ada)
    ask_for_money_back(ada)
    prove_the_address(dev, ada)
    forget_the_password(dev, ada)
    switch_codes_on(ada)
    be_a_partner_and_invite(dev, ada, clerk)
    change_password(ada)
    wait_for(lambda: len(mails_to(dev, ada.person)) >= 8, 60)


@pytest.fixture(scope="module")
def words(buyers: list[CanaryBuyer]) -> list[str]:
    return [word for buyer in buyers for word in buyer.person.words]


def log_in(buyer: CanaryBuyer, **more: str) -> None:
    body = {"email": buyer.person.email, "password": buyer.person.password, **more}
    buyer.enter(buyer.http.post("/api/auth/login", json=body).raise_for_status().json())


def mistype(buyer: CanaryBuyer) -> None:
    """What people send by mistake must not end in a log either."""
    http, person = buyer.http, buyer.person
    body = {"email": person.email, "password": person.new_password}
    assert http.post("/api/auth/login", json=body).status_code == 401
    assert http.post("/api/auth/register", json={**body, "name": person.name}).status_code == 409
    assert http.post("/api/auth/login", json={"email": person.email}).status_code == 422
    broken = f'{{"email": "{person.email}", "password": "{person.password}"'
    headers = {"Content-Type": "application/json"}
    assert http.post("/api/auth/login", content=broken, headers=headers).status_code in (400, 422)
    assert http.get(f"/api/movies/{person.email}").status_code == 404
    assert http.get("/api/movies", params={"q": person.name}).status_code == 200
    forged = {"Authorization": f"Bearer x.{person.secrets[0]}"}
    assert http.get("/api/me", headers=forged).status_code == 401


def ask_for_money_back(buyer: CanaryBuyer) -> None:
    items = buyer.http.get(f"/api/booking/user/{buyer.user['id']}").json()["items"]
    confirmed = next(one for one in items if one["state"] == "confirmed")
    asked = {"reason": f"call {buyer.person.phone}"}
    assert buyer.post(f"/api/booking/{confirmed['id']}/refund", asked).status_code == 202
    buyer.wait_for(confirmed, "the refund", lambda found: found["state"] == "refunded")


def mailed(dev: Dev, person: Person, page: str) -> str:
    """The code of the newest mail that leads to ``page``."""
    link = re.compile(rf"/{page}#(?:\w+=)?([\w.-]{{20,}})")

    def codes() -> list[str]:
        texts = [str(mail["text"]) for mail in mails_to(dev, person)]
        return [code for text in texts for code in link.findall(text)]

    wait_for(codes)
    person.secrets += codes()
    return codes()[-1]


def prove_the_address(dev: Dev, buyer: CanaryBuyer) -> None:
    code = mailed(dev, buyer.person, "verify")
    answer = buyer.http.post("/api/auth/verify-email", json={"token": code})
    assert answer.status_code == 204, answer.text


def forget_the_password(dev: Dev, buyer: CanaryBuyer) -> None:
    """Somebody knows both by then: the old one and the one that is chosen."""
    http, person = buyer.http, buyer.person
    asked = http.post("/api/auth/password/forgot", json={"email": person.email})
    assert asked.status_code == 202
    person.secrets.append(person.password)
    person.password = f"reset {person.password}"
    body = {"token": mailed(dev, person, "reset"), "password": person.password}
    assert http.post("/api/auth/password/reset", json=body).status_code == 204
    log_in(buyer)


def switch_codes_on(buyer: CanaryBuyer) -> None:
    http, person = buyer.http, buyer.person
    begun = http.post("/api/me/totp", json={"password": person.password}).json()
    code = pyotp.TOTP(begun["secret"]).now()
    shown = http.post("/api/me/totp/confirm", json={"code": code}).raise_for_status().json()
    person.secrets += [begun["secret"], *shown["recovery_codes"]]
    log_in(buyer, code=shown["recovery_codes"][0])
    refresh = {"refresh_token": person.secrets[-1]}
    buyer.enter(http.post("/api/auth/refresh", json=refresh).raise_for_status().json())


def be_a_partner_and_invite(dev: Dev, buyer: CanaryBuyer, clerk: CanaryBuyer) -> None:
    """Keys and signing secrets, and the acts of an owner, who invites the clerk."""
    person = buyer.person
    with httpx2.Client(base_url=dev.info["api_url"], timeout=40) as owner:
        session = owner.post("/api/auth/login", json=dev.info["admin"]).raise_for_status().json()
        person.remember(session)
        owner.headers["Authorization"] = f"Bearer {session['access_token']}"
        asked = {
            "account_id": buyer.user["id"],
            "name": "Machines",
            "scopes": ["events:read", "endpoints:write"],
            "reason": REASON,
        }
        made = owner.post("/api/admin/api-keys", json=asked).raise_for_status().json()
        path = f"/api/admin/api-keys/{made['id']}/rotate"
        again = owner.post(path, json={"reason": REASON}).raise_for_status().json()
        person.secrets += [made["key"], again["key"]]
        invited = {"email": clerk.person.email, "name": clerk.person.name, "reason": REASON}
        answer = owner.post("/api/admin/staff", json={**invited, "role": "box_office"})
        clerk.user = answer.raise_for_status().json()
    listen(buyer, again["key"])
    body = {"token": mailed(dev, clerk.person, "reset"), "password": clerk.person.password}
    assert clerk.http.post("/api/auth/password/reset", json=body).status_code == 204
    log_in(clerk)


def listen(buyer: CanaryBuyer, key: str) -> None:
    headers = {"X-API-Key": key}
    with httpx2.Client(base_url=buyer.http.base_url, timeout=40, headers=headers) as partner:
        hook = {"url": "http://127.0.0.1:9/", "event_types": ["booking.confirmed"]}
        made = partner.post("/api/partner/endpoints", json=hook).raise_for_status().json()
        path = f"/api/partner/endpoints/{made['id']}"
        again = partner.post(f"{path}/rotate").raise_for_status().json()
        assert partner.post(f"{path}/test").status_code == 202
        assert partner.get("/api/partner/events").status_code == 200
    buyer.person.secrets += [one["secret"].removeprefix("whsec_") for one in (made, again)]


def change_password(buyer: CanaryBuyer) -> None:
    person = buyer.person
    body = {"current_password": person.password, "new_password": person.new_password}
    assert buyer.http.post("/api/me/password", json=body).status_code == 204
    assert person.email in buyer.http.get("/api/me/export").text


def test_details_stand_in_the_table_of_users_alone(
    buyers: list[CanaryBuyer], words: list[str], stores: Stores
) -> None:
    assert len(words) > 40, "every credential was remembered"
    found = stores.found(words)
    assert found.keys() == HOME
    # Neither password nor token is anywhere, not even there. Who was invited left no number.
    details = set().union(*(buyer.person.details for buyer in buyers))
    assert set(found["table users"]) == details - {buyers[-1].person.phone}
    assert found["table refunds"] == [buyers[0].person.phone]


def test_each_search_finds_what_is_put_there(
    dev: Dev, stores: Stores, buyers: list[CanaryBuyer]
) -> None:
    planted = f"planted+{buyers[0].person.mark}"
    (dev.run_dir / "logs" / "planted.log").write_text(planted)
    # As a file that ends after it was listed; any other place is searched all the same.
    (dev.run_dir / "logs" / "gone.log").symlink_to("ended")
    with redis.Redis.from_url(dev.info["redis_url"]) as client:
        client.set("planted", planted)
        client.hset("planted-hash", "field", planted)
    with psycopg.connect(dev.info["migrate_database_url"], autocommit=True) as database:
        database.execute("CREATE TABLE planted (words text, raw bytea)")
        database.execute("INSERT INTO planted VALUES (%s, NULL)", [planted])
    asyncio.run(_start_unsealed(dev, planted))
    found = stores.found([planted])
    assert {"logs/planted.log", "redis", "table planted"} <= found.keys()
    assert any(place.startswith("temporal/") for place in found)
    with psycopg.connect(dev.info["migrate_database_url"], autocommit=True) as database:
        database.execute("UPDATE planted SET words = NULL, raw = %s", [planted.encode()])
        assert "table planted" in stores.found([planted])
        # Written for a URL, and in base64.
        for form in forms(planted)[1:]:
            database.execute("UPDATE planted SET words = %s, raw = NULL", [f"a{form}b"])
            assert "table planted" in stores.found([planted]), form
        database.execute("DROP TABLE planted")


async def _start_unsealed(dev: Dev, word: str) -> None:
    """What a client without our converter leaves in Temporal's store."""
    client = await Client.connect(dev.info["temporal_address"])
    await client.start_workflow("Nobody", word, id=f"planted-{word}", task_queue="nobody")


def test_after_an_erasure_they_stand_nowhere(
    stores: Stores, buyers: list[CanaryBuyer], words: list[str]
) -> None:
    for buyer in buyers:
        answer = buyer.http.delete("/api/me")
        assert answer.status_code == 204, answer.text
    wait_for(lambda: not stores.found(words), ERASED_SECONDS)
    assert {buyer.http.get("/api/me").status_code for buyer in buyers} == {401}


def lines_of(dev: Dev, process: str, request_id: str) -> list[Json]:
    """What the processes of that name logged under the request's id."""
    logs = sorted((dev.run_dir / "logs").glob(f"{process}*.log"))
    assert logs, f"there is no log of {process}"
    lines = [line for log in logs for line in log.read_text().splitlines() if request_id in line]
    return [orjson.loads(line) for line in lines]


def test_a_request_is_followed_by_its_id_from_the_api_into_the_worker(dev: Dev) -> None:
    """Each line of both names the booking too, so that either id leads to the other."""
    with (
        httpx2.Client(base_url=dev.info["api_url"], timeout=40) as http,
        httpx2.Client(base_url=dev.info["sandbox_url"], timeout=40) as sandbox,
    ):
        grace = Buyer("Grace", http, sandbox)
        grace.register()
        show = roomy_show(http)
        seatmap: Json = http.get(show["seatmap_url"], follow_redirects=True).json()
        label = seatmap["seats"][-1]["label"]
        asked = {name: f"{name}-{uuid4().hex}" for name in ("reserve", "extend", "cancel")}

        def ask(name: str, path: str, body: Json | None = None) -> Json:
            headers = {"X-Request-Id": asked[name]}
            answer = http.post(path, json=body or {}, headers=headers)
            assert answer.status_code in (200, 201), answer.text
            told: Json = answer.json()
            return told

        booking = ask("reserve", "/api/booking/reserve", {"show_id": show["id"], "seats": [label]})
        for name in ("extend", "cancel"):
            ask(name, f"/api/booking/{booking['id']}/{name}")
    for request_id, process in product(asked.values(), ("api", "worker")):
        wait_for(partial(lines_of, dev, process, request_id))
        for line in lines_of(dev, process, request_id):
            assert (line["request_id"], line["booking_id"]) == (request_id, booking["id"])
