"""Everything the API is made of, opened once a process by ``api/app.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends
from redis.asyncio import Redis
from starlette.requests import Request
from temporalio.client import Client

from api.deps.people import People
from api.hot.shelf import Shelf
from api.streams.availability import AvailabilityStreams
from infra.api_keys import ApiKeys
from infra.gateways.events import WebhookVerifier
from infra.known_places import KnownPlaces
from infra.postgres.database import Database
from infra.postgres.idempotency import PostgresIdempotency
from infra.postgres.inbox import InboxWriter
from infra.postgres.show import ShowCache
from infra.rate_limits import RateLimits
from infra.redis.news import Newsroom
from infra.settings import Settings
from services.api_key import ApiKeyDesk
from services.desk import BookingDesk
from services.gateway import PaymentGateway
from services.offer_desk import OfferDesk
from services.partner import PartnerDesk
from services.ports import UnitOfWork
from services.refund_desk import RefundDesk
from services.reserve import Reserver
from services.show_cancel import ShowDesk


@dataclass(frozen=True, slots=True)
class AppState(People):
    settings: Settings
    database: Database
    begin: UnitOfWork
    redis: Redis
    limits: RateLimits | None
    places: KnownPlaces
    temporal: Client
    gateways: Mapping[str, PaymentGateway]
    webhooks: Mapping[str, WebhookVerifier]
    inbox: InboxWriter
    api_keys: ApiKeyDesk
    api_key_check: ApiKeys
    idempotency: PostgresIdempotency
    shows: ShowCache
    reserver: Reserver
    desk: BookingDesk
    refunds: RefundDesk
    show_desk: ShowDesk
    offers: OfferDesk
    shelf: Shelf
    streams: AvailabilityStreams
    news: Newsroom
    partners: PartnerDesk


async def app_state(request: Request) -> AppState:
    return cast(AppState, request.app.state.parts)


State = Annotated[AppState, Depends(app_state)]
