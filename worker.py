"""The worker process: Temporal's worker and the loops, put together from their parts."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import structlog
import uvloop
from temporalio.client import Client
from temporalio.worker import PollerBehaviorSimpleMaximum, UnsandboxedWorkflowRunner, Worker

from activities.booking import DatabaseBookingActivities
from activities.capture import GatewayCaptureActivities
from activities.late_payment import LateActivities
from activities.reconcile import ReconcileActivities
from activities.refund import RefundActivities
from activities.session import GatewayActivities
from activities.show_cancel import ShowCancelActivities
from contracts.booking import BOOKING_QUEUE, PAYMENT_QUEUE
from infra.gateways.assembly import Gateways, open_gateways
from infra.logging import configure_logging
from infra.memory import settle_memory
from infra.notify.account import account_render
from infra.notify.render import render
from infra.notify.sms import HttpSmsSender
from infra.notify.smtp import SmtpMailer
from infra.opaque_tokens import OpaqueTokens
from infra.outbound import Outbound
from infra.partner_sender import SignedSender
from infra.postgres.account_mail import PostgresAccountOutbox
from infra.postgres.audit import PostgresAuditSeals
from infra.postgres.case import PostgresWaitingCases
from infra.postgres.database import Database
from infra.postgres.guards import require_guards
from infra.postgres.outbox import PostgresOutboxQueue
from infra.postgres.partner_delivery import PostgresDeliveryQueue
from infra.postgres.partner_feed import PostgresPartnerFeed
from infra.postgres.uow import PostgresUnitOfWork
from infra.postgres.work import PostgresWorkQueue
from infra.reconcile import make_reconciler
from infra.redis.client import create_redis
from infra.redis.seat_claims import RedisSeatPreclaims
from infra.schedules import schedule_reconciliation
from infra.sealing import SealRing
from infra.settings import Settings
from infra.temporal import TemporalBookingProcess, connect, register_search_attributes
from infra.temporal_polls import wait_polled
from infra.temporal_shows import TemporalShowProcess
from loops import (
    audit_seal,
    case_alert,
    inbox,
    outbox,
    partner_feed,
    payment_poll,
    projector,
    reaper,
    sweep,
)
from loops.audit_seal import AuditSealLoop
from loops.case_alert import CaseAlertLoop
from loops.edge import Loop, repeat
from loops.inbox import InboxLoop
from loops.outbox import OutboxLoop
from loops.partner_delivery import PartnerDeliveryLoop
from loops.partner_feed import PartnerFeedLoop, PartnerSweepLoop
from loops.payment_poll import PaymentPollLoop
from loops.projector import ProjectorLoop
from loops.reaper import ReaperLoop
from loops.show_cancel import ShowCancelLoop
from loops.sweep import SweepLoop
from readmodel.projections.projector import Projector
from services.payment_news import PaymentNews
from services.preclaim import SeatPreclaims
from services.reconcile import Reconciler
from workflows.booking import BookingWorkflow
from workflows.late_payment import LatePaymentWorkflow
from workflows.reconcile import ReconcileWorkflow
from workflows.refund import RefundWorkflow
from workflows.show_cancel import ShowCancelWorkflow

Role = Literal["all", "booking", "loops"]
log = structlog.get_logger("worker")

# Python runs one task at a time: more slots only queue inside the process instead of outside.
WORKFLOW_SLOTS = 20
# Each reserve is a first task, which only the shared queue serves: give it its half of the polls.
POLLS = PollerBehaviorSimpleMaximum(maximum=8)
SHARED_POLLS = 0.5
# Open holds stay cached for their whole length; one that fell out replays when it is paid.
CACHED_WORKFLOWS = 2000
DRAIN = timedelta(seconds=25)
# The SDK hangs up on Temporal as soon as a worker ends, and a task that is just being handed out
# waits for its timeout: so with 13 of 96 workers that ended at work, and with none of 96 whose open
# polls could bring it for a moment longer. The SDK has no other switch for that (sdk-rust, issue
# 1080); where Temporal says that it ends the polls itself (from 1.31), the SDK waits for that.
LAST_POLL = ("TEMPORAL_POLL_SHUTDOWN_INTERRUPT_WAIT_MS", "200")


@dataclass(frozen=True)
class Parts:
    """What both Temporal's worker and the loops are made of."""

    settings: Settings
    client: Client
    database: Database
    preclaims: SeatPreclaims
    gateways: Gateways

    @property
    def unit_of_work(self) -> PostgresUnitOfWork:
        return PostgresUnitOfWork(self.database)

    def reconciler(self) -> Reconciler:
        return make_reconciler(
            self.settings, self.database, self.gateways, self.client, self.preclaims
        )

    @property
    def work(self) -> PostgresWorkQueue:
        return PostgresWorkQueue(self.database, self.settings.hold_limits)

    @property
    def shows(self) -> TemporalShowProcess:
        return TemporalShowProcess(self.client, refunds_per_second=self.settings.refunds_per_second)


@asynccontextmanager
async def open_parts(settings: Settings) -> AsyncIterator[Parts]:
    """Connect to everything; close it in reverse."""
    async with AsyncExitStack() as stack:
        database = Database(settings, application_name="seathold-worker")
        stack.push_async_callback(database.close)
        redis = create_redis(settings)
        stack.push_async_callback(redis.aclose)
        gateways = await stack.enter_async_context(open_gateways(settings))
        client = await connect(settings)
        yield Parts(settings, client, database, RedisSeatPreclaims(redis), gateways)


def temporal_workers(parts: Parts) -> list[Worker]:
    """One worker for workflow tasks with their local steps, one for calls to the outside."""
    steps = DatabaseBookingActivities(parts.unit_of_work, parts.preclaims)
    provider = GatewayActivities(parts.unit_of_work, parts.gateways)
    captures = GatewayCaptureActivities(parts.unit_of_work, parts.gateways)
    refunds = RefundActivities(parts.unit_of_work, parts.gateways, parts.preclaims)
    reconcile = ReconcileActivities(parts.reconciler())
    bookings = TemporalBookingProcess(parts.client)
    shows = ShowCancelActivities(
        parts.unit_of_work, parts.gateways, bookings, parts.shows, parts.work
    )
    late = LateActivities(parts.unit_of_work, parts.preclaims, parts.settings.late_limits)
    local: list[Callable[..., Any]] = [
        steps.hold_seats,
        steps.extend_hold,
        steps.confirm_booking,
        steps.close_hold,
        steps.finish_close,
        *late.local_steps,
    ]
    booking = Worker(
        parts.client,
        task_queue=BOOKING_QUEUE,
        workflows=[
            BookingWorkflow,
            LatePaymentWorkflow,
            ReconcileWorkflow,
            RefundWorkflow,
            ShowCancelWorkflow,
        ],
        activities=local,
        no_remote_activities=True,
        # The sandbox imports the workflows anew for each run, a fifth of this process's CPU. The
        # tests run the saga in it, and replay every recorded history.
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=CACHED_WORKFLOWS,
        max_concurrent_workflow_tasks=WORKFLOW_SLOTS,
        workflow_task_poller_behavior=POLLS,
        nonsticky_to_sticky_poll_ratio=SHARED_POLLS,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
        graceful_shutdown_timeout=DRAIN,
    )
    payments = Worker(
        parts.client,
        task_queue=PAYMENT_QUEUE,
        activities=[
            *local,
            steps.release_marks,
            provider.close_session,
            provider.send_refund,
            *captures.steps,
            *refunds.steps,
            reconcile.reconcile,
            *shows.steps,
            *late.steps,
        ],
        max_concurrent_activities=20,
        graceful_shutdown_timeout=DRAIN,
    )
    return [booking, payments]


async def run_loops(parts: Parts, stop: asyncio.Event) -> None:
    """Run every loop until ``stop``; the pass in hand is finished."""
    settings = parts.settings
    work = parts.work
    process = TemporalBookingProcess(parts.client)
    news = PaymentNews(parts.unit_of_work, parts.gateways, process, work, parts.preclaims)
    mailer, sms = SmtpMailer(settings), HttpSmsSender(settings)
    queue = PostgresOutboxQueue(parts.database)
    letters = PostgresAccountOutbox(parts.database, OpaqueTokens(settings.key_ring))
    write = account_render(settings.account_pages)
    waiting = PostgresWaitingCases(parts.database)
    feed = PostgresPartnerFeed(parts.database)
    ring = SealRing(settings.partner_secret_keys.get_secret_value())
    partners = SignedSender(ring, Outbound(settings.partner_policy))
    deliveries = PartnerDeliveryLoop(PostgresDeliveryQueue(parts.database), partners)
    passes: dict[str, tuple[Loop, int, float]] = {
        "inbox": (InboxLoop(work, news), inbox.BATCH, 0.1),
        "payment_poll": (PaymentPollLoop(work, news), payment_poll.BATCH, 1.0),
        "reaper": (ReaperLoop(work, process, news), reaper.BATCH, 2.0),
        "show_cancel": (ShowCancelLoop(work, parts.shows), 1, 5.0),
        "sweep": (SweepLoop(work), sweep.BATCH, 60.0),
        "outbox": (OutboxLoop(queue, mailer, sms, render), outbox.BATCH, 0.5),
        "account_mail": (OutboxLoop(letters, mailer, sms, write), outbox.BATCH, 0.5),
        "audit_seal": (
            AuditSealLoop(PostgresAuditSeals(parts.database)),
            audit_seal.BATCH,
            audit_seal.REST_SECONDS,
        ),
        "case_alert": (CaseAlertLoop(waiting), 1, case_alert.REST_SECONDS),
        "partner_feed": (PartnerFeedLoop(feed), partner_feed.BATCH, 0.5),
        "partner_delivery": (deliveries, 1, 0.5),
        "partner_sweep": (PartnerSweepLoop(feed), 1, 60.0),
        "projector": (
            ProjectorLoop(Projector(parts.database)),
            projector.BATCH,
            projector.REST_SECONDS,
        ),
    }
    try:
        async with asyncio.TaskGroup() as group:
            for name, (loop, full, rest) in passes.items():
                group.create_task(repeat(name, loop, full=full, rest_seconds=rest, stop=stop))
        await deliveries.drain()
    finally:
        await partners.aclose()
        await mailer.aclose()
        await sms.aclose()


async def _end_loops_in_time(parts: Parts, stop: asyncio.Event) -> None:
    """Run them until ``stop``; a pass that takes longer than the drain is cut off, as by a kill.

    A mail server alone may take a minute for its answer.
    """

    async def end_in_time() -> None:
        await stop.wait()
        limit.reschedule(asyncio.get_running_loop().time() + DRAIN.total_seconds())

    try:
        async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as group:
            group.create_task(end_in_time())
            await run_loops(parts, stop)
    except TimeoutError:
        log.warning("loops_cut_off")


async def _end(worker: Worker, stop: asyncio.Event) -> None:
    await stop.wait()
    await worker.shutdown()


async def serve(
    settings: Settings, role: Role, stop: asyncio.Event, ready_file: Path | None = None
) -> None:
    """Run until ``stop`` is set, then finish what is in hand; ``ready_file`` is made meanwhile."""
    async with open_parts(settings) as parts:
        await require_guards(parts.database, production=settings.env == "production")
        await register_search_attributes(parts.client)
        await schedule_reconciliation(parts.client, parts.gateways)
        async with AsyncExitStack() as running:
            workers = temporal_workers(parts) if role in ("all", "booking") else []
            for worker in workers:
                await running.enter_async_context(worker)
            telling = asyncio.create_task(_tell_ready(parts.client, role, ready_file))
            running.callback(telling.cancel)
            # All at once: each may take the whole drain, and a kill follows soon after it.
            async with asyncio.TaskGroup() as ending:
                for worker in workers:
                    ending.create_task(_end(worker, stop))
                if role in ("all", "loops"):
                    ending.create_task(_end_loops_in_time(parts, stop))
                await stop.wait()
                log.info("worker_draining")


async def _tell_ready(client: Client, role: Role, ready_file: Path | None) -> None:
    """Say so once Temporal has heard this worker ask for tasks; the loops have begun by then."""
    if role in ("all", "booking"):
        await wait_polled(client)
    log.info("worker_ready", role=role)
    if ready_file is not None:
        await asyncio.to_thread(ready_file.touch)


async def _until_signalled(settings: Settings, role: Role, ready_file: Path | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, role, stop, ready_file)


def main(role: Role = "all", ready_file: Path | None = None) -> None:
    """Start the worker on settings from the environment; SIGTERM drains it.

    ``ready_file`` is made once Temporal has heard it ask for tasks.
    """
    settings = Settings()
    configure_logging(settings, process="worker")
    settle_memory()
    os.environ.setdefault(*LAST_POLL)
    uvloop.run(_until_signalled(settings, role, ready_file))
