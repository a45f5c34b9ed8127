"""The sandbox behind the payment port, which knows the pages of its own test."""

from __future__ import annotations

from typing import Any

from domain.payment import ProviderSession
from infra.gateways.sandbox import SandboxGateway


class OwnPages(SandboxGateway):
    """``pages`` are those opened here: a worker also gets what other tests left behind."""

    def __init__(self, base_url: str) -> None:
        super().__init__(base_url)
        self.pages: set[str] = set()

    async def open_session(self, **wish: Any) -> ProviderSession:
        session = await super().open_session(**wish)
        self.pages.add(session.session_id)
        return session
