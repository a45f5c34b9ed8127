"""What the payment port promises of its lists, shown on each adapter with the real provider."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from domain.errors import Unavailable
from domain.money import Money
from domain.payment import ProviderPayment
from services.gateway import PaymentGateway
from tests.helpers.stripe_town import StripeTown
from tests.ports.conftest import PRICE, Provider, opened, pay

# What is refunded of such a payment in the end, and how many disputes it has.
AFTER = {"disputed": (0, 1), "refunded": (400, 0), "came_back": (0, 0)}


async def listed(gateway: PaymentGateway, since: datetime) -> list[ProviderPayment]:
    """Every page of the list."""
    found: list[ProviderPayment] = []
    cursor = None
    while True:
        page = await gateway.list_payments(since, cursor)
        found += page.payments
        if (cursor := page.next) is None:
            return found


async def test_every_payment_is_listed_as_it_is_read(
    gateway: PaymentGateway, provider: Provider
) -> None:
    since = datetime.now(UTC) - timedelta(seconds=1)
    outcomes = ["captured", "failed", "authorised", "processing", "captured"]
    paid = [
        pay(provider, await opened(gateway, f"list-{number}"), outcome)
        for number, outcome in enumerate(outcomes)
    ]
    await gateway.refund(paid[0], key="list-back", amount=Money(400, "EUR"))
    found = {one.reference: one for one in await listed(gateway, since)}
    assert set(paid) <= set(found)
    for reference in paid:
        read, told = await gateway.read_payment(reference), found[reference]
        assert told.session_id in (read.session_id, "")
        assert (told.status, told.amount, told.captured, told.refunded, told.booking_reference) == (
            read.status,
            read.amount,
            read.captured,
            read.refunded,
            read.booking_reference,
        )
    assert found[paid[0]].refunded == 400


async def test_a_long_list_comes_in_pages_without_a_gap(
    gateway: PaymentGateway, provider: Provider
) -> None:
    many = 5 if isinstance(provider, StripeTown) else 105
    since = datetime.now(UTC) - timedelta(seconds=1)
    paid = []
    for number in range(many):
        expires_at = datetime.now(UTC) + timedelta(minutes=10)
        session = await opened(gateway, f"long-{number}", expires_at=expires_at)
        paid.append(pay(provider, session))
    found = [one.reference for one in await listed(gateway, since)]
    assert [found.count(one) for one in paid] == [1] * many
    assert (await gateway.list_payments(since)).next is not None


@pytest.mark.parametrize("change", ["disputed", "refunded", "came_back"])
async def test_a_payment_of_long_ago_is_listed_by_what_became_of_it_since(
    gateway: PaymentGateway, provider: Provider, change: str
) -> None:
    """All webhooks of it may be lost, and its page is polled no more."""
    many = 3
    paid = [pay(provider, await opened(gateway, f"{change}-{number}")) for number in range(many)]
    given_back = {
        one: await gateway.refund(one, key=f"{one}-before", amount=Money(300, "EUR"))
        for one in paid
        if change == "came_back"
    }
    since = datetime.now(UTC) - timedelta(seconds=1)
    if isinstance(provider, StripeTown):
        for thing in (*provider.intents.values(), *provider.refunds.values()):
            thing["created"] -= 9 * 24 * 3600
        provider.others_have(change)
    for reference in paid:
        if change == "disputed":
            provider.dispute(reference, "opened")
        elif change == "refunded":
            await gateway.refund(reference, key=f"{reference}-back", amount=Money(400, "EUR"))
        else:
            provider.fail_refund(given_back[reference].reference)
    found = {one.reference: one for one in await listed(gateway, since)}
    for reference in paid:
        read = await gateway.read_payment(reference)
        assert (found[reference].refunded, found[reference].disputes) == (
            read.refunded,
            read.disputes,
        )
        assert (read.refunded, len(read.disputes)) == AFTER[change]


@pytest.mark.parametrize("provider", ["stripe"], indirect=True)
async def test_a_key_that_may_read_no_events_has_all_else_listed(
    gateway: PaymentGateway, provider: StripeTown, capsys: pytest.CaptureFixture[str]
) -> None:
    """As keys from before that list was read."""
    since = datetime.now(UTC) - timedelta(seconds=1)
    reference = pay(provider, await opened(gateway, "no-events"))
    provider.configure(forbids="/v1/events")
    assert reference in [one.reference for one in await listed(gateway, since)]
    assert "Events: read" in capsys.readouterr().out
    provider.configure(forbids="/v1/disputes")
    with pytest.raises(Unavailable):
        await listed(gateway, since)


async def test_what_is_long_over_is_not_listed(gateway: PaymentGateway, provider: Provider) -> None:
    pay(provider, await opened(gateway, "long-over"))
    assert await listed(gateway, datetime.now(UTC) + timedelta(hours=6)) == []


async def test_the_refunds_of_a_payment_with_the_keys_they_were_asked_for_under(
    gateway: PaymentGateway, provider: Provider
) -> None:
    reference = pay(provider, await opened(gateway, "refunds"))
    assert list(await gateway.list_refunds(reference)) == []
    made = [
        await gateway.refund(reference, key=f"part-{amount}", amount=Money(amount, "EUR"))
        for amount in (100, 200)
    ]
    told = {one.reference: one for one in await gateway.list_refunds(reference)}
    assert set(told) == {one.reference for one in made}
    for one, amount in zip(made, (100, 200), strict=True):
        seen = told[one.reference]
        assert (seen.status, seen.amount) == ("succeeded", Money(amount, "EUR"))
        assert seen.key == f"part-{amount}"


async def test_a_key_gives_back_once_however_long_ago_it_was_used(
    gateway: PaymentGateway, provider: Provider
) -> None:
    """Stripe forgets keys after a day."""
    reference = pay(provider, await opened(gateway, "old-key"))
    first = await gateway.refund(reference, key="old-key-back", amount=Money(100, "EUR"))
    if isinstance(provider, StripeTown):
        provider.keys.clear()
    again = await gateway.refund(reference, key="old-key-back", amount=Money(100, "EUR"))
    assert again.reference == first.reference
    assert (await gateway.read_payment(reference)).refunded == 100


@pytest.mark.parametrize("faults", [{"error_rate": 1}, {"respond": "html"}], ids=str)
async def test_a_list_that_does_not_come_is_unavailable(
    gateway: PaymentGateway, provider: Provider, faults: dict[str, object]
) -> None:
    reference = pay(provider, await opened(gateway, f"no-list-{min(faults)}", amount=PRICE))
    provider.configure(**faults)
    with pytest.raises(Unavailable):
        await gateway.list_payments(datetime.now(UTC))
    with pytest.raises(Unavailable):
        await gateway.list_refunds(reference)
