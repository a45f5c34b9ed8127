"""Each call of the payment port, failed in each way: the books agree, bookings end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from inspect import iscoroutinefunction
from typing import Any, TypeVar
from uuid import UUID

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from contracts.booking import BookingContract
from domain.errors import Unavailable
from domain.payment_policy import PaymentMode
from domain.steps import BookingInput, CancelRequest
from infra.gateways import wire
from infra.postgres.database import Database
from infra.redis.seat_claims import RedisSeatPreclaims
from services import capture
from services.desk import Caller
from services.gateway import PaymentGateway
from tests.factories import Hall, create_hall
from tests.helpers.books import is_settled
from tests.helpers.eventually import eventually
from tests.helpers.faulty_gateway import CALLS, FAULTS, FaultyGateway, opened
from tests.helpers.promises import receipt_id
from tests.helpers.saga import Saga
from tests.sandbox.process import Sandbox, running_sandbox
from tests.workflows.test_booking_paths import pay
from tests.workflows.test_refunds import ask, refunds, result

T = TypeVar("T")
# How long we wait for the provider here, so that one that hangs costs no five seconds.
PATIENCE = 0.8
PRICE = 1200
Play = Callable[[Sequence[str], str], Awaitable[dict[str, BaseException]]]
# Each story, and the calls that fail in it, each in a booking of its own.
STORIES = {
    "sold": ("open_session", "read_session", "refund", "read_refund"),
    "late": ("expire_session", "read_session", "refund", "read_refund"),
    "authorised": ("capture", "read_payment"),
    "let_go": ("void", "read_payment"),
    "reconciled": ("list_payments", "list_refunds", "read_payment"),
}
NAMES = tuple(f"{story}-{call}" for story, calls in STORIES.items() for call in calls)


class Street:
    """Some bookings side by side, each with a provider that fails at another call."""

    def __init__(self, saga: Saga, hall: Hall, provider: Sandbox) -> None:
        self.saga, self.hall, self.provider = saga, hall, provider
        self._promising = replace(saga, mode=PaymentMode.AUTHORISE)
        self._places = iter(hall.labels)

    async def tell(self, gateway: FaultyGateway) -> None:
        """The story in whose name the gateway is."""
        stories = {
            "sold": self.sold,
            "late": self.late,
            "authorised": self.authorised,
            "let_go": self.let_go,
            "reconciled": self.reconciled,
        }
        await stories[gateway.story](gateway)

    def input(self) -> BookingInput:
        return self.hall.input(next(self._places), max_live_holds_per_user=100)

    async def sold(self, gateway: FaultyGateway) -> None:
        """Paid, confirmed, and given back on request."""
        saga, input = self.saga, self.input()
        session_id = await self._check_out(input, gateway)
        payment_id = pay(self.provider, session_id)
        await self._tell(gateway, session_id)
        assert (await saga.handle(input).result())["state"] == "confirmed"
        number = await ask(saga, input)
        await self._settle(payment_id)
        assert await result(saga, input, number) == "succeeded"
        assert await saga.state(input) == "refunded"
        await self._require_same_money(input, payment_id, gateway)

    async def late(self, gateway: FaultyGateway) -> None:
        """Cancelled, paid even so, and sent back; the bank takes its time where that is read."""
        saga, input = self.saga, self.input()
        session_id = await self._check_out(input, gateway)
        handle = saga.handle(input)
        await handle.execute_update(BookingContract.cancel, CancelRequest(input.user_id))
        assert (await handle.result())["state"] == "cancelled"
        gateway.refund_outcome = "pending" if "read_refund" in gateway.name else "succeeded"
        payment_id = pay(self.provider, session_id, force=True)
        await self._tell(gateway, session_id)
        await self._settle(payment_id)
        [[receipt_id]] = await saga.rows(
            "SELECT id FROM provider_payments WHERE reference = :ref", ref=payment_id
        )
        await saga.client.get_workflow_handle(f"late-payment-{receipt_id}").result()
        assert await saga.state(input) == "cancelled"
        await self._require_same_money(input, payment_id, gateway)

    async def authorised(self, gateway: FaultyGateway) -> None:
        """Promised, and taken for seats that are final; where that is read, it was not all taken.

        Somebody takes a part of it at the provider first: ours is refused, so the payment is read,
        and it is a wrong sum.
        """
        saga, input = self.saga, self.input()
        session_id = await self._check_out(input, gateway, self._promising)
        payment_id = pay(self.provider, session_id, "authorised")
        is_taken_first = gateway.target == "read_payment"
        if is_taken_first:
            self._somebody_takes(gateway, "capture", payment_id, PRICE - 1)
        await self._tell(gateway, session_id)
        end = (await saga.handle(input).result())["state"]
        assert end == ("expired" if is_taken_first else "confirmed")
        if is_taken_first:
            await self._came_back(payment_id)
        taken = PRICE - is_taken_first
        await self._require_same_money(
            input, payment_id, gateway, captured=taken, refunded=taken if is_taken_first else 0
        )

    async def let_go(self, gateway: FaultyGateway) -> None:
        """Cancelled, promised even so, and voided; where that is read, somebody took it first."""
        saga, input = self.saga, self.input()
        session_id = await self._check_out(input, gateway, self._promising)
        handle = saga.handle(input)
        await handle.execute_update(BookingContract.cancel, CancelRequest(input.user_id))
        assert (await handle.result())["state"] == "cancelled"
        payment_id = pay(self.provider, session_id, "authorised", force=True)
        is_taken_first = gateway.target == "read_payment"
        if is_taken_first:
            self._somebody_takes(gateway, "void", payment_id, PRICE)
        await self._tell(gateway, session_id)
        end = await self._came_back(payment_id)
        assert end == ("succeeded" if is_taken_first else "voided")
        taken = PRICE if is_taken_first else 0
        await self._require_same_money(input, payment_id, gateway, captured=taken, refunded=taken)

    async def reconciled(self, gateway: FaultyGateway) -> None:
        """Nothing is ever told: the payment and then its refund are found in the lists."""
        saga, input = self.saga, self.input()
        since = datetime.now(UTC)
        session_id = await self._check_out(input, gateway)
        payment_id = pay(self.provider, session_id)
        await self._reconcile(gateway, since, payment_id)
        assert (await saga.handle(input).result())["state"] == "confirmed"
        gateway.refund_outcome = "pending"
        gateway.unheard = {"read_refund"}
        number = await ask(saga, input)
        await self._settle(payment_id)
        await self._reconcile(gateway, since, payment_id)
        assert [status for _, status, *_ in await refunds(saga, input)] == ["succeeded"]
        gateway.unheard = set()
        assert await result(saga, input, number) == "succeeded"
        assert await saga.state(input) == "refunded"
        await self._require_same_money(input, payment_id, gateway)

    def _somebody_takes(
        self, gateway: FaultyGateway, before: str, payment_id: str, amount: int
    ) -> None:
        def take() -> None:
            path = f"/v1/payments/{payment_id}/capture"
            assert self.provider.post(path, {"amount": amount}).status_code == 200

        gateway.meanwhile[before] = take

    async def _came_back(self, payment_id: str) -> str:
        """How the process of money that nobody wants has ended; begun as the reaper does."""
        found = await receipt_id(self.saga, payment_id)
        await self.saga.news.tell_again(found)
        handle = self.saga.client.get_workflow_handle(f"late-payment-{found}")
        return str((await handle.result())["outcome"])

    async def _reconcile(self, gateway: FaultyGateway, since: datetime, payment_id: str) -> None:
        """As the schedule does, until a run could compare the payment: one after the other."""
        reconciler = self.saga.reconciler()

        async def compared() -> bool:
            at = await reconciler.start(gateway.name, since)
            try:
                tally = await reconciler.run(gateway.name, at, lambda _: None)
            except Unavailable:
                return False
            return f"left: payment {payment_id} could not be compared" not in tally.told

        await eventually(compared, seconds=60)

    async def _check_out(
        self, input: BookingInput, gateway: FaultyGateway, saga: Saga | None = None
    ) -> str:
        assert await self.saga.reserve(input) == "held"
        attempt, _ = await until_answered(
            lambda: (saga or self.saga).desk.checkout(
                Caller(UUID(input.user_id), "test-request"),
                UUID(input.booking_id),
                provider_name=gateway.name,
                return_url="http://shop.test/back",
            )
        )
        assert attempt.session_id is not None
        return attempt.session_id

    async def _tell(self, gateway: FaultyGateway, session_id: str) -> None:
        """The inbox loop puts a webhook back until the provider answers."""
        assert await until_answered(
            lambda: self.saga.news.by_session(gateway.name, session_id, request_id="webhook")
        )

    async def _settle(self, payment_id: str) -> None:
        """A refund that hangs takes the outcome of whoever has the turn when its effect comes."""
        [refund] = await self._some_refunds(payment_id)
        if refund["status"] == "pending":
            path = f"/test/refunds/{refund['id']}/settle"
            answer = await asyncio.to_thread(self.provider.post, path, {"outcome": "succeeded"})
            assert answer.status_code == 200, answer.text

    async def _refunds(self, payment_id: str) -> list[dict[str, Any]]:
        # Thirteen ask at once; the steps of the sagas run on this loop, too, and have two seconds.
        ledger = await asyncio.to_thread(self.provider.get, "/test/ledger")
        return [one for one in ledger.json()["refunds"] if one["payment_id"] == payment_id]

    async def _some_refunds(self, payment_id: str) -> list[dict[str, Any]]:
        """What the provider's ledger has, when it has something."""
        found: list[dict[str, Any]] = []

        async def some() -> bool:
            found[:] = await self._refunds(payment_id)
            return bool(found)

        await eventually(some, seconds=60)
        return found

    async def _require_same_money(
        self,
        input: BookingInput,
        payment_id: str,
        gateway: FaultyGateway,
        *,
        captured: int = PRICE,
        refunded: int = PRICE,
    ) -> None:
        """To the unit, in what came in, in what went back, and in what is left."""
        # One that had its effect may not be needed again.
        assert gateway.failed, "the call was never made"
        theirs = await gateway.look(f"/v1/payments/{payment_id}")
        [ours] = await self.saga.rows(
            "SELECT coalesce(sum(debit), 0), coalesce(sum(credit) FILTER (WHERE kind <> 'fee'), 0),"
            " coalesce(sum(credit) FILTER (WHERE kind = 'fee'), 0) FROM ledger_entries"
            " WHERE booking_id = :id AND account = 'provider'",
            id=UUID(input.booking_id),
        )
        assert ours == (theirs["captured"], theirs["refunded"], theirs["fee"])
        assert ours[:2] == (captured, refunded)
        assert (theirs["fee"] > 0) is (captured > 0)
        gone = [one["amount"] for one in await self._refunds(payment_id)]
        assert gone == [refunded] * (refunded > 0)
        async with self.saga.begin.alone() as tx:
            assert await is_settled(tx, UUID(input.booking_id))
        left = await self.saga.rows(
            "SELECT state FROM seat_claims WHERE booking_id = :id AND state <> 'free'",
            id=UUID(input.booking_id),
        )
        assert left == [("sold",)] * (captured > refunded)


async def until_answered(ask: Callable[[], Awaitable[T]]) -> T:
    """What a call comes to once the provider is usable."""
    answers: list[T] = []

    async def answered() -> bool:
        try:
            answers.append(await ask())
        except Unavailable:
            return False
        return True

    await eventually(answered, seconds=60)
    return answers[0]


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One of its own: its ledger, which is asked for again and again, is short."""
    with running_sandbox(tmp_path_factory.mktemp("faulty") / "sandbox.sqlite") as sandbox:
        yield sandbox


@pytest.fixture
def play(
    engine: AsyncEngine,
    database: Database,
    redis: Redis,
    temporal: Client,
    provider: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> Play:
    """Tell each named story with that fault; how those that went wrong did."""
    monkeypatch.setattr(wire, "TOTAL_SECONDS", PATIENCE)

    async def played(names: Sequence[str], fault: str) -> dict[str, BaseException]:
        async with opened(provider, names, FAULTS[fault]) as gateways:
            saga = Saga(engine, database, temporal, RedisSeatPreclaims(redis), gateways)
            hall = await create_hall(engine, seats=len(names), starts_in_hours=48)
            street = Street(saga, hall, provider)
            async with saga.worker():
                ends = await asyncio.gather(
                    *map(street.tell, gateways.values()), return_exceptions=True
                )
        return {name: end for name, end in zip(names, ends, strict=True) if end is not None}

    return played


# Thirteen bookings take turns at one provider, some of which wait for what hangs.
@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", FAULTS)
async def test_the_books_agree_whichever_call_fails(play: Play, fault: str) -> None:
    assert await play(NAMES, fault) == {}


async def test_without_asking_again_money_is_taken_for_no_seat(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: silence taken for a no."""
    asked = capture.capture

    async def once(*of: Any, **how: Any) -> bool:
        try:
            return await asked(*of, **how)
        except Unavailable:
            return False

    monkeypatch.setattr(capture, "capture", once)
    wrong = await play(["authorised-capture"], "error after the effect")
    assert "'expired' == 'confirmed'" in str(wrong["authorised-capture"])


def test_each_call_of_the_port_fails_in_some_story() -> None:
    calls = {name for name, call in vars(PaymentGateway).items() if iscoroutinefunction(call)}
    # It reads a webhook's body; an adapter that has to ask for the session asks by another call.
    calls.remove("session_id_of")
    assert calls == set(CALLS.values()) == {call for calls in STORIES.values() for call in calls}
