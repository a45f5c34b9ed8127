"""Accounts and sessions put together: what ``api/app.py`` opens for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis

from infra.ended_sessions import EndedSessions
from infra.opaque_tokens import OpaqueTokens
from infra.passwords import Argon2Passwords
from infra.postgres.database import Database
from infra.postgres.password import PostgresPasswords
from infra.postgres.profile import PostgresProfiles
from infra.postgres.second_factor import PostgresSecondFactors
from infra.postgres.session import PostgresSessions
from infra.postgres.staff import PostgresStaff
from infra.postgres.users import PostgresAccounts
from infra.settings import Settings
from infra.tokens import TokenSigner
from infra.totp import TotpCodes
from infra.turns import Turns
from services.password import PasswordDesk
from services.profile import ProfileDesk
from services.second_factor import SecondFactors
from services.session import Sessions
from services.staff import StaffDesk
from services.user import Accounts

# Beside those whose passwords are being hashed: what comes before and after it.
MORE_AT_THE_DOOR = 3


@dataclass(frozen=True, slots=True)
class People:
    signer: TokenSigner
    ended_sessions: EndedSessions
    sessions: Sessions
    door: Turns
    accounts: Accounts
    passwords: PasswordDesk
    factors: SecondFactors
    profiles: ProfileDesk
    staff: StaffDesk


@asynccontextmanager
async def open_people(
    settings: Settings, database: Database, redis: Redis
) -> AsyncIterator[People]:
    async with AsyncExitStack() as stack:
        hashing = Argon2Passwords()
        stack.callback(hashing.close)
        ended = await stack.enter_async_context(_ended_sessions(settings, redis))
        yield _put_together(settings, database, hashing, ended)


@asynccontextmanager
async def _ended_sessions(settings: Settings, redis: Redis) -> AsyncIterator[EndedSessions]:
    """On a connection of its own: requests that wait for the pool must not make it wait too."""
    alone = settings.model_copy(update={"db_pool_size": 1})
    database = Database(alone, application_name="seathold-api-sessions")
    ended = EndedSessions(database, redis, access_seconds=settings.access_token_seconds)
    try:
        async with ended.kept_fresh():
            yield ended
    finally:
        await database.close()


def _put_together(
    settings: Settings, database: Database, hashing: Argon2Passwords, ended: EndedSessions
) -> People:
    seed, also = settings.jwt_seed.get_secret_value(), settings.accepted_seeds
    signer = TokenSigner(seed, also=also, access_seconds=settings.access_token_seconds)
    opaque = OpaqueTokens(settings.key_ring)
    lasts = {"idle_seconds": settings.session_idle_seconds, "seconds": settings.session_seconds}
    sessions = Sessions(
        PostgresSessions(database, **lasts),
        opaque,
        signer,
        ended.announce,
        access_seconds=settings.access_token_seconds,
    )
    passwords = PasswordDesk(PostgresPasswords(database, opaque), hashing, ended.announce)
    factors = SecondFactors(
        PostgresSecondFactors(database), TotpCodes(settings.key_ring), passwords, ended.announce
    )
    return People(
        signer=signer,
        ended_sessions=ended,
        sessions=sessions,
        door=Turns(hashing.workers + MORE_AT_THE_DOOR),
        accounts=Accounts(PostgresAccounts(database, opaque, **lasts), hashing, sessions, factors),
        passwords=passwords,
        factors=factors,
        profiles=ProfileDesk(PostgresProfiles(database), ended.announce),
        staff=StaffDesk(PostgresStaff(database), hashing, passwords, ended.announce),
    )
