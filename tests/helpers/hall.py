"""One show as its keys stand in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from redis.asyncio import Redis

from services.preclaim import ActiveClaim

HOLD_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Hall:
    redis: Redis
    id: UUID

    def key(self, label: str) -> str:
        return f"{{show:{self.id}}}:seat:{label}"

    async def mark(self, label: str) -> str | None:
        value = await self.redis.get(self.key(label))
        return value.decode() if isinstance(value, bytes) else value

    async def ttl_seconds(self, label: str) -> float:
        return float(await self.redis.pttl(self.key(label))) / 1000

    async def expire(self, *labels: str) -> None:
        """As if their leases had run out."""
        for label in labels:
            await self.redis.pexpire(self.key(label), 0)

    async def later(self, seconds: float) -> None:
        """As if so much time had passed for every key of the show that ends at all."""
        async for key in self.redis.scan_iter(match=f"{{show:{self.id}}}:*", count=1000):
            left = await self.redis.pttl(key)
            if left >= 0:
                await self.redis.pexpire(key, max(0, left - int(seconds * 1000)))


async def nothing(_: Sequence[str] | None = None) -> list[ActiveClaim]:
    return []


def held(label: str, booking: UUID, ttl_seconds: int = HOLD_SECONDS) -> ActiveClaim:
    return ActiveClaim(label, booking, "held", ttl_seconds)


def sold(label: str, booking: UUID) -> ActiveClaim:
    return ActiveClaim(label, booking, "sold", None)
