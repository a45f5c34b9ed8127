"""Each call of the payment port, failed in each way: the books agree, and the booking has an end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client

from contracts.booking import BookingContract
from domain.errors import Unavailable
from domain.steps import BookingInput, CancelRequest
from infra.gateways import wire
from infra.gateways.sandbox import SandboxGateway
from infra.postgres.database import Database
from infra.redis.seat_claims import RedisSeatPreclaims
from services.desk import Caller
from tests.factories import Hall, create_hall
from tests.helpers.books import is_settled
from tests.helpers.eventually import eventually
from tests.helpers.saga import Saga
from tests.sandbox.process import NO_FAULTS, Sandbox
from tests.workflows.test_booking_paths import pay
from tests.workflows.test_refunds import ask, result

T = TypeVar("T")
# How long we wait for the provider here, so that one that hangs costs no five seconds.
PATIENCE = 0.8
HANG_MS = 1500
TIMES = 2
FAULTS: dict[str, dict[str, Any]] = {
    "error before the effect": {"error_rate": 1.0},
    "error after the effect": {"error_rate": 1.0, "fail_after_effect": True},
    # The effect comes when nobody waits for the answer any more.
    "hang": {"hang_ms": HANG_MS},
    "hang after the effect": {"hang_ms": HANG_MS, "fail_after_effect": True},
    "429": {"respond": "429"},
    "HTML": {"respond": "html"},
    "HTML after the effect": {"respond": "html", "fail_after_effect": True},
    "redirect": {"respond": "redirect"},
}
SOLD_CALLS = ("open_session", "read_session", "refund", "read_refund")
LATE_CALLS = ("expire_session", "read_session", "refund", "read_refund")
CALLS = {
    ("POST", "sessions", ""): "open_session",
    ("GET", "sessions", ""): "read_session",
    ("POST", "sessions", "expire"): "expire_session",
    ("GET", "payments", ""): "read_payment",
    ("POST", "refunds", ""): "refund",
    ("GET", "refunds", ""): "read_refund",
}


class FaultyGateway(SandboxGateway):
    """The provider as one booking meets it: one call of it fails at first, in one way.

    Faults are of the whole provider, so all the gateways here call it in turn.
    """

    def __init__(self, provider: Sandbox, name: str, target: str, fault: dict[str, Any]) -> None:
        super().__init__(provider.url)
        self._provider, self._name, self._target, self._fault = provider, name, target, fault
        self._turn = asyncio.Lock()
        self.failed = 0
        self.refund_outcome = "succeeded"

    @property
    def name(self) -> str:
        return self._name

    def take_turns(self, turn: asyncio.Lock) -> None:
        self._turn = turn

    async def look(self, path: str) -> dict[str, Any]:
        """What the provider says to one who asks while nothing fails."""
        async with self._turn:
            return dict(self._provider.get(path).json())

    async def _call(self, shape: Any, method: str, path: str, **wish: Any) -> Any:
        noun, _, rest = path.removeprefix("/v1/").partition("/")
        call = CALLS[method, noun, rest.partition("/")[2]]
        async with self._turn:
            faults = {"refund_outcome": self.refund_outcome}
            if call == self._target and self.failed < TIMES:
                self.failed += 1
                faults |= self._fault
            self._provider.configure(**faults)
            try:
                return await super()._call(shape, method, path, **wish)
            finally:
                self._provider.configure(**NO_FAULTS)


class Street:
    """Some bookings side by side, each with a provider that fails at another call."""

    def __init__(self, saga: Saga, hall: Hall, provider: Sandbox) -> None:
        self.saga, self.hall, self.provider = saga, hall, provider
        self._places = iter(hall.labels)

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
        await handle.execute_update(BookingContract.cancel, CancelRequest("buyer"))
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

    async def _check_out(self, input: BookingInput, gateway: FaultyGateway) -> str:
        assert await self.saga.reserve(input) == "held"
        attempt, _ = await until_answered(
            lambda: self.saga.desk.checkout(
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
        [refund] = await self._refunds(payment_id)
        if refund["status"] == "pending":
            path = f"/test/refunds/{refund['id']}/settle"
            answer = self.provider.post(path, {"outcome": "succeeded"})
            assert answer.status_code == 200, answer.text

    async def _refunds(self, payment_id: str) -> list[dict[str, Any]]:
        """What the provider's ledger has, when it has something."""
        found: list[dict[str, Any]] = []

        async def some() -> bool:
            refunds = self.provider.get("/test/ledger").json()["refunds"]
            found[:] = [one for one in refunds if one["payment_id"] == payment_id]
            return bool(found)

        await eventually(some, seconds=30)
        return found

    async def _require_same_money(
        self, input: BookingInput, payment_id: str, gateway: FaultyGateway
    ) -> None:
        """To the unit, in what came in, in what went back, and in what is left."""
        # One that had its effect may not be needed again.
        assert gateway.failed, "the call was never made"
        theirs = await gateway.look(f"/v1/payments/{payment_id}")
        [[captured, refunded, fee]] = await self.saga.rows(
            "SELECT coalesce(sum(debit), 0), coalesce(sum(credit) FILTER (WHERE kind <> 'fee'), 0),"
            " coalesce(sum(credit) FILTER (WHERE kind = 'fee'), 0) FROM ledger_entries"
            " WHERE booking_id = :id AND account = 'provider'",
            id=UUID(input.booking_id),
        )
        assert (captured, refunded) == (theirs["captured"], theirs["refunded"]) == (1200, 1200)
        assert fee == theirs["fee"] > 0
        assert [one["amount"] for one in await self._refunds(payment_id)] == [1200]
        async with self.saga.begin.alone() as tx:
            assert await is_settled(tx, UUID(input.booking_id))
        assert not await self.saga.rows(
            "SELECT label FROM seat_claims WHERE booking_id = :id AND state <> 'free'",
            id=UUID(input.booking_id),
        )


async def until_answered(ask: Callable[[], Awaitable[T]]) -> T:
    """What a call comes to once the provider is usable."""
    answers: list[T] = []

    async def answered() -> bool:
        try:
            answers.append(await ask())
        except Unavailable:
            return False
        return True

    await eventually(answered, seconds=30)
    return answers[0]


@asynccontextmanager
async def opened(
    provider: Sandbox, names: tuple[str, ...], fault: dict[str, Any]
) -> AsyncIterator[dict[str, FaultyGateway]]:
    turn = asyncio.Lock()
    gateways = {}
    for name in names:
        gateways[name] = FaultyGateway(provider, name, name.partition("-")[2], fault)
        gateways[name].take_turns(turn)
    yield gateways
    for gateway in gateways.values():
        await gateway.aclose()


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_books_agree_whichever_call_fails(
    engine: AsyncEngine,
    database: Database,
    redis: Redis,
    temporal: Client,
    provider: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    monkeypatch.setattr(wire, "TOTAL_SECONDS", PATIENCE)
    names = tuple([f"sold-{call}" for call in SOLD_CALLS] + [f"late-{call}" for call in LATE_CALLS])
    async with opened(provider, names, FAULTS[fault]) as gateways:
        saga = Saga(engine, database, temporal, RedisSeatPreclaims(redis), gateways)
        hall = await create_hall(engine, seats=len(names), starts_in_hours=48)
        street = Street(saga, hall, provider)
        async with saga.worker():
            ends = await asyncio.gather(
                *(
                    street.sold(gateway) if name.startswith("sold") else street.late(gateway)
                    for name, gateway in gateways.items()
                ),
                return_exceptions=True,
            )
    wrong = {name: end for name, end in zip(names, ends, strict=True) if end is not None}
    assert not wrong


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_payment_that_cannot_be_read_is_not_known(
    provider: Sandbox, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """No booking hangs on this call: who asks learns that there is no answer, and asks again."""
    monkeypatch.setattr(wire, "TOTAL_SECONDS", PATIENCE)
    payment_id = provider.pay(provider.session(), webhooks={"deliver": False})
    gateway = FaultyGateway(provider, "sandbox", "read_payment", FAULTS[fault])
    for _ in range(TIMES):
        with pytest.raises(Unavailable):
            await gateway.read_payment(payment_id)
    assert (await gateway.read_payment(payment_id)).captured == 2400
    await gateway.aclose()
