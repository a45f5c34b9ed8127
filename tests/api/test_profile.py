"""One's own account: changed, taken along, erased."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from infra.postgres import profile
from readmodel import export
from tests.factories import create_hall
from tests.helpers.accounts import PASSWORD, bearer, new_email, open_account
from tests.helpers.mailed import letters_to
from tests.helpers.problems import assert_problem

Client = httpx2.AsyncClient
Json = dict[str, Any]

ADD_BOOKING = text("""
INSERT INTO bookings (id, user_id, show_id, state, currency, total_amount, seat_count,
    hold_expires_at, hold_max_expires_at)
VALUES (:id, :user, :show, :state, 'EUR', 1200, 1, now(), now())
""")
ADD_SEAT = text("""
INSERT INTO booking_seats (booking_id, label, price_class, amount) VALUES (:id, 'A1', 'standard', 1)
""")
ADD_REQUEST = text("""
INSERT INTO booking_requests (id, user_id, show_id, body_hash, seats, ticket_types, outcome)
VALUES (:id, :user, :show, '', '{A1}', '{standard}', :outcome)
""")
# Sent an hour before the account's own, which is the order that they are told in.
ADD_NOTICE = text("""
INSERT INTO notification_outbox (booking_id, user_id, channel, template, state, created_at, sent_at)
SELECT id, user_id, 'email', 'booking_confirmed', 'sent', now() - interval '1 hour', now()
FROM bookings WHERE id = ANY(CAST(:ids AS uuid[]))
""")
SETTLE = text("UPDATE booking_requests SET outcome = 'rejected' WHERE id = :id")
TABLES = text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
OF_USER = text("SELECT event_type, payload FROM events WHERE aggregate_id = :id ORDER BY sequence")


async def change(client: Client, session: Json, body: Json) -> httpx2.Response:
    return await client.patch("/api/me", json=body, headers=bearer(session))


async def erase(client: Client, session: Json) -> httpx2.Response:
    return await client.delete("/api/me", headers=bearer(session))


async def book(engine: AsyncEngine, session: Json, state: str) -> str:
    hall, booking_id = await create_hall(engine), uuid4()
    values = {"id": booking_id, "user": UUID(session["user"]["id"]), "show": hall.show_id}
    async with engine.begin() as connection:
        await connection.execute(ADD_BOOKING, {**values, "state": state})
        await connection.execute(ADD_SEAT, {"id": booking_id})
    return str(booking_id)


async def tables_with(engine: AsyncEngine, value: str) -> set[str]:
    """Which tables hold the text anywhere in a row."""
    found = set()
    async with engine.connect() as connection:
        for name in list(await connection.scalars(TABLES)):
            query = f'SELECT 1 FROM "{name}" AS t WHERE t::text ILIKE :part LIMIT 1'  # noqa: S608
            if await connection.scalar(text(query), {"part": f"%{value}%"}):
                found.add(name)
    return found


async def test_what_is_named_changes_and_the_rest_stays(
    client: Client, engine: AsyncEngine
) -> None:
    session = await open_account(client, phone="+4915112345")
    before = session["user"]
    changed = await change(client, session, {"name": " Ada King ", "notifications": {"sms": False}})
    assert changed.status_code == 200
    expected = {**before, "name": "Ada King", "notifications": {"email": True, "sms": False}}
    assert changed.json() == expected
    more = (await change(client, session, {"phone": None, "locale": "de-AT"})).json()
    assert (more["phone"], more["locale"], more["name"]) == (None, "de-AT", "Ada King")
    assert (await change(client, session, {})).json() == more
    assert (await client.get("/api/me", headers=bearer(session))).json() == more
    async with engine.connect() as connection:
        events = (await connection.execute(OF_USER, {"id": UUID(before["id"])})).all()
    assert [tuple(event) for event in events[1:]] == [
        ("ProfileChanged", {"fields": ["name", "notify_sms"]}),
        ("ProfileChanged", {"fields": ["locale", "phone"]}),
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": None},
        {"name": "Ada\r\nBcc: eve@example.test"},
        {"locale": "english"},
        {"locale": "../../etc"},
        {"locale": None},
        {"phone": "call me"},
        {"notifications": None},
        {"notifications": {"sms": "perhaps"}},
        {"notifications": {"post": True}},
        {"email": "eve@example.test"},
        {"email_verified": True},
        {"role": "owner"},
        {"id": "6d0f3f52-3c4b-4c0e-9a53-8c1f4a0a7b11"},
        {"password_hash": "x"},
        {"blocked_at": None},
    ],
    ids=str,
)
async def test_what_cannot_be_changed_changes_nothing(client: Client, body: Json) -> None:
    session = await open_account(client)
    assert_problem(await change(client, session, body), 422, "invalid")
    assert (await client.get("/api/me", headers=bearer(session))).json() == session["user"]


async def test_people_take_along_everything_that_is_stored_of_them(
    client: Client, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PAGE", 1)
    session = await open_account(client)
    stranger = await open_account(client)
    bookings = [await book(engine, session, state) for state in ("expired", "confirmed")]
    theirs = await book(engine, stranger, "confirmed")
    async with engine.begin() as connection:
        await connection.execute(ADD_NOTICE, {"ids": [bookings[0], theirs]})
    answer = await client.get("/api/me/export", headers=bearer(session))
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["cache-control"] == "no-store"
    found = answer.json()
    assert found["user"] == session["user"]
    assert [one["id"] for one in found["bookings"]] == bookings[::-1]
    assert [one["current"] for one in found["sessions"]] == [True]
    told = [(one["template"], one["state"], bool(one["sent_at"])) for one in found["messages"]]
    assert told == [("booking_confirmed", "sent", True), ("verify_email", "pending", False)]
    assert [one["type"] for one in found["events"]] == ["UserRegistered"]
    assert "argon2" not in answer.text


async def test_an_erased_person_is_nowhere_and_their_bookings_stay(
    client: Client, engine: AsyncEngine
) -> None:
    email, name = new_email(), f"Ada {uuid4().hex}"
    phone = f"+{uuid4().int % 10**14:014}"
    session = await open_account(client, email=email, name=name, phone=phone)
    booking = await book(engine, session, "confirmed")
    user_id = UUID(session["user"]["id"])
    for value in (email, name, phone):
        assert await tables_with(engine, value) == {"users"}, "the control: in one table alone"

    assert (await erase(client, session)).status_code == 204

    for value in (email, name, phone):
        assert await tables_with(engine, value) == set()
    answer = await client.get("/api/me", headers=bearer(session))
    assert_problem(answer, 401, "unauthenticated")
    renewed = await client.post(
        "/api/auth/refresh", json={"refresh_token": session["refresh_token"]}
    )
    assert_problem(renewed, 401, "invalid_token")
    again = await client.post("/api/auth/login", json={"email": email, "password": PASSWORD})
    assert_problem(again, 401, "invalid_credentials")
    async with engine.connect() as connection:
        kept = await connection.scalar(
            text("SELECT user_id FROM bookings WHERE id = :id"), {"id": UUID(booking)}
        )
        events = (await connection.execute(OF_USER, {"id": user_id})).all()
    assert kept == user_id
    assert [event.event_type for event in events] == ["UserRegistered", "UserErased"]
    reborn = await open_account(client, email=email)
    assert reborn["user"]["id"] != str(user_id), "the address is free, for somebody new"


async def ask_for(engine: AsyncEngine, session: Json, outcome: str | None) -> str:
    """A reserve that is on record, before it is a booking."""
    hall, booking_id = await create_hall(engine), uuid4()
    values = {"id": booking_id, "user": UUID(session["user"]["id"]), "show": hall.show_id}
    async with engine.begin() as connection:
        await connection.execute(ADD_REQUEST, {**values, "outcome": outcome})
    return str(booking_id)


@pytest.mark.parametrize("state", ["held", "expiring", "cancelling"])
async def test_an_account_with_a_booking_under_way_is_not_erased(
    client: Client, engine: AsyncEngine, state: str
) -> None:
    session = await open_account(client)
    booking = await book(engine, session, state)
    found = assert_problem(await erase(client, session), 409, "open_bookings")
    assert found["bookings"] == [booking]
    assert (await client.get("/api/me", headers=bearer(session))).status_code == 200


async def test_an_account_whose_reserve_is_pending_is_not_erased(
    client: Client, engine: AsyncEngine
) -> None:
    """Temporal may be away: once it is back, seats would be held for nobody."""
    session = await open_account(client)
    await ask_for(engine, session, "rejected")
    pending = await ask_for(engine, session, None)
    found = assert_problem(await erase(client, session), 409, "open_bookings")
    assert found["bookings"] == [pending]
    async with engine.begin() as connection:
        await connection.execute(SETTLE, {"id": UUID(pending)})
    assert (await erase(client, session)).status_code == 204


async def test_the_last_owner_is_not_erased(
    app: FastAPI, client: Client, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, other = await open_account(client), await open_account(client)
    ids = [UUID(one["user"]["id"]) for one in (session, other)]
    async with engine.begin() as connection:
        for id_ in ids:
            await connection.execute(
                text("UPDATE users SET role = 'owner' WHERE id = :id"), {"id": id_}
            )
    assert (await erase(client, other)).status_code == 204, "the control: there is another"
    # As if the owners of other tests were none.
    alone = text(f"SELECT id FROM users WHERE role = 'owner' AND id = '{ids[0]}' FOR UPDATE")  # noqa: S608
    monkeypatch.setattr(profile, "OTHER_OWNERS", alone)
    assert_problem(await erase(client, session), 409, "last_owner")


async def test_no_message_about_an_account_goes_out_after_its_erasure(
    client: Client, engine: AsyncEngine
) -> None:
    session = await open_account(client)
    assert await letters_to(engine, session["user"]["id"]) == ["verify_email"]
    assert (await erase(client, session)).status_code == 204
    async with engine.connect() as connection:
        kept = await connection.scalar(
            text("SELECT count(*) FROM account_tokens WHERE user_id = :id"),
            {"id": UUID(session["user"]["id"])},
        )
    assert kept == 0, "what a mail would carry opens nothing any more"
