"""A person's details stand in one table and in what was sent to them, and nowhere else.

One stack is lived in by a person whose every detail is unlike anything else; then each place a
stack writes to is searched for them, and each search is shown to find what is put there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from itertools import product
from uuid import uuid4

import httpx2
import orjson
import psycopg
import pytest
import redis
from temporalio.client import Client

from seathold.demo import DEMO_SETTINGS, Buyer
from tests.kill.conftest import roomy_show
from tests.stack.command import Dev, running, wait_for
from tests.stack.person import Json, Person, Stores, mails_to

# The worker erases what is left of a person beside the request.
ERASED_SECONDS = 60
# Where a living account's details may stand.
HOME = {"table users"}


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    run_dir = tmp_path_factory.mktemp("canaries") / "run"
    with running(run_dir, "--ports", "auto", env=DEMO_SETTINGS) as dev:
        yield dev


@pytest.fixture(scope="module")
def stores(dev: Dev) -> Stores:
    return Stores(dev)


@pytest.fixture(scope="module")
def buyer(dev: Dev) -> Iterator[Buyer]:
    with (
        httpx2.Client(base_url=dev.info["api_url"], timeout=40) as http,
        httpx2.Client(base_url=dev.info["sandbox_url"], timeout=40) as sandbox,
    ):
        yield Buyer("Canary", http, sandbox)


@pytest.fixture(scope="module")
def person(dev: Dev, buyer: Buyer) -> Person:
    """Somebody who has done everything an account can do, well and badly."""
    person = Person()
    sign_up(buyer, person)
    mistype(buyer, person)
    buy(buyer)
    change_password(buyer, person)
    wait_for(lambda: len(mails_to(dev, person)) >= 2)
    return person


def sign_up(buyer: Buyer, person: Person) -> None:
    body = {"email": person.email, "password": person.password, "name": person.name}
    first = buyer.http.post("/api/auth/register", json={**body, "phone": person.phone}).json()
    buyer.user = first["user"]
    person.remember(first)
    second = buyer.http.post("/api/auth/refresh", json={"refresh_token": first["refresh_token"]})
    person.remember(second.json())
    again = {"email": person.email, "password": person.password}
    third = buyer.http.post("/api/auth/login", json=again).json()
    person.remember(third)
    buyer.http.headers["Authorization"] = f"Bearer {third['access_token']}"


def mistype(buyer: Buyer, person: Person) -> None:
    """What people send by mistake must not end in a log either."""
    http = buyer.http
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


def change_password(buyer: Buyer, person: Person) -> None:
    body = {"current_password": person.password, "new_password": person.new_password}
    assert buyer.http.post("/api/me/password", json=body).status_code == 204
    assert person.email in buyer.http.get("/api/me/export").text


def buy(buyer: Buyer) -> None:
    """One booking that is paid, one whose payment fails and that lapses, one cancelled."""
    show = roomy_show(buyer.http)
    seatmap: Json = buyer.http.get(show["seatmap_url"], follow_redirects=True).json()
    labels = [seat["label"] for seat in seatmap["seats"]]
    paid, failed, given_up = (buyer.hold(show, [labels[at], labels[at + 1]]) for at in (0, 2, 4))
    buyer.pay(buyer.checkout(paid), "captured")
    buyer.pay(buyer.checkout(failed), "failed")
    buyer.post(f"/api/booking/{given_up['id']}/cancel", {"reason": "plans changed"})
    buyer.wait_for(paid, "the confirmation", lambda found: found["state"] == "confirmed")
    buyer.wait_for(failed, "the lapse", lambda found: found["state"] == "expired")


def test_details_stand_in_the_table_of_users_alone(person: Person, stores: Stores) -> None:
    found = stores.found(person.words)
    assert found.keys() == HOME
    # Neither password nor token is anywhere, not even there.
    details = {person.email, person.name, person.phone}
    assert set(found["table users"]) == details


def test_each_search_finds_what_is_put_there(dev: Dev, stores: Stores, person: Person) -> None:
    planted = f"planted-{person.mark}"
    (dev.run_dir / "logs" / "planted.log").write_text(planted)
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
        database.execute("DROP TABLE planted")


async def _start_unsealed(dev: Dev, word: str) -> None:
    """What a client without our converter leaves in Temporal's store."""
    client = await Client.connect(dev.info["temporal_address"])
    await client.start_workflow("Nobody", word, id=f"planted-{word}", task_queue="nobody")


def test_after_an_erasure_they_stand_nowhere(
    dev: Dev, stores: Stores, buyer: Buyer, person: Person
) -> None:
    answer = buyer.http.delete("/api/me")
    assert answer.status_code == 204, answer.text
    wait_for(lambda: not stores.found(person.words), ERASED_SECONDS)
    assert buyer.http.get("/api/me").status_code == 401


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
