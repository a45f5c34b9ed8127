"""Everything the API is made of, opened once a process by ``api/app.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends
from redis.asyncio import Redis
from starlette.requests import Request
from temporalio.client import Client

from api.hot.shelf import Shelf
from api.streams.availability import AvailabilityStreams
from infra.api_keys import ApiKeys
from infra.ended_sessions import EndedSessions
from infra.gateways.events import WebhookVerifier
from infra.known_places import KnownPlaces
from infra.postgres.database import Database
from infra.postgres.idempotency import PostgresIdempotency
from infra.postgres.inbox import InboxWriter
from infra.postgres.show import ShowCache
from infra.rate_limits import RateLimits
from infra.redis.news import Newsroom
from infra.settings import Settings
from infra.tokens import TokenSigner
from infra.turns import Turns
from services.api_key import ApiKeyDesk
from services.desk import BookingDesk
from services.gateway import PaymentGateway
from services.offer_desk import OfferDesk
from services.partner import PartnerDesk
from services.password import PasswordDesk
from services.ports import UnitOfWork
from services.profile import ProfileDesk
from services.refund_desk import RefundDesk
from services.reserve import Reserver
from services.second_factor import SecondFactors
from services.session import Sessions
from services.show_cancel import ShowDesk
from services.staff import StaffDesk
from services.user import Accounts


@dataclass(frozen=True, slots=True)
class AppState:
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
    signer: TokenSigner
    ended_sessions: EndedSessions
    sessions: Sessions
    door: Turns
    accounts: Accounts
    passwords: PasswordDesk
    profiles: ProfileDesk
    staff: StaffDesk
    api_keys: ApiKeyDesk
    api_key_check: ApiKeys
    factors: SecondFactors
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
