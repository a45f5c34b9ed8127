"""Loads of a show on a real server, against releases and flushes at the worst moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from infra.redis.seat_claims import (
    LOAD,
    LOAD_TRIES,
    LOADED_SECONDS,
    MARKS_PER_SCRIPT,
    SOLD_SECONDS,
    RedisSeatPreclaims,
)
from services.preclaim import ActiveClaim, Lost, NotLoaded, PreclaimsAway, Won
from tests.helpers.hall import HOLD_SECONDS, Hall, held, nothing, sold


@pytest.fixture
def preclaims(redis: Redis) -> RedisSeatPreclaims:
    return RedisSeatPreclaims(redis)


class TestLoad:
    async def test_it_copies_every_state_in_several_scripts(
        self, redis: Redis, preclaims: RedisSeatPreclaims
    ) -> None:
        show, booking = Hall(redis, uuid4()), uuid4()
        claims = [sold(f"Z{i}", booking) for i in range(2 * MARKS_PER_SCRIPT)]
        claims += [
            held("A1", booking),
            ActiveClaim("A2", None, "blocked", None),
            held("A3", uuid4(), ttl_seconds=0),
        ]

        async def read(_: Sequence[str] | None) -> list[ActiveClaim]:
            return claims

        await preclaims.load(show.id, read)
        labels = [claim.label for claim in claims]
        assert await preclaims.taken(show.id, [*labels, "A4"]) == set(labels) - {"A3"}
        assert await show.mark("Z0") == f"sold:{booking}"
        assert SOLD_SECONDS - 60 < await show.ttl_seconds("Z0") <= SOLD_SECONDS
        assert await show.mark("A2") == "blocked"
        assert await show.mark("A1") == str(booking)
        assert HOLD_SECONDS - 60 < await show.ttl_seconds("A1") <= HOLD_SECONDS
        assert isinstance(await preclaims.claim(show.id, ["A1"], booking), Won)
        assert await preclaims.claim(show.id, ["A1", "A2", "A3"], uuid4()) == Lost(("A1", "A2"))

    async def test_what_it_missed_is_loaded_anew(
        self, redis: Redis, preclaims: RedisSeatPreclaims
    ) -> None:
        show, booking = Hall(redis, uuid4()), uuid4()
        await preclaims.load(show.id, nothing)
        # Sold in PostgreSQL meanwhile, and believed to be free, as a claim by its rival shows.
        assert isinstance(await preclaims.claim(show.id, ["A1"], uuid4()), Won)
        await show.expire("A1")
        await preclaims.forget(show.id, ["A1"], booking)
        assert isinstance(await preclaims.claim(show.id, ["A1"], uuid4()), NotLoaded)

    async def test_a_load_that_read_what_was_missed_reads_it_again(
        self, redis: Redis, preclaims: RedisSeatPreclaims
    ) -> None:
        show, booking, reads = Hall(redis, uuid4()), uuid4(), list[Sequence[str] | None]()

        async def read(labels: Sequence[str] | None) -> list[ActiveClaim]:
            reads.append(labels)
            if len(reads) > 1:
                return [sold("A1", booking)]
            await preclaims.promote(show.id, ["A1"], booking, 1)
            await preclaims.forget(show.id, ["A1"], booking)
            return [held("A1", booking, ttl_seconds=1)]

        await preclaims.load(show.id, read)
        assert reads == [None, ["A1"]]
        assert await show.mark("A1") == f"sold:{booking}"

    async def test_callers_at_once_share_one_read(self, preclaims: RedisSeatPreclaims) -> None:
        reads, reading, go = 0, asyncio.Event(), asyncio.Event()

        async def read(_: Sequence[str] | None) -> list[ActiveClaim]:
            nonlocal reads
            reads += 1
            reading.set()
            await go.wait()
            return []

        show_id = uuid4()
        loads = [asyncio.create_task(preclaims.load(show_id, read)) for _ in range(50)]
        await reading.wait()
        loads[0].cancel()
        go.set()
        outcomes = await asyncio.gather(*loads, return_exceptions=True)
        assert isinstance(outcomes[0], asyncio.CancelledError)
        assert outcomes[1:] == [None] * 49
        await preclaims.load(show_id, read)
        assert reads == 1

    async def test_two_processes_may_load_at_once(
        self, redis: Redis, preclaims: RedisSeatPreclaims
    ) -> None:
        show, booking, both = Hall(redis, uuid4()), uuid4(), asyncio.Barrier(2)

        async def read(_: Sequence[str] | None) -> list[ActiveClaim]:
            await both.wait()
            return [sold("A1", booking)]

        other = RedisSeatPreclaims(redis)
        await asyncio.gather(preclaims.load(show.id, read), other.load(show.id, read))
        assert await preclaims.taken(show.id, ["A1", "A2"]) == {"A1"}

    async def test_what_the_read_raises_comes_out_and_the_next_load_starts_anew(
        self, preclaims: RedisSeatPreclaims
    ) -> None:
        async def read(_: Sequence[str] | None) -> list[ActiveClaim]:
            raise LookupError("the database is away")

        show_id = uuid4()
        with pytest.raises(LookupError):
            await preclaims.load(show_id, read)
        assert await preclaims.taken(show_id, ["A1"]) == NotLoaded()
        await preclaims.load(show_id, nothing)
        assert await preclaims.taken(show_id, ["A1"]) == set()

    async def test_a_release_during_the_read_leaves_no_ghost(
        self, redis: Redis, preclaims: RedisSeatPreclaims
    ) -> None:
        show = Hall(redis, uuid4())
        assert await load_while_released(preclaims, show) == 2
        assert await preclaims.taken(show.id, ["A1"]) == set()

    async def test_without_the_epoch_the_ghost_is_there(self, redis: Redis) -> None:
        """Negative control: the test above fails once the load script ignores the epoch."""
        check = "local freed = (tonumber(epoch) or -1) - ARGV[1]"
        assert check in LOAD
        careless, show = RedisSeatPreclaims(redis), Hall(redis, uuid4())
        careless._load = redis.register_script(LOAD.replace(check, "local freed = 0"))
        assert await load_while_released(careless, show) == 1
        assert await careless.taken(show.id, ["A1"]) == {"A1"}

    async def test_a_flush_after_the_release_hides_it_from_no_load(
        self, redis: Redis, preclaims: RedisSeatPreclaims
    ) -> None:
        show, other = Hall(redis, uuid4()), RedisSeatPreclaims(redis)

        async def flush_and_start_anew() -> None:
            await redis.flushdb()
            await other._begin_load(show.id)

        assert await load_while_released(preclaims, show, then=flush_and_start_anew) == 2
        assert await preclaims.taken(show.id, ["A1"]) == set()

    async def test_a_release_between_two_parts_leaves_no_ghost(
        self, redis: Redis, preclaims: RedisSeatPreclaims, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        show, booking, reads = Hall(redis, uuid4()), uuid4(), 0
        labels = [f"A{i}" for i in range(MARKS_PER_SCRIPT + 1)]
        write_part = preclaims._load

        async def read(_: Sequence[str] | None) -> list[ActiveClaim]:
            nonlocal reads
            reads += 1
            return [held(label, booking) for label in labels] if reads == 1 else []

        async def write_then_release(keys: list[str], args: tuple[str | int, ...]) -> object:
            written = await write_part(keys, args)
            if reads == 1 and written:
                assert await preclaims.claim(show.id, ["B1"], uuid4()) == NotLoaded()
                await preclaims.release(show.id, labels, booking)
            return written

        monkeypatch.setattr(preclaims, "_load", write_then_release)
        await preclaims.load(show.id, read)
        assert reads == 2
        assert await preclaims.taken(show.id, labels) == set()

    async def test_after_releases_only_what_they_may_have_freed_is_read_again(
        self, redis: Redis, preclaims: RedisSeatPreclaims
    ) -> None:
        """Else a big show would not be loaded while seats of it are freed all the time."""
        show, booking, asked = Hall(redis, uuid4()), uuid4(), list[Sequence[str] | None]()
        labels = [f"A{i}" for i in range(2 * MARKS_PER_SCRIPT)]

        async def read(some: Sequence[str] | None) -> list[ActiveClaim]:
            asked.append(some)
            claims = [sold(label, booking) for label in labels if some is None or label in some]
            if some is None and len(asked) > 1:
                for gone in (labels[1], labels[-1]):
                    labels.remove(gone)
                    await preclaims.release(show.id, [gone], booking)
            return claims

        await preclaims.load(show.id, read)
        await show.later(LOADED_SECONDS)
        await preclaims.load(show.id, read)
        assert asked == [None, None, ["A1", "A999"]]
        assert await preclaims.taken(show.id, ["A1", "A999", *labels]) == set(labels)
        assert await show.ttl_seconds("A0") > SOLD_SECONDS - 60

    @pytest.mark.parametrize("starts", [-2_000_000, 2_000_000, None])
    async def test_after_a_flush_everything_is_read_again(
        self, redis: Redis, preclaims: RedisSeatPreclaims, starts: int | None
    ) -> None:
        """Wherever the count of another's load ``starts``, as seen from the old one."""
        show, booking, asked = Hall(redis, uuid4()), uuid4(), list[Sequence[str] | None]()
        epoch = f"{{show:{show.id}}}:epoch"
        await preclaims.sell(show.id, ["A1"], booking)

        async def read(some: Sequence[str] | None) -> list[ActiveClaim]:
            asked.append(some)
            if len(asked) == 1:
                await preclaims.release(show.id, ["A2"], booking)
                return [sold("A1", booking), sold("A2", booking)]
            if len(asked) == 2:
                count = int(await redis.get(epoch) or 0)
                await redis.flushdb()
                if starts is not None:
                    await redis.set(epoch, count + starts)
            return [sold("A1", booking)] if some is None else []

        await preclaims.load(show.id, read)
        assert asked == [None, ["A2"], None]
        assert await preclaims.taken(show.id, ["A1", "A2"]) == {"A1"}

    async def test_marks_made_since_the_read_stay(
        self, redis: Redis, preclaims: RedisSeatPreclaims
    ) -> None:
        show, before, since = Hall(redis, uuid4()), uuid4(), uuid4()

        async def read(_: Sequence[str] | None) -> list[ActiveClaim]:
            await preclaims.promote(show.id, ["A1"], since, HOLD_SECONDS)
            await preclaims.sell(show.id, ["A2"], since)
            return [held("A1", before), sold("A2", before)]

        await preclaims.load(show.id, read)
        assert await show.mark("A1") == str(since)
        assert await show.mark("A2") == f"sold:{since}"

    async def test_a_sold_mark_stands_while_loads_find_the_seat_sold(
        self, redis: Redis, preclaims: RedisSeatPreclaims
    ) -> None:
        show, booking = Hall(redis, uuid4()), uuid4()

        async def read(_: Sequence[str] | None) -> list[ActiveClaim]:
            return [sold("A1", booking)]

        for _ in range(3):
            assert await preclaims.claim(show.id, ["A1"], uuid4()) == NotLoaded()
            await preclaims.load(show.id, read)
            await show.later(LOADED_SECONDS - 5)
            assert await preclaims.claim(show.id, ["A1"], uuid4()) == Lost(("A1",))
            await show.later(5)

    async def test_a_load_shortens_no_hold(
        self, redis: Redis, preclaims: RedisSeatPreclaims
    ) -> None:
        """PostgreSQL names the hold's last moment; its mark was made for the grace after it too."""
        show, booking, other = Hall(redis, uuid4()), uuid4(), uuid4()
        await preclaims.promote(show.id, ["A1", "A2"], booking, HOLD_SECONDS)
        await preclaims.promote(show.id, ["A3"], other, 60)

        async def read(_: Sequence[str] | None) -> list[ActiveClaim]:
            return [held("A1", booking, 60), held("A2", other, 60), held("A3", other)]

        await preclaims.load(show.id, read)
        assert await show.ttl_seconds("A1") > 60
        assert await show.mark("A2") == str(booking)
        assert await show.ttl_seconds("A3") > 60

    async def test_a_sold_mark_that_postgresql_does_not_know_ends(
        self, redis: Redis, preclaims: RedisSeatPreclaims
    ) -> None:
        show, booking, late = Hall(redis, uuid4()), uuid4(), uuid4()
        await preclaims.load(show.id, nothing)
        await preclaims.release(show.id, ["A1"], late)
        await preclaims.sell(show.id, ["A1"], late)

        async def read(_: Sequence[str] | None) -> list[ActiveClaim]:
            return [sold("A2", booking)]

        await show.later(LOADED_SECONDS)
        assert await preclaims.claim(show.id, ["A1"], uuid4()) == NotLoaded()
        await preclaims.load(show.id, read)
        assert await preclaims.claim(show.id, ["A1"], uuid4()) == Lost(("A1",))
        await show.later(SOLD_SECONDS - LOADED_SECONDS)
        assert isinstance(await preclaims.claim(show.id, ["A1"], uuid4()), Won)
        assert await preclaims.claim(show.id, ["A2"], uuid4()) == Lost(("A2",))

    async def test_a_load_that_never_settles_gives_up(self, preclaims: RedisSeatPreclaims) -> None:
        show_id, reads = uuid4(), 0

        async def read(_: Sequence[str] | None) -> list[ActiveClaim]:
            nonlocal reads
            reads += 1
            await preclaims.release(show_id, ["A1"], uuid4())
            return [sold("A1", uuid4())]

        with pytest.raises(PreclaimsAway):
            await preclaims.load(show_id, read)
        assert reads == LOAD_TRIES


async def load_while_released(
    preclaims: RedisSeatPreclaims,
    show: Hall,
    then: Callable[[], Awaitable[object]] | None = None,
) -> int:
    """Load a show whose one hold is released after the first read; how often it was read."""
    booking, reads = uuid4(), 0

    async def read(_: Sequence[str] | None) -> list[ActiveClaim]:
        nonlocal reads
        reads += 1
        if reads > 1:
            return []
        await preclaims.release(show.id, ["A1"], booking)
        if then is not None:
            await then()
        return [held("A1", booking)]

    await preclaims.load(show.id, read)
    return reads
