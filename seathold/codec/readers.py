"""Who may read: staff who logged in at the API, asked about again while they read."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2

# Who answers for bookings as a whole. Others see what they need in the API.
ROLES = frozenset({"owner", "manager", "auditor"})
SESSION_SECONDS = 8 * 3600
# A session that was ended at the API is refused here this much later at most.
ASK_AGAIN_SECONDS = 30
MAX_READERS = 1000
# What never reached the API changed nothing there.
NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class Refused(Exception):
    """Nobody is let in on this: ``reason`` is a sentence for the person."""

    def __init__(self, reason: str, status: int = 401) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


@dataclass
class Reader:
    """One log-in here. Both tokens stay in this process; the browser has only its key."""

    user_id: str
    access_token: str
    refresh_token: str
    ends_at: float
    ask_at: float
    # While the API is asked. A refresh token works once, so whoever comes meanwhile waits for it.
    asking: asyncio.Task[None] | None = None


class Readers:
    """Log-ins, kept in memory: a restart asks everybody to log in again.

    ``second_factor``: only accounts that have one are let in, as at the API.
    """

    def __init__(
        self,
        api: httpx2.AsyncClient,
        *,
        second_factor: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._second_factor = second_factor
        self._clock = clock
        self._readers: OrderedDict[str, Reader] = OrderedDict()

    async def log_in(self, email: str, password: str, code: str) -> str:
        """The key of a new log-in.

        Raises:
            Refused: wrong, not staff that may read, or the API does not answer.
        """
        body = {"email": email, "password": password}
        signed_in = await self._post("/api/auth/login", body | ({"code": code} if code else {}))
        try:
            self._require_staff(signed_in["user"])
        except Refused:
            await self._end(signed_in["refresh_token"])
            raise
        now, key = self._clock(), secrets.token_urlsafe(32)
        self._readers[key] = Reader(
            user_id=signed_in["user"]["id"],
            access_token=signed_in["access_token"],
            refresh_token=signed_in["refresh_token"],
            ends_at=now + SESSION_SECONDS,
            ask_at=now + ASK_AGAIN_SECONDS,
        )
        while len(self._readers) > MAX_READERS:
            self._readers.popitem(last=False)
        return key

    async def reader(self, key: str) -> str:
        """The id of the account behind ``key``.

        Raises:
            Refused: not logged in, or no longer; or the API does not answer.
        """
        reader, now = self._readers.get(key), self._clock()
        if reader is None or now >= reader.ends_at:
            self._readers.pop(key, None)
            raise Refused("Log in first.")
        if now >= reader.ask_at:
            # A task of its own: a caller who goes away must not lose the token that was answered.
            if reader.asking is None:
                reader.asking = asyncio.create_task(self._ask_again(key, reader))
            await asyncio.shield(reader.asking)
        return reader.user_id

    async def log_out(self, key: str) -> None:
        """End the log-in, here and at the API; unknown keys are nobody's."""
        reader = self._readers.pop(key, None)
        if reader is not None:
            await self._end(reader.refresh_token)

    async def _ask_again(self, key: str, reader: Reader) -> None:
        try:
            pair = await self._post("/api/auth/refresh", {"refresh_token": reader.refresh_token})
            self._require_staff(pair["user"])
        except Refused as error:
            if error.status != 503:
                self._readers.pop(key, None)
            elif isinstance(error.__cause__, httpx2.HTTPError):
                await self._end_if_heard(key, reader, error.__cause__)
            raise
        finally:
            reader.asking = None
        reader.access_token, reader.refresh_token = pair["access_token"], pair["refresh_token"]
        reader.ask_at = self._clock() + ASK_AGAIN_SECONDS

    async def _end_if_heard(self, key: str, reader: Reader, error: httpx2.HTTPError) -> None:
        """An answer that was lost may have used the token up: sent again, it would look stolen."""
        if not isinstance(error, NOT_SENT):
            self._readers.pop(key, None)
            await self._end(reader.refresh_token)

    def _require_staff(self, user: dict[str, Any]) -> None:
        if user["role"] not in ROLES:
            raise Refused("Your role does not read workflows.", 403)
        if self._second_factor and not user["second_factor"]:
            raise Refused("Your account needs a second factor first: POST /api/me/totp.", 403)

    async def _end(self, refresh_token: str) -> None:
        try:
            await self._api.post("/api/auth/logout", json={"refresh_token": refresh_token})
        except httpx2.HTTPError:
            return  # it ends by itself

    async def _post(self, path: str, body: dict[str, str]) -> dict[str, Any]:
        try:
            answer = await self._api.post(path, json=body)
        except httpx2.HTTPError as error:
            raise Refused("The API does not answer; try again.", 503) from error
        if answer.status_code == 200:
            found: dict[str, Any] = answer.json()
            return found
        if answer.status_code in (429, 503):
            raise Refused("The API has no time now; try again in a moment.", 503)
        raise Refused("Address, password or code is wrong.")
