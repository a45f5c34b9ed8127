"""The sandbox behind the payment port, where one call fails at first, in one way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from domain.errors import Unavailable
from domain.payment import PaymentPage
from tests.helpers.own_pages import OwnPages
from tests.sandbox.process import NO_FAULTS, Sandbox

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
# Method, noun, whether one of them is named by its id, and what is done to it.
CALLS = {
    ("POST", "sessions", False, ""): "open_session",
    ("GET", "sessions", True, ""): "read_session",
    ("POST", "sessions", True, "expire"): "expire_session",
    ("GET", "payments", True, ""): "read_payment",
    ("GET", "payments", False, ""): "list_payments",
    ("POST", "payments", True, "capture"): "capture",
    ("POST", "payments", True, "void"): "void",
    ("POST", "refunds", False, ""): "refund",
    ("GET", "refunds", True, ""): "read_refund",
    ("GET", "refunds", False, ""): "list_refunds",
}


class FaultyGateway(OwnPages):
    """The provider as one booking meets it: one call of it fails at first, in one way.

    Faults are of the whole provider, so all the gateways here call it in turn. ``meanwhile`` is
    done by somebody else at the provider just before the first call of that name. Of a call in
    ``unheard`` no answer comes. Its list shows the payments of its own pages only.
    """

    def __init__(
        self, provider: Sandbox, name: str, fault: dict[str, Any], turn: asyncio.Lock
    ) -> None:
        super().__init__(provider.url)
        self.story, _, self.target = name.partition("-")
        self._provider, self._name, self._fault, self._turn = provider, name, fault, turn
        self.failed = 0
        self.refund_outcome = "succeeded"
        self.meanwhile: dict[str, Callable[[], object]] = {}
        self.unheard: set[str] = set()

    @property
    def name(self) -> str:
        return self._name

    async def list_payments(self, since: datetime, cursor: str | None = None) -> PaymentPage:
        page = await super().list_payments(since, cursor)
        ours = tuple(one for one in page.payments if one.session_id in self.pages)
        return replace(page, payments=ours)

    async def look(self, path: str) -> dict[str, Any]:
        """What the provider says to one who asks while nothing fails."""
        async with self._turn:
            answer = await asyncio.to_thread(self._provider.get, path)
            return dict(answer.json())

    async def _call(self, shape: Any, method: str, path: str, **wish: Any) -> Any:
        noun, _, rest = path.partition("?")[0].removeprefix("/v1/").partition("/")
        call = CALLS[method, noun, bool(rest), rest.partition("/")[2]]
        async with self._turn:
            if call in self.unheard:
                raise Unavailable("Nobody waits for the answer.")
            if call in self.meanwhile:
                await asyncio.to_thread(self.meanwhile.pop(call))
            faults = {"refund_outcome": self.refund_outcome}
            if call == self.target and self.failed < TIMES:
                self.failed += 1
                faults |= self._fault
            await asyncio.to_thread(self._provider.configure, **faults)
            try:
                return await super()._call(shape, method, path, **wish)
            finally:
                await asyncio.to_thread(self._provider.configure, **NO_FAULTS)


@asynccontextmanager
async def opened(
    provider: Sandbox, names: Iterable[str], fault: dict[str, Any]
) -> AsyncIterator[dict[str, FaultyGateway]]:
    """A gateway for each ``story-call``."""
    turn = asyncio.Lock()
    gateways = {name: FaultyGateway(provider, name, fault, turn) for name in names}
    yield gateways
    for gateway in gateways.values():
        await gateway.aclose()
