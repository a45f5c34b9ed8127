"""The API put together from its parts: `create_app` is what a server runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from api import errors, openapi
from api.commands import api_keys, auth, bookings, cases, offers, partners, shows, staff, webhooks
from api.commands import me as me_commands
from api.commands import refunds as refund_commands
from api.deps.people import open_people
from api.deps.state import AppState
from api.edge import door_of, surround
from api.hot.front import Front
from api.hot.shelf import Route, Shelf
from api.middleware.guard import Access
from api.middleware.metrics import Metrics
from api.pages import routes as pages
from api.policy import POLICY, require_public
from api.queries import api_keys as api_key_queries
from api.queries import audit, catalogue, health, me, not_yet
from api.queries import bookings as booking_queries
from api.queries import cases as case_queries
from api.queries import partners as partner_queries
from api.queries import refunds as refund_queries
from api.queries import reports as report_queries
from api.queries import shows as show_queries
from api.queries import staff as staff_queries
from api.refusals import Refusals
from api.streams.availability import ROUTE as STREAM_ROUTE
from api.streams.availability import AvailabilityStreams, Crowds
from domain.limits import STREAMS_PER_ADDRESS
from infra.api_keys import ApiKeys
from infra.gateways.assembly import open_gateways, webhook_verifiers
from infra.known_places import KnownPlaces
from infra.postgres.api_key import PostgresApiKeys
from infra.postgres.database import Database
from infra.postgres.guards import require_guards
from infra.postgres.idempotency import PostgresIdempotency
from infra.postgres.inbox import InboxWriter
from infra.postgres.partner_endpoint import PostgresEndpoints
from infra.postgres.show import ShowCache
from infra.postgres.uow import PostgresUnitOfWork
from infra.postgres.work import PostgresWorkQueue
from infra.rate_limits import RateLimits
from infra.redis.client import create_redis
from infra.redis.news import NewsFeed, Newsroom
from infra.redis.seat_claims import RedisSeatPreclaims
from infra.redis.shared_copies import SharedCopies
from infra.sealing import SealRing
from infra.settings import Settings
from infra.temporal import TemporalBookingProcess, connect
from infra.temporal_shows import TemporalShowProcess
from services.api_key import ApiKeyDesk
from services.desk import BookingDesk
from services.offer_desk import OfferDesk
from services.partner import PartnerDesk
from services.payment_news import PaymentNews
from services.refund_desk import RefundDesk
from services.reserve import Reserver
from services.show_cancel import ShowDesk

# Routes are tried in this order, so the busiest come first.
ROUTERS = (
    webhooks.router,
    bookings.router,
    booking_queries.router,
    catalogue.router,
    auth.router,
    me.router,
    me_commands.router,
    refund_commands.router,
    offers.router,
    refund_queries.router,
    health.router,
    cases.router,
    case_queries.router,
    audit.router,
    shows.router,
    show_queries.router,
    report_queries.router,
    staff.router,
    staff_queries.router,
    api_keys.router,
    api_key_queries.router,
    partners.router,
    partner_queries.router,
)

# A process that a crowd has just reached comes late to what Redis answered: a second, not a fifth,
# or it would read by itself what another reads for all.
REFILL_PATIENCE = 5

log = structlog.get_logger("api")


class SeatholdApi(FastAPI):
    """``front`` is asked before the framework: what crowds read is ready there."""

    front: Front

    def openapi(self) -> dict[str, Any]:
        return openapi.document(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and await self.front.answer(scope, receive, send):
            return
        await super().__call__(scope, receive, send)


def create_app(settings: Settings) -> SeatholdApi:
    """The application; its connections are opened when a server starts it.

    Raises:
        RuntimeError: the policy and the routes do not fit; at start-up, when the index that
            guards the seats is missing or invalid, or in production when the database role can
            rewrite the past.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with open_parts(settings) as parts:
            app.state.parts = parts
            app.front.shelf = parts.shelf
            app.front.streams = parts.streams
            log.info("api_ready")
            async with Refusals(parts.begin, app.state.metrics).told():
                yield

    has_docs = settings.public_docs or settings.env != "production"
    app = SeatholdApi(
        title=openapi.TITLE,
        docs_url=None,
        openapi_url="/openapi.json" if has_docs else None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.metrics = Metrics()
    app.front = Front(app.state.metrics, door_of(app, settings))
    errors.install(app)
    for router in (*ROUTERS, pages.pages_router(), *([pages.docs_router()] if has_docs else [])):
        app.include_router(router)
    # Its last route is for many paths.
    app.include_router(not_yet.router)
    surround(app, settings, Access(app.routes, POLICY))
    require_public((*Route, STREAM_ROUTE), POLICY)
    return app


@asynccontextmanager
async def open_parts(settings: Settings) -> AsyncIterator[AppState]:
    """Open everything a process needs and close it in reverse; Temporal may be away."""
    async with AsyncExitStack() as stack:
        database = Database(settings, application_name="seathold-api")
        stack.push_async_callback(database.close)
        await require_guards(database, production=settings.env == "production")
        redis = create_redis(settings)
        stack.push_async_callback(redis.aclose)
        feed = await stack.enter_async_context(NewsFeed(redis).listening())
        patient = create_redis(settings, patience=REFILL_PATIENCE)
        stack.push_async_callback(patient.aclose)
        shelf = Shelf(database, SharedCopies(patient), feed)
        gateways = await stack.enter_async_context(open_gateways(settings))
        people = await stack.enter_async_context(open_people(settings, database, redis))
        temporal = await connect(settings, lazy=True)
        begin = PostgresUnitOfWork(database)
        process = TemporalBookingProcess(temporal)
        preclaims = RedisSeatPreclaims(redis)
        work = PostgresWorkQueue(database, settings.hold_limits)
        api_key_check = ApiKeys(database)
        yield AppState(
            settings=settings,
            database=database,
            begin=begin,
            redis=redis,
            limits=RateLimits(redis) if settings.rate_limit_per_minute else None,
            places=KnownPlaces(redis, settings.key_ring),
            temporal=temporal,
            gateways=gateways,
            webhooks=webhook_verifiers(settings),
            inbox=InboxWriter(database),
            signer=people.signer,
            ended_sessions=people.ended_sessions,
            sessions=people.sessions,
            door=people.door,
            accounts=people.accounts,
            passwords=people.passwords,
            factors=people.factors,
            profiles=people.profiles,
            staff=people.staff,
            api_keys=ApiKeyDesk(PostgresApiKeys(database), api_key_check.forget),
            api_key_check=api_key_check,
            idempotency=PostgresIdempotency(database),
            shows=ShowCache(database),
            reserver=Reserver(begin, preclaims, process),
            desk=BookingDesk(
                begin,
                process,
                work,
                PaymentNews(begin, gateways, process, work, preclaims),
                gateways,
                settings.hold_limits,
                settings.payment_mode,
            ),
            refunds=RefundDesk(begin, process, settings.brackets),
            show_desk=ShowDesk(
                begin,
                TemporalShowProcess(temporal, refunds_per_second=settings.refunds_per_second),
                refunds_per_second=settings.refunds_per_second,
            ),
            offers=OfferDesk(begin, process),
            shelf=shelf,
            streams=AvailabilityStreams(shelf, _crowds(settings)),
            news=Newsroom(redis),
            partners=PartnerDesk(
                PostgresEndpoints(database),
                SealRing(settings.partner_secret_keys.get_secret_value()),
                settings.partner_policy,
            ),
        )


def _crowds(settings: Settings) -> Crowds:
    return Crowds(STREAMS_PER_ADDRESS if settings.rate_limit_per_minute else 0)
