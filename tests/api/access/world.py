"""Who calls, and the things they call about: made once, ended before they are used.

Every booking here is cancelled, every session and account is this world's own: nothing waits for
a loop, so that no other test meets it.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import orjson
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import Message

from domain.access import Scope
from domain.booking import CloseReason
from domain.case import CaseKind
from domain.steps import CloseStep
from domain.user import Role, User
from infra.postgres.session import as_user
from infra.postgres.users import BY_KEY
from infra.tokens import TokenSigner
from services import booking as bookings
from services import case
from services.case import CaseChange
from services.partner import Owner, Wish
from services.staff import Act
from tests.factories import Hall, create_hall, create_user

PARAMETER = re.compile(r"{(\w+)(?::path)?}")
OWN, FOREIGN, MISSING = "own", "foreign", "missing"
# What belongs to nobody, so that one's own and another's are the same.
NOBODYS = ("show_id", "movie_id", "case_id", "staff_id", "key_id", "provider", "ticket", "rest")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Person:
    """An account with a session or a key. ``dead``: their token is none any more.

    ``scopes``: those of the API key that asks for them; None: they have logged in.
    """

    name: str
    user: User
    token: str
    session_id: UUID
    booking_id: UUID
    dead: bool = False
    scopes: frozenset[Scope] | None = None

    @property
    def headers(self) -> dict[str, str]:
        if self.scopes is not None and len(self.scopes) == len(Scope):
            return {"X-API-Key": self.token}
        return {"Authorization": f"Bearer {self.token}"}


@dataclass
class World:
    app: FastAPI
    engine: AsyncEngine
    hall: Hall
    shared: dict[str, UUID]
    people: dict[str, Person] = field(default_factory=dict)

    async def add(self, name: str, role: Role) -> Person:
        self.people[name] = person = await self._person(name, role)
        return person

    async def again(self, person: Person) -> Person:
        """Somebody like them, whose account and session may be spent."""
        return await self._person(person.name, person.user.role, booking_id=person.booking_id)

    async def thing(self, name: str, which: str, caller: Person | None) -> UUID | str:
        """The id that stands for ``name``."""
        if which == MISSING:
            return uuid4()
        if name in NOBODYS:
            return self.shared.get(name, "sandbox")
        owner = self._owner(which, caller)
        if name in ("endpoint_id", "delivery_id"):
            return (await self._endpoint(owner))[name]
        return {"booking_id": owner.booking_id, "user_id": owner.user.id}[name]

    async def _endpoint(self, owner: Person) -> dict[str, UUID]:
        """A disabled one in place of the last, with a delivery that was skipped."""
        await self.remove_endpoints(owner)
        desk, whose = self.app.state.parts.partners, Owner(owner.user.id, None)
        id_, _ = await desk.create(
            whose, url="http://127.0.0.1:9/hook", description="", event_types=["show.cancelled"]
        )
        delivery_id = await desk.send_test(whose, id_)
        await desk.change(whose, id_, None, Wish(None, None, None, enabled=False))
        return {"endpoint_id": id_, "delivery_id": delivery_id}

    async def remove_endpoints(self, *owners: Person) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(
                text("DELETE FROM partner_endpoints WHERE owner_id = ANY(:ids)"),
                {"ids": [owner.user.id for owner in owners]},
            )

    def _owner(self, which: str, caller: Person | None) -> Person:
        """Who the thing belongs to: for who is nobody, everything is another's."""
        stranger = self.people["user" if caller and caller.name == "other" else "other"]
        return caller if which == OWN and caller is not None else stranger

    async def open_session(self, user: User) -> tuple[str, UUID]:
        sessions = self.app.state.parts.sessions
        new = sessions.prepare(None)
        signed_in = await sessions.open(user, new, password_hash="x")
        assert signed_in is not None
        return signed_in.access_token, new.id

    async def _person(self, name: str, role: Role, *, booking_id: UUID | None = None) -> Person:
        id_ = await create_user(self.engine)
        async with self.engine.begin() as connection:
            await connection.execute(
                text("UPDATE users SET role = :role WHERE id = :id"), {"role": role, "id": id_}
            )
        async with self.app.state.parts.database.statements() as session:
            user = as_user(await session.one(BY_KEY, key=f"{id_}@example.test"))
        token, session_id = await self.open_session(user)
        booking_id = booking_id or await self._cancelled_booking(id_)
        return Person(name, user, token, session_id, booking_id)

    async def _cancelled_booking(self, user_id: UUID) -> UUID:
        input = self.hall.input(user_id=str(user_id))
        begin = self.app.state.parts.begin
        async with begin() as tx:
            await tx.bookings.add_request(input, key_hash=None, body_hash=b"body")
            await bookings.hold(tx, input)
        async with begin() as tx:
            step = CloseStep(input.booking_id, CloseReason.CANCELLED, str(user_id))
            await bookings.begin_close(tx, step)
        return UUID(input.booking_id)


async def make_world(app: FastAPI, engine: AsyncEngine) -> World:
    hall = await create_hall(engine)
    async with engine.connect() as connection:
        query = text("SELECT movie_id FROM shows WHERE id = :id")
        movie_id = await connection.scalar(query, {"id": hall.show_id})
    shared = {"show_id": hall.show_id, "movie_id": movie_id, "case_id": await _case(app)}
    world = World(app, engine, hall, shared)
    for name, role in [
        ("user", Role.USER),
        ("other", Role.USER),
        *((one.value, one) for one in Role if one is not Role.USER),
    ]:
        await world.add(name, role)
    # A scanner who calls nothing, to be looked at.
    somebody = await world.again(world.people["scanner"])
    shared["staff_id"] = somebody.user.id
    for role in (Role.USER, Role.OWNER):
        await _add_dead(world, role)
    for lacks in Scope:
        await _add_key(world, f"a key without {lacks}", set(Scope) - {lacks})
    every = await _add_key(world, "a key with every scope", set(Scope))
    revoked = await _add_key(world, "a revoked key", set(Scope))
    act = Act(every.user.id, "for the matrix", None)
    await app.state.parts.api_keys.revoke(revoked.session_id, act)
    revoked.dead, shared["key_id"] = True, revoked.session_id
    return world


async def _add_key(world: World, name: str, scopes: set[Scope]) -> Person:
    """A partner's account, for which a key speaks; sent as either of two headers."""
    person = await world.add(name, Role.USER)
    person.scopes = frozenset(scopes)
    person.session_id, person.token = await world.app.state.parts.api_keys.create(
        person.user.id,
        name=name,
        scopes=person.scopes,
        per_minute=60,
        days=None,
        act=Act(person.user.id, "for the matrix", None),
    )
    return person


async def _add_dead(world: World, role: Role) -> None:
    """A token that has run out, and one whose session was ended: of who might do most."""
    parts = world.app.state.parts
    expired = await world.add(f"{role} with an expired token", role)
    seed = parts.settings.jwt_seed.get_secret_value()
    past = TokenSigner(seed, access_seconds=600, clock=lambda: time.time() - 601)
    expired.token, expired.dead = past.issue(expired.user.id, role, expired.session_id), True
    revoked = await world.add(f"{role} with a revoked session", role)
    await parts.sessions.end(revoked.user.id, revoked.session_id)
    revoked.dead = True


async def _case(app: FastAPI) -> UUID:
    dedupe = uuid4().hex
    async with app.state.parts.begin() as tx:
        tx.cases.open(CaseKind.DIFFERENCE, dedupe=dedupe, summary="For the matrix.")
    async with app.state.parts.database.statements() as session:
        row = await session.one(text("SELECT id FROM cases WHERE dedupe = :it"), it=dedupe)
    found: UUID = row.id
    return found


async def leave(world: World) -> None:
    """No loop is to find anything of it waiting."""
    await world.remove_endpoints(*world.people.values())
    change = CaseChange(world.shared["case_id"], None, world.people["owner"].user.id, None)
    async with world.app.state.parts.begin() as tx:
        await case.resolve(tx, change, "the matrix is done")


async def call(
    app: FastAPI, method: str, url: str, headers: Mapping[str, str], body: Any = None
) -> Answer:
    """One request, without a client's own work; a stream is left once it has begun."""
    path, _, query = url.partition("?")
    raw = b"" if body is None else orjson.dumps(body)
    sent = {
        **headers,
        **({"Content-Type": "application/json", "Content-Length": str(len(raw))} if raw else {}),
    }
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [
            (b"host", b"api.test"),
            *((name.lower().encode(), value.encode()) for name, value in sent.items()),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("api.test", 80),
        "state": {},
    }
    messages: list[Message] = []
    begun = asyncio.Event()

    async def receive() -> Message:
        if begun.is_set():
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": raw, "more_body": False}

    async def send(message: Message) -> None:
        messages.append(message)
        if message.get("more_body"):
            begun.set()

    await asyncio.wait_for(app(scope, receive, send), 20)
    start = messages[0]
    told = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], told, b"".join(one.get("body", b"") for one in messages[1:]))
