"""A booking's saga on real servers: a worker of its own, and faults at each of its steps."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    UnsandboxedWorkflowRunner,
    Worker,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.booking import DatabaseBookingActivities
from activities.capture import GatewayCaptureActivities
from activities.late_payment import LateActivities
from activities.reconcile import ReconcileActivities
from activities.refund import RefundActivities
from activities.session import GatewayActivities
from activities.show_cancel import ShowCancelActivities
from contracts.booking import BOOKING_QUEUE, PAYMENT_QUEUE, booking_workflow_id
from domain.booking import BookingState
from domain.payment_policy import PaymentMode
from domain.polling import SCHEDULE
from domain.steps import BookingInput
from infra.postgres.database import Database
from infra.postgres.reconcile import PostgresProviderBooks
from infra.postgres.uow import PostgresUnitOfWork
from infra.postgres.work import PostgresWorkQueue
from infra.reconcile import ABOUT_ONE_ROW
from infra.temporal import TemporalBookingProcess
from infra.temporal_shows import TemporalShowProcess
from services.desk import BookingDesk, Caller
from services.gateway import PaymentGateway
from services.payment_news import PaymentNews
from services.preclaim import SeatPreclaims
from services.process import BookingProcess
from services.reconcile import Reconciler
from services.reconcile_refunds import RefundRepair
from services.reserve import Reserver
from services.work import HoldLimits, LateLimits
from worker import POLLS, SHARED_POLLS
from workflows.booking import BookingWorkflow
from workflows.late_payment import LatePaymentWorkflow
from workflows.reconcile import ReconcileWorkflow
from workflows.refund import RefundWorkflow
from workflows.show_cancel import ShowCancelWorkflow

LIMITS = HoldLimits(600, 1800, 2, 0.2, 20, 3)
LATE = LateLimits(window_seconds=900, offer_seconds=1800, max_seats_per_user_show=20)
UNSANDBOXED = UnsandboxedWorkflowRunner()
SANDBOXED = SandboxedWorkflowRunner(
    restrictions=SandboxRestrictions.default.with_passthrough_modules("domain", "contracts")
)

OTHER_WAYS: dict[str, dict[str, Any]] = {
    "sandboxed": {"runner": SANDBOXED},
    "no cache": {"max_cached_workflows": 0},
}


@dataclass
class Fault(Interceptor):
    """Fail the step named ``target`` before or after its effect, or run every step twice.

    ``times`` bounds the failures, so that a step that is never given up goes on at last.
    """

    target: str | None = None
    when: str = "before"
    times: int = 10**6
    repeat: int = 1
    ran: Counter[tuple[str, str]] = field(default_factory=Counter)
    failed: int = 0

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _FaultyInbound(next, self)

    def fires(self, name: str, when: str) -> bool:
        if name != self.target or when != self.when or self.failed >= self.times:
            return False
        self.failed += 1
        return True

    def times_run(self, name: str, of: str = "") -> int:
        """How often the step ran in workflows with ``of`` in their id.

        A worker also gets what other tests left behind: who counts exactly names its own.
        """
        return sum(times for (step, id), times in self.ran.items() if step == name and of in id)

    async def hold(self, name: str) -> None:
        """Wait before the effect; here, for nothing."""


@dataclass
class Gate(Fault):
    """Fails the local tries of ``target``; its durable one waits here until it is let through.

    Only of this workflow, and of no other test's.
    """

    workflow_id: str = ""
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    def fires(self, name: str, when: str) -> bool:
        info = activity.info()
        is_ours = info.is_local and info.workflow_id == self.workflow_id
        return is_ours and super().fires(name, when)

    async def hold(self, name: str) -> None:
        if name == self.target and activity.info().workflow_id == self.workflow_id:
            self.reached.set()
            await self.opened.wait()


class _FaultyInbound(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, fault: Fault) -> None:
        super().__init__(next)
        self._fault = fault

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        name = input.fn.__name__
        self._fault.ran[name, activity.info().workflow_id or ""] += 1
        if self._fault.fires(name, "before"):
            raise ApplicationError("injected before the effect")
        await self._fault.hold(name)
        for _ in range(self._fault.repeat):
            result = await super().execute_activity(input)
        if self._fault.fires(name, "after"):
            raise ApplicationError("injected after the effect")
        return result


@dataclass
class Saga:
    """The booking's parts put together for one test."""

    engine: AsyncEngine
    database: Database
    client: Client
    preclaims: SeatPreclaims
    gateways: Mapping[str, PaymentGateway]
    mode: PaymentMode = PaymentMode.CAPTURE
    first_poll: timedelta = SCHEDULE.first
    # Another way to run the steps than Temporal's.
    process_of: Callable[[Saga], BookingProcess] | None = None
    late: LateLimits = LATE
    runner: WorkflowRunner = UNSANDBOXED
    max_cached_workflows: int = 100

    def __post_init__(self) -> None:
        self.begin = PostgresUnitOfWork(self.database, self.first_poll)
        self.process: BookingProcess = (
            self.process_of(self) if self.process_of else TemporalBookingProcess(self.client)
        )
        self.shows = TemporalShowProcess(self.client, refunds_per_second=50)
        self.work = PostgresWorkQueue(self.database, LIMITS)
        self.news = PaymentNews(self.begin, self.gateways, self.process, self.work, self.preclaims)
        self.books = PostgresProviderBooks(self.database)
        self.reserver = Reserver(self.begin, self.preclaims, self.process)
        self.desk = BookingDesk(
            self.begin, self.process, self.work, self.news, self.gateways, LIMITS, self.mode
        )

    def speaking(self, converter: DataConverter) -> Saga:
        """The same parts on a client with another converter."""
        service, namespace = self.client.service_client, self.client.namespace
        return replace(self, client=Client(service, namespace=namespace, data_converter=converter))

    @asynccontextmanager
    async def worker(self, fault: Fault | None = None) -> AsyncIterator[None]:
        """Temporal's workers for both queues, as ``worker.py`` puts them together."""
        steps = DatabaseBookingActivities(self.begin, self.preclaims)
        sessions = GatewayActivities(self.begin, self.gateways)
        captures = GatewayCaptureActivities(self.begin, self.gateways)
        refunds = RefundActivities(self.begin, self.gateways, self.preclaims)
        shows = ShowCancelActivities(self.begin, self.gateways, self.process, self.shows, self.work)
        late = LateActivities(self.begin, self.preclaims, self.late)
        local: list[Callable[..., Any]] = [
            steps.hold_seats,
            steps.extend_hold,
            steps.confirm_booking,
            steps.close_hold,
            steps.finish_close,
            *late.local_steps,
        ]
        interceptors = [fault] if fault else []
        async with (
            Worker(
                self.client,
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
                interceptors=interceptors,
                workflow_runner=self.runner,
                max_cached_workflows=self.max_cached_workflows,
                # By default one poll alone waits for first tasks, and if that one is lost on its
                # way nobody is served for a minute.
                workflow_task_poller_behavior=POLLS,
                nonsticky_to_sticky_poll_ratio=SHARED_POLLS,
            ),
            Worker(
                self.client,
                task_queue=PAYMENT_QUEUE,
                activities=[
                    *local,
                    steps.release_marks,
                    sessions.close_session,
                    sessions.send_refund,
                    *captures.steps,
                    *refunds.steps,
                    ReconcileActivities(self.reconciler()).reconcile,
                    *shows.steps,
                    *late.steps,
                ],
                interceptors=interceptors,
            ),
        ):
            yield

    def reconciler(self, *, dry_run: bool = False) -> Reconciler:
        repair = RefundRepair(self.begin, self.books, self.process)
        return Reconciler(
            self.begin,
            self.gateways,
            self.news,
            self.books,
            repair,
            dry_run=dry_run,
            bad_row=ABOUT_ONE_ROW,
        )

    async def reserve(self, input: BookingInput) -> str:
        """Reserve as the API does; while it is ``pending`` (a busy machine's 202), ask again."""
        async with asyncio.timeout(60):
            state = BookingState.PENDING
            while state is BookingState.PENDING:
                state = await self.reserver.reserve(input, key_hash=None, body_hash=b"body")
        return str(state)

    async def checkout(self, input: BookingInput) -> str:
        """Open a pay page; its session id."""
        attempt, _ = await self.desk.checkout(
            Caller(UUID(input.user_id), "test-request"),
            UUID(input.booking_id),
            provider_name="sandbox",
            return_url="http://shop.test/back",
        )
        assert attempt.session_id is not None
        return attempt.session_id

    def handle(self, input: BookingInput) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(booking_workflow_id(input.booking_id))

    async def claims(self, input: BookingInput) -> dict[str, str]:
        """Label → state of every claim that is not free on the booking's show."""
        return dict(
            await self.rows(
                "SELECT label, state FROM seat_claims WHERE show_id = :show AND state <> 'free'"
                " ORDER BY label",
                show=UUID(input.show_id),
            )
        )

    async def state(self, input: BookingInput) -> str | None:
        found = await self.rows(
            "SELECT state FROM bookings WHERE id = :id", id=UUID(input.booking_id)
        )
        return found[0][0] if found else None

    async def events(self, input: BookingInput) -> list[str]:
        found = await self.rows(
            "SELECT event_type FROM events WHERE aggregate_id = :id ORDER BY sequence",
            id=UUID(input.booking_id),
        )
        return [row[0] for row in found]

    async def rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        async with self.engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(text(statement), values)]
