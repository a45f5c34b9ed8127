"""Seat maps, which never change, and availability, which always does."""

from __future__ import annotations

from uuid import UUID, uuid4

import httpx2
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.factories import Hall, create_hall
from tests.helpers.catalogue import nothing_older, run
from tests.helpers.problems import assert_problem

ADD_BOOKING = """
INSERT INTO bookings (id, user_id, show_id, state, currency, total_amount, seat_count,
                      hold_expires_at, hold_max_expires_at, lapses)
VALUES (:booking, :user, :show, 'held', 'EUR', 1200, 1,
        clock_timestamp() + CAST(:left AS interval), clock_timestamp() + interval '1 hour', :lapses)
"""
EXTEND = """
UPDATE bookings SET extensions_left = 1, hold_expires_at = hold_max_expires_at WHERE id = :id
"""
CLAIM = "INSERT INTO seat_claims (show_id, label, state, booking_id)"


async def claim(
    engine: AsyncEngine, hall: Hall, label: str, *, left: str = "10 minutes", lapses: bool = True
) -> UUID:
    """A seat held by a booking of its own, for as long as ``left`` says."""
    booking_id = uuid4()
    await run(
        engine,
        ADD_BOOKING,
        booking=booking_id,
        user=hall.user_id,
        show=hall.show_id,
        left=left,
        lapses=lapses,
    )
    await run(
        engine,
        CLAIM + " VALUES (:show, :label, 'held', :booking)",
        show=hall.show_id,
        label=label,
        booking=booking_id,
    )
    return booking_id


async def test_a_seat_map_is_found_kept_and_never_changes(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    hall = await create_hall(engine, seats=3)
    found = await client.get(f"/api/show/{hall.show_id}/seatmap")
    assert found.status_code == 302
    assert found.headers["location"] == f"/api/show/{hall.show_id}/seatmap?v=1"
    assert "immutable" not in found.headers["cache-control"]
    first = await client.get(found.headers["location"])
    assert first.status_code == 200
    assert first.headers["cache-control"] == "public, max-age=31536000, immutable"
    content = first.json()
    assert content["version"] == 1
    assert [seat["label"] for seat in content["seats"]] == list(hall.labels)
    assert content["rows"] == [{"section": "Stalls", "row": "A", "labels": list(hall.labels)}]

    tag = first.headers["etag"]
    again = await client.get(found.headers["location"], headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == tag
    other = await client.get(found.headers["location"], headers={"If-None-Match": '"x"'})
    assert (other.status_code, other.content) == (200, first.content)


async def test_an_arena_is_one_small_answer_made_once(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    hall = await create_hall(engine, seats=20_000)
    path = f"/api/show/{hall.show_id}/seatmap?v=1"
    packed = [await client.get(path, headers={"Accept-Encoding": "gzip"}) for _ in range(2)]
    plain = await client.get(path, headers={"Accept-Encoding": "identity"})
    content = plain.json()
    assert [seat["label"] for seat in content["seats"]] == list(hall.labels)
    assert content["rows"][0]["labels"] == list(hall.labels)
    for answer in packed:
        assert answer.headers["content-encoding"] == "gzip"
        assert int(answer.headers["content-length"]) < len(plain.content) / 8
        assert answer.content == plain.content
    assert packed[0].headers["etag"] == packed[1].headers["etag"] != plain.headers["etag"]
    assert "content-encoding" not in plain.headers


async def test_a_sold_out_arena_is_told_whole(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    hall = await create_hall(engine, seats=20_000)
    await run(
        engine,
        "INSERT INTO seat_claims (show_id, label, state)"
        " SELECT :show, 'A' || n, 'sold' FROM generate_series(1, 20000) AS n",
        show=hall.show_id,
    )
    answer = await client.get(f"/api/show/{hall.show_id}/availability")
    assert answer.json()["seats"] == dict.fromkeys(hall.labels, "sold")


async def test_a_new_version_leaves_the_old_one(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    hall = await create_hall(engine, seats=2)
    path = f"/api/show/{hall.show_id}/seatmap"
    old = await client.get(path, params={"v": 1})
    new_id = uuid4()
    await run(
        engine,
        "INSERT INTO seat_maps (id, auditorium_id, version, capacity)"
        " SELECT :new, auditorium_id, 2, 1 FROM shows WHERE id = :show",
        new=new_id,
        show=hall.show_id,
    )
    await run(
        engine,
        "UPDATE shows SET seat_map_id = :new WHERE id = :show",
        new=new_id,
        show=hall.show_id,
    )
    assert (await client.get(path)).headers["location"].endswith("?v=2")
    new = await client.get(path, params={"v": 2})
    assert new.json() == {"version": 2, "seats": [], "rows": []}
    assert new.headers["etag"] != old.headers["etag"]
    assert (await client.get(path, params={"v": 1})).content == old.content


async def test_a_version_that_is_none_is_not_found(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    path = f"/api/show/{(await create_hall(engine)).show_id}/seatmap"
    for version in ("2", str(2**31 - 1)):
        assert_problem(await client.get(path, params={"v": version}), 404, "not_found")
    for version in ("0", "-1", "x", "1.5", "", str(2**31), "\x00"):
        assert_problem(await client.get(path, params={"v": version}), 422, "invalid")


async def test_availability_names_only_the_seats_that_are_taken(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    hall = await create_hall(engine, seats=6)
    path = f"/api/show/{hall.show_id}/availability"
    empty = await client.get(path)
    assert empty.json() == {"show_id": str(hall.show_id), "version": 0, "seats": {}}
    await claim(engine, hall, "A2")
    await run(
        engine,
        CLAIM + " VALUES (:show, 'A1', 'free', NULL), (:show, 'A3', 'blocked', NULL),"
        " (:show, 'A4', 'sold', NULL)",
        show=hall.show_id,
    )
    answer = await client.get(path, headers=nothing_older())
    assert answer.json()["seats"] == {"A2": "held", "A3": "blocked", "A4": "sold"}
    assert answer.json()["version"] > 0
    shown = (await client.get(f"/api/show/{hall.show_id}")).json()
    assert shown["availability"] == {"capacity": 6, "available": 3}


async def test_the_tag_changes_with_every_change_of_a_seat(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    hall = await create_hall(engine)
    path = f"/api/show/{hall.show_id}/availability"
    tags: list[str] = []
    versions: list[int] = []

    async def look() -> None:
        kept = {"If-None-Match": tags[-1]} if tags else {}
        answer = await client.get(path, headers={**kept, **nothing_older()})
        assert answer.status_code == 200, "a change went unnoticed"
        assert answer.headers["cache-control"] == "public, max-age=0, s-maxage=1"
        tags.append(answer.headers["etag"])
        versions.append(answer.json()["version"])
        same = await client.get(path, headers={"If-None-Match": tags[-1]})
        assert (same.status_code, same.content) == (304, b"")

    await look()
    booking_id = await claim(engine, hall, "A1")
    await look()
    await claim(engine, hall, "A2")
    await look()
    values = {"show": hall.show_id, "booking": booking_id}
    await run(
        engine,
        "UPDATE seat_claims SET state = 'sold' WHERE booking_id = :booking AND show_id = :show",
        **values,
    )
    await look()
    await run(
        engine,
        "UPDATE seat_claims SET state = 'free', booking_id = NULL, fence = fence + 1"
        " WHERE booking_id = :booking AND show_id = :show",
        **values,
    )
    await look()
    assert len(set(tags)) == len(tags)
    assert versions == sorted(versions)


@pytest.mark.parametrize("path", ["seatmap?v=1", "availability"])
async def test_a_kept_tag_is_found_by_weak_comparison_alone_or_in_a_list(
    client: httpx2.AsyncClient, engine: AsyncEngine, path: str
) -> None:
    url = f"/api/show/{(await create_hall(engine)).show_id}/{path}"
    tag = (await client.get(url)).headers["etag"]
    opaque = tag.strip('"')
    kept = (
        [tag],
        [f"W/{tag}"],
        ["*"],
        [" * "],
        [f'"x", {tag}'],
        [f'W/"x",W/{tag}'],
        [f',, {tag} ,"y"'],
        [f'"with,comma", {tag}'],
        ['"x"', f"W/{tag}"],
        [f'"", {tag}'],
    )
    other = (
        [""],
        ['"x"'],
        [opaque],
        [f"w/{tag}"],
        [f"W/ {tag}"],
        [f'"x, {opaque}"'],
        [f'"{opaque} "'],
        [f'"{opaque}'],
        [f"x{tag}"],
        [f"*, {tag}x"],
        ['"*"'],
        [","],
    )
    for lines, status in [*((one, 304) for one in kept), *((one, 200) for one in other)]:
        answer = await client.get(url, headers=[("If-None-Match", line) for line in lines])
        assert answer.status_code == status, lines
        assert answer.headers["etag"] == tag
        assert bool(answer.content) == (status == 200)


async def test_a_lapsed_hold_is_available(client: httpx2.AsyncClient, engine: AsyncEngine) -> None:
    hall = await create_hall(engine, seats=3)
    path = f"/api/show/{hall.show_id}/availability"
    booking_id = await claim(engine, hall, "A1")
    await claim(engine, hall, "A2", left="-1 second", lapses=False)
    held = await client.get(path)
    assert held.json()["seats"] == {"A1": "held", "A2": "held"}
    await run(
        engine,
        "UPDATE bookings SET hold_expires_at = clock_timestamp() WHERE id = :id",
        id=booking_id,
    )
    kept = {"If-None-Match": held.headers["etag"]}
    lapsed = await client.get(path, headers={**kept, **nothing_older()})
    assert lapsed.status_code == 200
    assert lapsed.json()["seats"] == {"A2": "held"}
    assert lapsed.json()["version"] > held.json()["version"]
    shown = (await client.get(f"/api/show/{hall.show_id}")).json()
    assert shown["availability"] == {"capacity": 3, "available": 2}


async def test_what_a_hold_was_given_in_time_is_no_older_than_its_end(
    client: httpx2.AsyncClient, engine: AsyncEngine
) -> None:
    """An extension or a pay page may be committed after somebody has read that the hold is over."""
    hall = await create_hall(engine)
    booking_id = await claim(engine, hall, "A1")
    seen = []
    for change in (
        "UPDATE bookings SET extensions_left = 2 WHERE id = :id",
        "UPDATE bookings SET hold_expires_at = clock_timestamp() WHERE id = :id",
        EXTEND,
        "UPDATE bookings SET hold_expires_at = clock_timestamp() WHERE id = :id",
        "UPDATE bookings SET lapses = false WHERE id = :id",
        "UPDATE seat_claims SET state = 'sold' WHERE booking_id = :id",
    ):
        await run(engine, change, id=booking_id)
        path = f"/api/show/{hall.show_id}/availability"
        told = (await client.get(path, headers=nothing_older())).json()
        seen.append((told["version"], len(told["seats"])))
    assert seen == sorted(set(seen)), "each is another version, and none goes back"
    assert [count for _, count in seen] == [1, 0, 1, 0, 1, 1]
