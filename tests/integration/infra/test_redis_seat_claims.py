"""Pre-claims on a real server: races, flushes, and what each mark withstands."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from domain.limits import PRECLAIM_LEASE_SECONDS
from infra.redis.news import STAMP_SECONDS, seats_stamp
from infra.redis.seat_claims import SOLD_SECONDS, RedisSeatPreclaims
from services.preclaim import ActiveClaim, Lost, NotLoaded, Won
from tests.helpers.hall import HOLD_SECONDS, Hall, held, nothing, sold


@pytest.fixture
def preclaims(redis: Redis) -> RedisSeatPreclaims:
    return RedisSeatPreclaims(redis)


@pytest.fixture
async def show(redis: Redis, preclaims: RedisSeatPreclaims) -> Hall:
    """Loaded, every seat free."""
    show = Hall(redis, uuid4())
    await preclaims.load(show.id, nothing)
    return show


class TestClaim:
    async def test_one_of_200_buyers_wins_a_seat(self, redis: Redis, show: Hall) -> None:
        processes = [RedisSeatPreclaims(redis) for _ in range(4)]
        buyers = [uuid4() for _ in range(200)]
        answers = await asyncio.gather(
            *(processes[i % 4].claim(show.id, ["A1"], buyer) for i, buyer in enumerate(buyers))
        )
        winners = [answer.token for answer in answers if isinstance(answer, Won)]
        assert len(winners) == 1
        assert answers.count(Lost(("A1",))) == 199
        assert await show.mark("A1") == str(winners[0])

    async def test_overlapping_orders_are_all_or_nothing(
        self, preclaims: RedisSeatPreclaims, show: Hall
    ) -> None:
        # Each order shares a seat with the one before and the one after it.
        orders = {uuid4(): (f"A{i}", f"A{i + 1}", f"A{i + 2}") for i in range(0, 80, 2)}
        answers = await asyncio.gather(
            *(preclaims.claim(show.id, labels, token) for token, labels in orders.items())
        )
        marks = {label: await show.mark(label) for labels in orders.values() for label in labels}
        won = [answer for answer in answers if isinstance(answer, Won)]
        assert won
        assert len(won) < len(orders)
        for answer in won:
            assert [marks[label] for label in answer.labels] == [str(answer.token)] * 3
        assert sum(mark is not None for mark in marks.values()) == 3 * len(won)

    async def test_the_loser_hears_which_seats_in_the_asked_order(
        self, preclaims: RedisSeatPreclaims, show: Hall
    ) -> None:
        await preclaims.claim(show.id, ["A1", "A3"], uuid4())
        answer = await preclaims.claim(show.id, ["A3", "A2", "A1"], uuid4())
        assert answer == Lost(("A3", "A1"))
        assert await show.mark("A2") is None

    async def test_a_claim_is_a_lease(self, preclaims: RedisSeatPreclaims, show: Hall) -> None:
        await preclaims.claim(show.id, ["A1"], uuid4())
        assert 0 < await show.ttl_seconds("A1") <= PRECLAIM_LEASE_SECONDS

    async def test_a_claim_repeated_by_its_token_wins_and_renews_the_lease(
        self, preclaims: RedisSeatPreclaims, show: Hall
    ) -> None:
        token = uuid4()
        await preclaims.claim(show.id, ["A1"], token)
        await show.redis.pexpire(show.key("A1"), 5_000)
        assert isinstance(await preclaims.claim(show.id, ["A1", "A2"], token), Won)
        assert await show.ttl_seconds("A1") > 5

    async def test_after_the_lease_the_token_or_a_rival_may_claim(
        self, preclaims: RedisSeatPreclaims, show: Hall
    ) -> None:
        token, rival = uuid4(), uuid4()
        await preclaims.claim(show.id, ["A1", "A2"], token)
        await show.expire("A1", "A2")
        assert isinstance(await preclaims.claim(show.id, ["A1"], token), Won)
        assert isinstance(await preclaims.claim(show.id, ["A2"], rival), Won)
        assert await preclaims.claim(show.id, ["A1", "A2"], token) == Lost(("A2",))

    async def test_a_repeat_shortens_no_hold_and_touches_no_sold_mark(
        self, preclaims: RedisSeatPreclaims, show: Hall
    ) -> None:
        token = uuid4()
        await preclaims.promote(show.id, ["A1"], token, HOLD_SECONDS)
        await preclaims.sell(show.id, ["A2"], token)
        assert isinstance(await preclaims.claim(show.id, ["A1", "A2"], token), Won)
        assert await show.ttl_seconds("A1") > PRECLAIM_LEASE_SECONDS
        assert await show.mark("A2") == f"sold:{token}"
        assert SOLD_SECONDS - 60 < await show.ttl_seconds("A2") <= SOLD_SECONDS

    async def test_a_flushed_show_is_not_loaded(
        self, preclaims: RedisSeatPreclaims, show: Hall
    ) -> None:
        token = uuid4()
        await preclaims.claim(show.id, ["A1"], token)
        await show.redis.flushdb()
        assert await preclaims.claim(show.id, ["A1"], token) == NotLoaded()
        assert await preclaims.taken(show.id, ["A1"]) == NotLoaded()
        assert await show.mark("A1") is None

    async def test_scripts_survive_a_script_flush(
        self, preclaims: RedisSeatPreclaims, show: Hall
    ) -> None:
        token = uuid4()
        await preclaims.claim(show.id, ["A1"], token)
        await show.redis.script_flush()
        assert await preclaims.claim(show.id, ["A1"], uuid4()) == Lost(("A1",))
        await preclaims.release(show.id, ["A1"], token)
        assert await show.mark("A1") is None


class TestMarks:
    async def test_promote_keeps_the_hold_even_when_its_key_was_lost(
        self, preclaims: RedisSeatPreclaims, show: Hall
    ) -> None:
        token = uuid4()
        await preclaims.claim(show.id, ["A1", "A2"], token)
        await show.expire("A2")
        await preclaims.promote(show.id, ["A1", "A2"], token, HOLD_SECONDS)
        for label in ("A1", "A2"):
            assert await show.mark(label) == str(token)
            assert HOLD_SECONDS - 60 < await show.ttl_seconds(label) <= HOLD_SECONDS

    async def test_a_hold_is_not_marked_over_somebody_elses_mark(
        self, preclaims: RedisSeatPreclaims, show: Hall
    ) -> None:
        token, rival = uuid4(), uuid4()
        await preclaims.claim(show.id, ["A1"], rival)
        await preclaims.sell(show.id, ["A2"], rival)
        await preclaims.promote(show.id, ["A1", "A2"], token, HOLD_SECONDS)
        assert await show.mark("A1") == str(rival)
        assert await show.mark("A2") == f"sold:{rival}"

    async def test_a_sale_is_marked_over_a_rivals_lease_and_outlasts_it(
        self, preclaims: RedisSeatPreclaims, show: Hall
    ) -> None:
        token, rival = uuid4(), uuid4()
        won = await win(preclaims, show, ["A1"], rival)
        seen_before = [held("A1", token, ttl_seconds=1)]
        await preclaims.sell(show.id, ["A1"], token)
        await preclaims.write_back(show.id, won, seen_before)
        assert await show.mark("A1") == f"sold:{token}"

    async def test_a_sale_is_not_marked_over_a_sold_or_a_blocked_seat(
        self, preclaims: RedisSeatPreclaims, show: Hall
    ) -> None:
        token, rival = uuid4(), uuid4()
        await preclaims.sell(show.id, ["A1"], rival)
        await show.redis.set(show.key("A2"), "blocked")
        await preclaims.sell(show.id, ["A1", "A2"], token)
        assert (await show.mark("A1"), await show.mark("A2")) == (f"sold:{rival}", "blocked")

    async def test_a_late_promote_leaves_the_sold_mark(
        self, preclaims: RedisSeatPreclaims, show: Hall
    ) -> None:
        token = uuid4()
        await preclaims.sell(show.id, ["A1"], token)
        await preclaims.promote(show.id, ["A1"], token, 2 * SOLD_SECONDS)
        assert await show.mark("A1") == f"sold:{token}"
        assert await show.ttl_seconds("A1") <= SOLD_SECONDS

    async def test_release_deletes_own_marks_only(
        self, preclaims: RedisSeatPreclaims, show: Hall
    ) -> None:
        token, rival = uuid4(), uuid4()
        await preclaims.claim(show.id, ["A1"], token)
        await preclaims.sell(show.id, ["A2"], token)
        await preclaims.claim(show.id, ["B1"], rival)
        await preclaims.sell(show.id, ["B2"], rival)
        everything = ["A1", "A2", "B1", "B2"]
        await preclaims.release(show.id, everything, uuid4())
        assert await preclaims.taken(show.id, everything) == set(everything)
        await preclaims.release(show.id, everything, token)
        assert await preclaims.taken(show.id, everything) == {"B1", "B2"}

    async def test_each_change_leaves_another_stamp_for_an_hour(
        self, preclaims: RedisSeatPreclaims, show: Hall
    ) -> None:
        """Else what a process kept of the seats as they were would be read by all the others."""
        token, stamps = uuid4(), list[object]()

        async def look() -> None:
            stamps.append(await show.redis.get(seats_stamp(show.id)))
            left = await show.redis.ttl(seats_stamp(show.id))
            assert STAMP_SECONDS - 60 < left <= STAMP_SECONDS

        await preclaims.promote(show.id, ["A1"], token, HOLD_SECONDS)
        await look()
        await preclaims.sell(show.id, ["A1"], token)
        await look()
        await preclaims.release(show.id, ["A1"], token)
        await look()
        assert len(set(stamps)) == 3

    def test_a_claim_that_makes_no_sense_is_refused(self) -> None:
        with pytest.raises(ValueError, match="blocked"):
            ActiveClaim("A1", None, "sold", None)
        with pytest.raises(ValueError, match="time to live"):
            ActiveClaim("A1", uuid4(), "held", None)


class TestWriteBack:
    async def test_a_refusal_turns_the_leases_into_the_holders_marks(
        self, preclaims: RedisSeatPreclaims, show: Hall
    ) -> None:
        holder, buyer, refused = uuid4(), uuid4(), uuid4()
        won = await win(preclaims, show, ["A1", "A2", "A3"], refused)
        await preclaims.write_back(show.id, won, [held("A1", holder), sold("A2", buyer)])
        assert await show.mark("A1") == str(holder)
        assert await show.ttl_seconds("A1") > HOLD_SECONDS - 60
        assert await show.mark("A2") == f"sold:{buyer}"
        assert await show.mark("A3") is None

    async def test_a_seat_freed_meanwhile_is_not_marked(
        self, preclaims: RedisSeatPreclaims, show: Hall
    ) -> None:
        holder, refused = uuid4(), uuid4()
        won = await win(preclaims, show, ["A1"], refused)
        stale = [held("A1", holder)]
        await preclaims.release(show.id, ["A1"], holder)
        await preclaims.write_back(show.id, won, stale)
        assert await preclaims.taken(show.id, ["A1"]) == set()

    async def test_refusals_do_not_hide_each_other(
        self, preclaims: RedisSeatPreclaims, show: Hall
    ) -> None:
        first = await win(preclaims, show, ["A1"], uuid4())
        second = await win(preclaims, show, ["A2"], uuid4())
        await preclaims.write_back(show.id, first, [sold("A1", uuid4())])
        await preclaims.write_back(show.id, second, [sold("A2", uuid4())])
        assert await preclaims.taken(show.id, ["A1", "A2"]) == {"A1", "A2"}

    async def test_somebody_elses_mark_stays(
        self, preclaims: RedisSeatPreclaims, show: Hall
    ) -> None:
        rival, refused = uuid4(), uuid4()
        won = await win(preclaims, show, ["A1"], refused)
        await show.expire("A1")
        await preclaims.claim(show.id, ["A1"], rival)
        await preclaims.write_back(show.id, won, [sold("A1", uuid4())])
        assert await show.mark("A1") == str(rival)


class TestTaken:
    async def test_20_000_seats_are_one_call(
        self, preclaims: RedisSeatPreclaims, show: Hall
    ) -> None:
        labels = [f"R{i}" for i in range(20_000)]
        await preclaims.claim(show.id, ["R7", "R19999"], uuid4())
        assert await preclaims.taken(show.id, labels) == {"R7", "R19999"}


async def win(preclaims: RedisSeatPreclaims, show: Hall, labels: Sequence[str], token: UUID) -> Won:
    answer = await preclaims.claim(show.id, labels, token)
    assert isinstance(answer, Won)
    return answer
