"""Our books against the provider's list: repaired, or a case; no webhook and no poll is at work."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from contracts.booking import BOOKING_QUEUE
from contracts.reconcile import ReconcileContract, ReconcileInput
from domain import ledger
from domain.errors import Unavailable
from domain.money import Money
from domain.steps import BookingInput
from infra.postgres.database import Database
from services.reconcile_books import Checkpoint, Tally
from tests.factories import Hall
from tests.helpers.eventually import eventually
from tests.helpers.late import page_of_ended_hold
from tests.helpers.saga import Saga
from tests.sandbox.process import NO_FAULTS, Sandbox
from tests.workflows.test_booking_paths import pay
from tests.workflows.test_case_openings import cases_of
from tests.workflows.test_disputes import disputed
from tests.workflows.test_refund_faults import faulty
from tests.workflows.test_refund_retries import settled
from tests.workflows.test_refunds import ask, result, sold
from tests.workflows.test_unknown_money import told as told_of

__all__ = ["faulty"]


def now() -> datetime:
    return datetime.now(UTC)


async def reconcile(saga: Saga, since: datetime, *, dry_run: bool = False) -> Tally:
    reconciler = saga.reconciler(dry_run=dry_run)
    at = await reconciler.start("sandbox", since)
    return await reconciler.run("sandbox", at, lambda _: None)


def of(tally: Tally, *names: str) -> list[str]:
    """What was told of these; other tests' payments may be in the list too."""
    return [told for told in tally.told if any(name in told for name in names)]


async def held(saga: Saga, hall: Hall, *labels: str) -> tuple[BookingInput, str]:
    input = hall.input(*labels, max_live_holds_per_user=20)
    assert await saga.reserve(input) == "held"
    return input, await saga.checkout(input)


async def state_becomes(saga: Saga, input: BookingInput, state: str) -> None:
    async def it_is() -> bool:
        return await saga.state(input) == state

    await eventually(it_is, seconds=30, message=f"it never was {state}")


@pytest.mark.usefixtures("worker")
async def test_all_webhooks_and_polls_lost_costs_nobody_a_seat_or_money(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    since = now()
    bookings = [await held(saga, hall, label) for label in hall.labels[:6]]
    late = hall.input(hall.labels[6], max_live_holds_per_user=20)
    late_page = await page_of_ended_hold(saga, late)
    paid = [pay(provider, page) for _, page in bookings]
    too_late = pay(provider, late_page, force=True, amount=1199)
    twice = pay(provider, bookings[0][1], force=True)

    told = of(await reconcile(saga, since), *paid, too_late, twice)
    assert sorted(told) == sorted(
        f"repaired: missing of payment {one}" for one in (*paid, too_late, twice)
    )
    for input, _ in bookings:
        await state_becomes(saga, input, "confirmed")

    async def all_back() -> bool:
        return all(provider.payment(one)["refunded"] for one in (too_late, twice))

    await eventually(all_back, seconds=30)
    assert provider.payment(too_late)["refunded"] == 1199
    back = [provider.payment(one)["refunded"] for one in paid] + [
        provider.payment(twice)["refunded"]
    ]
    assert sorted(back) == [0] * 6 + [1200], "one of the two is kept, and it is paid back once"

    async def all_settled() -> bool:
        inputs = [late, *(input for input, _ in bookings)]
        # The provider has paid back a moment before we know of it.
        under_way = await saga.rows(
            "SELECT id FROM refunds WHERE booking_id = ANY(:ids) AND status = 'pending'",
            ids=[UUID(input.booking_id) for input in inputs],
        )
        return not under_way and all([await settled(saga, input) for input in inputs])

    await eventually(all_settled, seconds=30)
    assert of(await reconcile(saga, since), *paid, too_late, twice) == []


@pytest.mark.usefixtures("worker")
async def test_a_dry_run_tells_and_changes_nothing(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    since = now()
    input, page = await held(saga, hall)
    reference = pay(provider, page)
    told = of(await reconcile(saga, since, dry_run=True), reference)
    assert told == [f"repaired: missing of payment {reference}"]
    assert await saga.state(input) == "held"
    assert await saga.rows(
        "SELECT count(*) FROM provider_payments WHERE reference = :it", it=reference
    ) == [(0,)]
    await reconcile(saga, since)
    await state_becomes(saga, input, "confirmed")


async def test_a_payment_that_belongs_to_no_booking_is_one_case(
    saga: Saga, database: Database, provider: Sandbox
) -> None:
    """Whether its webhook is heard of, or the provider's list, or both."""
    since = now()
    session = provider.session(reference=f"nobody-{uuid4()}")
    reference = provider.pay(session, webhooks={"deliver": False})
    for _ in range(2):
        tally = await reconcile(saga, since)
        assert of(tally, reference) == [f"left: payment {reference} belongs to no booking"]
    await told_of(saga, database, session["id"])
    found = await saga.rows(
        "SELECT kind, summary FROM cases WHERE starts_with(dedupe, :it)",
        it=f"unknown_payment:sandbox:{session['id']}",
    )
    assert [kind for kind, _ in found] == ["unknown_payment"]
    assert "24.00 EUR" in found[0][1]
    failed = provider.pay(provider.session(), "failed", webhooks={"deliver": False})
    assert of(await reconcile(saga, since), failed) == [], "it moved no money"


@pytest.mark.usefixtures("worker")
async def test_a_payment_of_a_page_we_forgot_is_a_case_of_its_booking(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    since = now()
    input, _ = await held(saga, hall)
    session = provider.session(reference=input.booking_id)
    reference = provider.pay(session, webhooks={"deliver": False})
    assert of(await reconcile(saga, since), reference)
    assert await cases_of(saga, input) == ["unknown_payment"]


async def test_a_refund_by_somebody_else_is_one_case(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    since, input = now(), hall.input()
    async with saga.worker():
        reference = await sold(saga, input, provider)
    by_hand = provider.refund(reference, 500).json()["id"]
    for _ in range(2):
        told = of(await reconcile(saga, since), reference, by_hand)
        assert [one for one in told if one.startswith("left")] == [
            f"left: refund {by_hand} was never asked for"
        ]
    assert await cases_of(saga, input) == ["unknown_refund"]
    assert await saga.state(input) == "confirmed"


async def test_a_refund_that_settled_while_nobody_looked_settles_here(
    saga: Saga, hall: Hall, faulty: Sandbox
) -> None:
    since, input = now(), hall.input()
    async with saga.worker():
        reference = await sold(saga, input, faulty)
    faulty.configure(refund_outcome="pending")
    number = await ask(saga, input)
    [[key]] = await saga.rows(
        "SELECT idempotency_key FROM refunds WHERE booking_id = :id", id=UUID(input.booking_id)
    )
    # Our worker asked, and died before it could write the answer down.
    made = faulty.refund(reference, 2400, idempotency_key=key).json()["id"]
    faulty.post(f"/test/refunds/{made}/settle", {"outcome": "succeeded"})
    told = of(await reconcile(saga, since), made, reference)
    assert f"repaired: refund {made} settled" in told
    assert not any(one.startswith("left") for one in told)
    assert await saga.state(input) == "refunded"
    assert await settled(saga, input)
    async with saga.worker():
        assert await result(saga, input, number) == "succeeded"
    assert faulty.payment(reference)["refunded"] == 2400
    events = await saga.events(input)
    once = ("RefundAccepted", "SeatReleased", "RefundSettled", "BookingRefunded")
    assert [events.count(one) for one in once] == [1, 1, 1, 1]
    assert await cases_of(saga, input) == []


async def test_a_settled_refund_that_came_back_is_due_again_and_a_case(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    since, input = now(), hall.input()
    async with saga.worker():
        reference = await sold(saga, input, provider)
        assert await result(saga, input, await ask(saga, input)) == "succeeded"
    [[made]] = await saga.rows(
        "SELECT reference FROM refunds WHERE booking_id = :id", id=UUID(input.booking_id)
    )
    provider.fail_refund(made)
    assert f"left: refund {made} came back" in of(await reconcile(saga, since), made)
    assert await cases_of(saga, input) == ["refund_failed"]
    posted = await saga.rows(
        "SELECT account, sum(debit - credit)::int FROM ledger_entries WHERE booking_id = :id"
        " GROUP BY account ORDER BY account",
        id=UUID(input.booking_id),
    )
    fee = provider.payment(reference)["fee"]
    assert dict(posted) == {
        "buyer": 0,
        "fees": fee,
        "provider": 2400 - fee,
        "refunds_due": -2400,
        "revenue": 0,
    }
    assert of(await reconcile(saga, since), made, reference) == []


async def test_what_we_have_and_the_provider_does_not_is_a_case(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    since, input, other = now(), hall.input("A1"), hall.input("A2")
    reference = f"pay_{uuid4().hex}"
    async with saga.worker():
        await sold(saga, input, provider)
        await sold(saga, other, provider)
        assert await result(saga, other, await ask(saga, other)) == "succeeded"
    async with saga.engine.begin() as connection:
        await connection.exec_driver_sql(
            "INSERT INTO provider_payments (id, provider, reference, booking_id, payment_id,"
            " status, amount, currency, captured, decision, created_at)"
            " SELECT gen_random_uuid(), provider, %(ref)s, booking_id, payment_id, status, amount,"
            " currency, captured, 'duplicate', now() - interval '1 year'"
            " FROM provider_payments WHERE booking_id = %(id)s",
            {"ref": reference, "id": input.booking_id},
        )
        await connection.exec_driver_sql(
            "UPDATE refunds SET reference = 'ref_none', amount = amount - 1,"
            " idempotency_key = 'another of ' || id WHERE booking_id = %(id)s",
            {"id": other.booking_id},
        )
    tally = await reconcile(saga, since)
    assert f"left: payment {reference} is not at sandbox" in tally.told
    assert "left: refund ref_none is not at sandbox" in tally.told
    assert "difference" in await cases_of(saga, input)
    kinds = await cases_of(saga, other)
    assert {"unknown_refund", "difference"} == set(kinds)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("captured = captured + 1", "captured"),
        ("currency = 'USD'", "currency"),
    ],
)
async def test_sums_that_cannot_be_explained_are_a_case(
    saga: Saga, hall: Hall, provider: Sandbox, change: str, told: str
) -> None:
    since, input = now(), hall.input()
    async with saga.worker():
        reference = await sold(saga, input, provider)
    async with saga.engine.begin() as connection:
        await connection.exec_driver_sql(
            f"UPDATE provider_payments SET {change} WHERE reference = %(ref)s",  # noqa: S608
            {"ref": reference},
        )
    found = of(await reconcile(saga, since), reference)
    assert f"left: {told} of payment {reference}" in found
    assert "difference" in await cases_of(saga, input)


async def test_a_ledger_that_tells_another_sum_is_a_case(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    since, input = now(), hall.input()
    async with saga.worker():
        reference = await sold(saga, input, provider)
    [[receipt_id]] = await saga.rows(
        "SELECT id FROM provider_payments WHERE reference = :it", it=reference
    )
    subject = ledger.Subject(UUID(input.booking_id), UUID(input.show_id), "sandbox", receipt_id)
    async with saga.begin() as tx:
        tx.ledger.post(ledger.captured(subject, Money(1, "EUR"), total=2401))
    assert of(await reconcile(saga, since), reference) == [f"left: ledger of payment {reference}"]
    assert await cases_of(saga, input) == ["difference"]


@pytest.mark.parametrize("known", [[], ["dispute"]], ids=["plain", "disputed"])
async def test_a_refund_without_an_answer_for_a_day_is_a_case_and_keeps_its_key(
    saga: Saga, hall: Hall, provider: Sandbox, known: list[str]
) -> None:
    since, input = now(), hall.input()
    async with saga.worker():
        reference = await sold(saga, input, provider)
    await ask(saga, input)
    if known:
        await disputed(saga, input, provider, reference, "opened")
    assert await cases_of(saga, input) == known
    async with saga.engine.begin() as connection:
        await connection.exec_driver_sql(
            "UPDATE refunds SET created_at = now() - interval '25 hours' WHERE booking_id = %(id)s",
            {"id": input.booking_id},
        )
    for _ in range(2):
        await reconcile(saga, since)
    assert await cases_of(saga, input) == [*known, "refund_overdue"]
    [row] = await saga.rows(
        "SELECT status, tries FROM refunds WHERE booking_id = :id", id=UUID(input.booking_id)
    )
    assert row == ("pending", 0)
    async with saga.worker():
        assert await result(saga, input) == ("failed" if known else "succeeded")


async def test_a_run_that_broke_off_goes_on_and_the_next_begins_where_it_began(
    saga: Saga, hall: Hall, faulty: Sandbox
) -> None:
    since = now()
    reconciler = saga.reconciler()
    async with saga.worker():
        input, page = await held(saga, hall)
        reference = pay(faulty, page)
        at = await reconciler.start("sandbox", since)
        faulty.configure(error_rate=1.0)
        with pytest.raises(Unavailable):
            await reconciler.run("sandbox", at, lambda _: None)
        faulty.configure(**NO_FAULTS)
        seen: list[Checkpoint] = []
        tally = await reconciler.run("sandbox", at, seen.append)
        assert of(tally, reference) == [f"repaired: missing of payment {reference}"]
        assert seen
        await state_becomes(saga, input, "confirmed")
    await reconciler.finish("sandbox", at)
    _, watermark = await saga.books.window("sandbox")
    assert watermark is not None
    assert watermark.isoformat() == at.started
    following = await reconciler.start("sandbox")
    assert datetime.fromisoformat(following.since) < watermark


@pytest.mark.usefixtures("worker")
async def test_the_workflow_compares_and_keeps_how_it_went(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input, page = await held(saga, hall)
    reference = pay(provider, page)
    results = await asyncio.wait_for(
        saga.client.execute_workflow(
            ReconcileContract.run,
            ReconcileInput(["sandbox"]),
            id=f"reconcile-{uuid4()}",
            task_queue=BOOKING_QUEUE,
        ),
        timeout=60,
    )
    [told] = results
    assert told.provider == "sandbox"
    assert told.finished
    assert f"repaired: missing of payment {reference}" in told.told
    await state_becomes(saga, input, "confirmed")
    [[left]] = await saga.rows("SELECT left_over FROM reconciliations WHERE provider = 'sandbox'")
    assert left == told.left
