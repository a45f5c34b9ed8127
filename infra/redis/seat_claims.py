"""Seat pre-claims in Redis: one key a seat, one script and one round trip a decision."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from domain.limits import PRECLAIM_LEASE_SECONDS
from infra.redis.client import Breaker
from infra.redis.news import STAMP_SECONDS, seats_stamp
from services.preclaim import (
    ActiveClaim,
    Lost,
    NotLoaded,
    PreclaimsAway,
    SeatPreclaims,
    Won,
)

LEASE_MS = PRECLAIM_LEASE_SECONDS * 1000
# Each load renews the marks that PostgreSQL knows. One that it does not (from an old snapshot, or
# a failover, or written by a worker that slept through a refund) would keep a seat off sale, so it
# ends by itself; and after the marker, for while that stands an absent mark means a free seat.
LOADED_SECONDS = 600
SOLD_SECONDS = 900
# A script stops the server for everybody: 500 marks take it about a millisecond.
MARKS_PER_SCRIPT = 500
LOAD_TRIES = 5
NO_MARK = ("", "")

assert SOLD_SECONDS >= LOADED_SECONDS + 60, "a load may take a while to write all its marks"

SCRIPTS = Path(__file__).parent / "scripts"
CLAIM, LOAD, MARK, RELEASE, WRITE_BACK = (
    (SCRIPTS / f"{name}.lua").read_text(encoding="utf-8")
    for name in ("claim", "load", "mark", "release", "write_back")
)

ReadClaims = Callable[[Sequence[str] | None], Awaitable[Sequence[ActiveClaim]]]


class RedisSeatPreclaims(SeatPreclaims):
    """See the port. Every key of a show carries its hash tag, so a cluster keeps them together.

    ``{show:<id>}:seat:<LABEL>`` holds ``<booking id>``, ``sold:<booking id>`` or ``blocked``;
    ``{show:<id>}:loaded`` says for a while that absent keys mean free seats; ``{show:<id>}:epoch``
    changes with every release, so that a load which read PostgreSQL before it leaves no ghost. The
    scripts that follow a commit also tell the readers, see ``infra.redis.news``, without a trip of
    its own.
    """

    def __init__(self, redis: Redis, *, breaker: Breaker | None = None) -> None:
        self._redis = redis
        self._breaker = breaker or Breaker()
        self._loads: dict[UUID, asyncio.Task[None]] = {}
        self._claim = redis.register_script(CLAIM)
        self._load = redis.register_script(LOAD)
        self._mark = redis.register_script(MARK)
        self._release = redis.register_script(RELEASE)
        self._write_back = redis.register_script(WRITE_BACK)

    async def claim(
        self, show_id: UUID, labels: Sequence[str], token: UUID
    ) -> Won | Lost | NotLoaded:
        keys = [*_state_keys(show_id), *_seat_keys(show_id, labels)]
        with self._reaching():
            answer = await self._claim(keys, (str(token), LEASE_MS))
        match answer:
            case [1, epoch]:
                return Won(tuple(labels), token, epoch.decode())
            case [2, *places]:
                return Lost(tuple(labels[place - 1] for place in places))
            case _:
                return NotLoaded()

    async def load(self, show_id: UUID, read_claims: ReadClaims) -> None:
        task = self._loads.get(show_id)
        if task is None:
            task = asyncio.create_task(self._load_show(show_id, read_claims))
            self._loads[show_id] = task
            task.add_done_callback(lambda _: self._loads.pop(show_id))
        # A caller that goes away must not take the load from the others.
        await asyncio.shield(task)

    async def promote(
        self, show_id: UUID, labels: Sequence[str], token: UUID, ttl_seconds: int
    ) -> None:
        await self._put(show_id, labels, (str(token), str(token), ttl_seconds * 1000))

    async def sell(self, show_id: UUID, labels: Sequence[str], token: UUID) -> None:
        await self._put(show_id, labels, (str(token), f"sold:{token}", SOLD_SECONDS * 1000))

    async def release(self, show_id: UUID, labels: Sequence[str], token: UUID) -> None:
        _, epoch = _state_keys(show_id)
        with self._reaching():
            await self._release(
                [seats_stamp(show_id), epoch, *_seat_keys(show_id, labels)],
                (str(token), str(show_id), STAMP_SECONDS),
            )

    async def forget(self, show_id: UUID, labels: Sequence[str], token: UUID) -> None:
        # In this order: a load in between would not be undone, only made once more.
        await self.release(show_id, labels, token)
        loaded_key, _ = _state_keys(show_id)
        with self._reaching():
            await self._redis.delete(loaded_key)

    async def _put(self, show_id: UUID, labels: Sequence[str], mark: tuple[str, str, int]) -> None:
        with self._reaching():
            await self._mark(
                [seats_stamp(show_id), *_seat_keys(show_id, labels)],
                (*mark, str(show_id), STAMP_SECONDS),
            )

    async def write_back(self, show_id: UUID, won: Won, taken: Sequence[ActiveClaim]) -> None:
        marks = {claim.label: _mark_of(claim) for claim in taken if _lives(claim)}
        labels = list(dict.fromkeys((*won.labels, *marks)))
        pairs = (marks.get(label, NO_MARK) for label in labels)
        _, epoch = _state_keys(show_id)
        with self._reaching():
            await self._write_back(
                [epoch, *_seat_keys(show_id, labels)],
                (won.epoch, str(won.token), *chain.from_iterable(pairs)),
            )

    async def taken(self, show_id: UUID, labels: Sequence[str]) -> set[str] | NotLoaded:
        loaded_key, _ = _state_keys(show_id)
        with self._reaching():
            loaded, *marks = await self._redis.mget([loaded_key, *_seat_keys(show_id, labels)])
        if loaded is None:
            return NotLoaded()
        return {label for label, mark in zip(labels, marks, strict=True) if mark is not None}

    async def _load_show(self, show_id: UUID, read_claims: ReadClaims) -> None:
        """Other processes may load the same show at the same time: the marks are the same."""
        again: tuple[str, list[str]] | None = None
        for _ in range(LOAD_TRIES):
            # Where seats are freed during every whole read, a short one comes to an end.
            epoch, labels = again or (await self._begin_load(show_id), None)
            if epoch is None:
                return
            live = [claim for claim in await read_claims(labels) if _lives(claim)]
            again = await self._write_marks(show_id, epoch, live)
            if again is not None and not again[1]:
                return
        raise PreclaimsAway("seats of the show are freed faster than they can be read")

    async def _begin_load(self, show_id: UUID) -> str | None:
        """The epoch to read PostgreSQL under; None when the show is loaded."""
        loaded_key, epoch_key = _state_keys(show_id)
        with self._reaching():
            async with self._redis.pipeline(transaction=True) as pipe:
                # Starts anywhere: after a flush no count may meet an epoch of before.
                pipe.set(epoch_key, secrets.randbits(48), nx=True)
                pipe.mget(loaded_key, epoch_key)
                _, (loaded, epoch) = await pipe.execute()
        return None if loaded is not None else epoch.decode()

    async def _write_marks(
        self, show_id: UUID, epoch: str, claims: Sequence[ActiveClaim]
    ) -> tuple[str, list[str]] | None:
        """The epoch by now and the labels to read again under it; None: all was lost meanwhile.

        A release that comes after a part of them deletes its own.
        """
        newer, unsettled = epoch, list[str]()
        last = max(len(claims) - 1, 0) // MARKS_PER_SCRIPT
        for part in range(last + 1):
            some = claims[part * MARKS_PER_SCRIPT : (part + 1) * MARKS_PER_SCRIPT]
            keys = _seat_keys(show_id, [claim.label for claim in some])
            marks = chain.from_iterable(_mark_of(claim) for claim in some)
            loaded_ms = LOADED_SECONDS * 1000 if part == last and not unsettled else 0
            with self._reaching():
                answer = await self._load(
                    [*_state_keys(show_id), *keys], (epoch, loaded_ms, *marks)
                )
            if not answer:
                return None
            newer = answer[0].decode()
            unsettled += [some[place - 1].label for place in answer[1:]]
        return newer, unsettled

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Turn every failure of Redis into ``PreclaimsAway``; tell the breaker how it went."""
        if not self._breaker.allows():
            raise PreclaimsAway("Redis was away a moment ago")
        try:
            yield
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            self._breaker.failed()
            raise PreclaimsAway("Redis is away") from error
        except RedisError as error:
            self._breaker.succeeded()
            raise PreclaimsAway("Redis refuses the command") from error
        self._breaker.succeeded()


def _state_keys(show_id: UUID) -> tuple[str, str]:
    """The loaded marker and the epoch."""
    return f"{{show:{show_id}}}:loaded", f"{{show:{show_id}}}:epoch"


def _seat_keys(show_id: UUID, labels: Sequence[str]) -> list[str]:
    prefix = f"{{show:{show_id}}}:seat:"
    return [prefix + label for label in labels]


def _lives(claim: ActiveClaim) -> bool:
    return claim.ttl_seconds is None or claim.ttl_seconds > 0


def _mark_of(claim: ActiveClaim) -> tuple[str, str | int]:
    """The value of the seat's key and its life in ms."""
    if claim.state == "held":
        assert claim.ttl_seconds is not None, "ActiveClaim promises it"
        return str(claim.booking_id), claim.ttl_seconds * 1000
    mark = "blocked" if claim.state == "blocked" else f"sold:{claim.booking_id}"
    return mark, SOLD_SECONDS * 1000
