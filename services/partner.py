"""Endpoints of partners: made, changed, rotated, tried out, replayed and taken away."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID, uuid4

from domain.errors import Conflict, NotFound
from domain.outbound import OutboundPolicy, target_of
from domain.partner import MAX_ENDPOINTS, choice

# Standard Webhooks: 24 to 64 bytes.
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose endpoints, and under which request."""

    id: UUID
    request_id: str | None

    @property
    def actor(self) -> str:
        return str(self.id)


@dataclass(frozen=True, slots=True)
class Endpoint:
    id: UUID
    url: str
    description: str
    event_types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a change asks for; None: as it is."""

    url: str | None = None
    description: str | None = None
    event_types: Sequence[str] | None = None
    enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class Replayed:
    """``more_from``: where to go on when there was more than is replayed at once."""

    count: int
    more_from: datetime | None


class Sealer(Protocol):
    def seal(self, secret: bytes, place: str) -> bytes: ...


class EndpointStore(Protocol):
    """Each call is a transaction; a foreign endpoint is none."""

    async def add(self, owner: Owner, new: Endpoint, secret: bytes, *, most: int) -> bool:
        """False: the owner has as many as he may."""
        ...

    async def change(
        self, owner: Owner, endpoint_id: UUID, versions: frozenset[int] | None, wish: Wish
    ) -> bool | None:
        """None: no such endpoint; False: it is another version by now."""
        ...

    async def rotate(
        self, owner: Owner, endpoint_id: UUID, secret: bytes, *, overlap_seconds: int
    ) -> bool:
        """The secret that was in use goes on signing beside the new one for the overlap."""
        ...

    async def remove(self, owner: Owner, endpoint_id: UUID) -> bool: ...

    async def send_test(self, owner: Owner, endpoint_id: UUID) -> UUID | None:
        """Queue a test event for this endpoint alone; the delivery's id.

        Raises:
            Conflict: ``endpoint_disabled``.
        """
        ...

    async def replay(self, owner: Owner, delivery_id: UUID) -> bool:
        """Queue the delivery again; raises as ``send_test``."""
        ...

    async def replay_since(
        self, owner: Owner, endpoint_id: UUID, since: datetime
    ) -> Replayed | None:
        """Queue again whatever the endpoint is owed of events since then; raises as above."""
        ...


def place_of(endpoint_id: UUID) -> str:
    """What a sealed secret is bound to."""
    return f"partner_endpoint:{endpoint_id}"


class PartnerDesk:
    def __init__(self, store: EndpointStore, sealer: Sealer, policy: OutboundPolicy) -> None:
        self._store = store
        self._sealer = sealer
        self._policy = policy

    async def create(
        self, owner: Owner, *, url: str, description: str, event_types: Sequence[str]
    ) -> tuple[UUID, str]:
        """The new endpoint's id and its secret, which is never shown again.

        Raises:
            Invalid: ``invalid_url``.
            Conflict: ``limit_reached``.
        """
        target_of(url, self._policy)
        id_, (secret, raw) = uuid4(), _new_secret()
        new = Endpoint(id_, url, description, tuple(choice(event_types)))
        sealed = self._sealer.seal(raw, place_of(id_))
        if not await self._store.add(owner, new, sealed, most=MAX_ENDPOINTS):
            raise Conflict(
                f"An account has at most {MAX_ENDPOINTS} endpoints; delete one first.",
                code="limit_reached",
                limit=MAX_ENDPOINTS,
            )
        return id_, secret

    async def change(
        self, owner: Owner, endpoint_id: UUID, versions: frozenset[int] | None, wish: Wish
    ) -> None:
        """Raises Invalid ``invalid_url``, NotFound, Conflict ``precondition_failed``."""
        if wish.url is not None:
            target_of(wish.url, self._policy)
        changed = await self._store.change(owner, endpoint_id, versions, wish)
        if changed is None:
            raise _unknown()
        if not changed:
            raise Conflict(
                "The endpoint was changed since you read it; read it again.",
                code="precondition_failed",
            )

    async def rotate(self, owner: Owner, endpoint_id: UUID, *, overlap_seconds: int) -> str:
        """The new secret, which is never shown again; raises NotFound."""
        secret, raw = _new_secret()
        sealed = self._sealer.seal(raw, place_of(endpoint_id))
        if not await self._store.rotate(
            owner, endpoint_id, sealed, overlap_seconds=overlap_seconds
        ):
            raise _unknown()
        return secret

    async def remove(self, owner: Owner, endpoint_id: UUID) -> None:
        """Raises NotFound."""
        if not await self._store.remove(owner, endpoint_id):
            raise _unknown()

    async def send_test(self, owner: Owner, endpoint_id: UUID) -> UUID:
        """Raises NotFound, Conflict ``endpoint_disabled``."""
        delivery_id = await self._store.send_test(owner, endpoint_id)
        if delivery_id is None:
            raise _unknown()
        return delivery_id

    async def replay(self, owner: Owner, delivery_id: UUID) -> None:
        """Raises NotFound, Conflict ``endpoint_disabled``."""
        if not await self._store.replay(owner, delivery_id):
            raise NotFound("There is no such delivery.")

    async def replay_since(self, owner: Owner, endpoint_id: UUID, since: datetime) -> Replayed:
        """Raises NotFound, Conflict ``endpoint_disabled``."""
        replayed = await self._store.replay_since(owner, endpoint_id, since)
        if replayed is None:
            raise _unknown()
        return replayed


def _new_secret() -> tuple[str, bytes]:
    """As it is shown, and its bytes."""
    raw = secrets.token_bytes(SECRET_BYTES)
    return "whsec_" + base64.b64encode(raw).decode(), raw


def _unknown() -> NotFound:
    return NotFound("There is no such endpoint.")
