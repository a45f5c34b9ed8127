"""Events become what partners are told; what is older than the log goes."""

from __future__ import annotations

import structlog

from services.partner_delivery import PartnerFeed

log = structlog.get_logger(__name__)

# As many as the feed takes over at once: then there may be more.
BATCH = 500


class PartnerFeedLoop:
    """Of any number of these, one is at work."""

    def __init__(self, feed: PartnerFeed) -> None:
        self._feed = feed

    async def one_pass(self) -> int:
        return await self._feed.project()


class PartnerSweepLoop:
    def __init__(self, feed: PartnerFeed) -> None:
        self._feed = feed

    async def one_pass(self) -> int:
        swept = await self._feed.sweep()
        if swept:
            log.info("partner_events_swept", events=swept)
        return swept
