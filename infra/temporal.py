"""The Temporal client and the booking process behind its port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast
from uuid import UUID

import structlog
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.api.workflowservice.v1 import GetClusterInfoRequest
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.envconfig import ClientConfig
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import GrpcCompression, RetryConfig, RPCError, RPCStatusCode

from contracts.booking import (
    BOOKING_QUEUE,
    BOOKING_STATUS,
    HOLD_EXPIRES_AT,
    RESERVE_UPDATE_ID,
    SEARCH_ATTRIBUTES,
    SHOW_ID,
    USER_ID,
    BookingContract,
    booking_workflow_id,
)
from contracts.late_payment import LatePaymentContract, late_payment_workflow_id
from contracts.refund import RefundContract, refund_workflow_id
from domain.booking import BookingState
from domain.errors import Conflict
from domain.steps import (
    BookingInput,
    CancelRequest,
    ExtendRequest,
    HoldOutcome,
    LateOutcome,
    LatePaymentInput,
    OfferAnswer,
    PaymentSettled,
    RefundInput,
    StepOutcome,
)
from infra.codec import SealedByUnknownKey
from infra.payloads import sealed_by
from infra.settings import Settings
from services.process import ProcessAway, ProcessOver, ProcessUnknown, ReadBrief

T = TypeVar("T")
log = structlog.get_logger(__name__)

# A buyer waits for the answer; past this the API says 202 and the booking settles by itself.
RPC_TIMEOUT = timedelta(seconds=5)
TASK_TIMEOUT = timedelta(seconds=5)
# The servers read what a namespace knows now and then: each second with SQL, each minute with
# Elasticsearch.
KNOWN_POLL_SECONDS = 0.1
KNOWN_TRIES = 900
RETRIES = RetryConfig(
    initial_interval_millis=100, multiplier=2.0, max_elapsed_time_millis=3000, max_retries=5
)


async def connect(settings: Settings, *, lazy: bool = False) -> Client:
    """Connect by Temporal's own standard variables (``TEMPORAL_ADDRESS``, …).

    ``lazy`` lets the API start while Temporal is away; a worker needs a live connection.

    Raises:
        RuntimeError: production, not ``lazy``, and the server keeps its histories in SQLite.
    """
    config: dict[str, Any] = dict(ClientConfig.load_client_connect_config())
    config.setdefault("target_host", "127.0.0.1:7233")
    client = await Client.connect(
        **config,
        lazy=lazy,
        data_converter=sealed_by(settings.payload_keys.get_secret_value()),
        retry_config=RETRIES,
        grpc_compression=GrpcCompression.NONE,
    )
    if settings.env == "production" and not lazy:
        await _refuse_development_server(client)
    return client


async def _refuse_development_server(client: Client) -> None:
    try:
        about = await client.workflow_service.get_cluster_info(GetClusterInfoRequest())
    except RPCError:
        # Temporal Cloud tells its tenants nothing of it.
        return
    if "sqlite" in about.persistence_store.lower():
        raise RuntimeError("TEMPORAL_ADDRESS is a development server: its store is SQLite")


async def register_search_attributes(client: Client) -> None:
    """Make our search attributes known to the namespace, unless they are, and wait until so.

    Raises:
        RuntimeError: the servers have not learnt of them in a minute and a half.
    """
    # Where they are known nothing is added: not everybody may, as in Temporal Cloud.
    if await _are_known(client):
        return
    await add_search_attributes(client)
    for _ in range(KNOWN_TRIES):
        if await _are_known(client):
            return
        await asyncio.sleep(KNOWN_POLL_SECONDS)
    raise RuntimeError("Temporal has not learnt of our search attributes yet; start again.")


async def add_search_attributes(client: Client) -> None:
    """Ask for them; the servers that start workflows learn of it a moment later."""
    request = AddSearchAttributesRequest(
        namespace=client.namespace,
        search_attributes={
            key.name: cast("IndexedValueType.ValueType", int(key.indexed_value_type))
            for key in SEARCH_ATTRIBUTES
        },
    )
    try:
        await client.operator_service.add_search_attributes(request)
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:
            raise


async def _are_known(client: Client) -> bool:
    # An id that nothing has, so that it costs nothing where there are many workflows.
    each = [f"{key.name} IS NOT NULL" for key in SEARCH_ATTRIBUTES]
    query = " AND ".join(["WorkflowId = ''", *each])
    try:
        await client.count_workflows(query)
    except RPCError as error:
        if error.status is not RPCStatusCode.INVALID_ARGUMENT:
            raise
        return False
    return True


class TemporalBookingProcess:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def reserve(self, input: BookingInput) -> HoldOutcome:
        start = WithStartWorkflowOperation(
            BookingContract.run,
            input,
            **_options(input),
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        )
        # The start's own outcome is told twice; the second telling is heard and let go.
        started = asyncio.ensure_future(start.workflow_handle())
        started.add_done_callback(lambda told: told.cancelled() or told.exception())
        try:
            return await answer(
                self._client.execute_update_with_start_workflow(
                    BookingContract.reserve,
                    id=RESERVE_UPDATE_ID,
                    start_workflow_operation=start,
                    rpc_timeout=RPC_TIMEOUT,
                )
            )
        finally:
            started.cancel()

    async def extend(
        self, booking_id: str, request: ExtendRequest, extension_id: str
    ) -> StepOutcome:
        handle = self._handle(booking_id)
        return await answer(
            handle.execute_update(
                BookingContract.extend, request, id=extension_id, rpc_timeout=RPC_TIMEOUT
            )
        )

    async def cancel(self, booking_id: str, request: CancelRequest) -> StepOutcome:
        handle = self._handle(booking_id)
        return await answer(
            handle.execute_update(BookingContract.cancel, request, rpc_timeout=RPC_TIMEOUT)
        )

    async def payment_settled(
        self,
        booking_id: UUID,
        provider_payment_id: str | None,
        request_id: str | None,
        *,
        read_brief: ReadBrief,
    ) -> None:
        message = PaymentSettled(provider_payment_id, request_id)
        handle = self._handle(str(booking_id))
        try:
            await answer(
                handle.signal(BookingContract.payment_settled, message, rpc_timeout=RPC_TIMEOUT)
            )
        except ProcessOver:
            # NOT_FOUND proves nothing: PostgreSQL knows whether the booking is still open.
            input = await read_brief(booking_id)
            if input is None:
                return
            await answer(
                self._client.start_workflow(
                    BookingContract.run,
                    input,
                    **_options(input),
                    start_signal="payment_settled",
                    start_signal_args=[message],
                    rpc_timeout=RPC_TIMEOUT,
                )
            )

    def _handle(self, booking_id: str) -> WorkflowHandle[Any, Any]:
        return self._client.get_workflow_handle(booking_workflow_id(booking_id))

    async def ensure_running(self, input: BookingInput) -> None:
        await answer(
            self._client.start_workflow(
                BookingContract.run,
                input,
                **_options(input),
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                rpc_timeout=RPC_TIMEOUT,
            )
        )

    async def send_money_back(self, provider_payment_id: str, request_id: str | None) -> None:
        await answer(
            self._client.start_workflow(
                LatePaymentContract.run,
                LatePaymentInput(provider_payment_id, request_id),
                id=late_payment_workflow_id(provider_payment_id),
                task_queue=BOOKING_QUEUE,
                task_timeout=TASK_TIMEOUT,
                static_summary="Money that does not confirm its booking by itself",
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                rpc_timeout=RPC_TIMEOUT,
            )
        )

    async def answer_offer(self, wish: OfferAnswer) -> LateOutcome:
        id_ = late_payment_workflow_id(wish.provider_payment_id)
        handle = self._client.get_workflow_handle(id_)
        return await answer(
            handle.execute_update(LatePaymentContract.answer_offer, wish, rpc_timeout=RPC_TIMEOUT)
        )

    async def refund(self, booking_id: UUID, number: int, request_id: str | None) -> None:
        await answer(
            self._client.start_workflow(
                RefundContract.run,
                RefundInput(str(booking_id), number, request_id),
                id=refund_workflow_id(str(booking_id), number),
                task_queue=BOOKING_QUEUE,
                task_timeout=TASK_TIMEOUT,
                static_summary=f"Refund {number} of booking {booking_id}",
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                rpc_timeout=RPC_TIMEOUT,
            )
        )


def _options(input: BookingInput) -> dict[str, Any]:
    labels = ", ".join(seat.label for seat in input.seats)
    # An estimate for operators only: the database clock decides when the hold ends.
    expires = datetime.now(UTC) + timedelta(seconds=input.hold_seconds)
    return {
        "id": booking_workflow_id(input.booking_id),
        "task_queue": BOOKING_QUEUE,
        "task_timeout": TASK_TIMEOUT,
        "static_summary": f"{len(input.seats)} seats: {labels}"[:200],
        "static_details": (
            f"Booking `{input.booking_id}`  \nShow `{input.show_id}`  \nUser `{input.user_id}`  \n"
            f"Seats {labels}  \nHold {input.hold_seconds} s, at most {input.hold_max_seconds} s"
        ),
        "search_attributes": TypedSearchAttributes(
            [
                SearchAttributePair(SHOW_ID, input.show_id),
                SearchAttributePair(USER_ID, input.user_id),
                SearchAttributePair(BOOKING_STATUS, BookingState.HELD.value),
                SearchAttributePair(HOLD_EXPIRES_AT, expires),
            ]
        ),
    }


async def answer(call: Awaitable[T]) -> T:
    """Await a call and say in the port's words how it failed."""
    try:
        return await call
    except WorkflowUpdateRPCTimeoutOrCancelledError as error:
        raise ProcessUnknown("no answer in time") from error
    except WorkflowUpdateFailedError as error:
        cause = error.cause
        if isinstance(cause, ApplicationError) and cause.type == "AcceptedUpdateCompletedWorkflow":
            raise ProcessOver(str(cause)) from error
        raise Conflict(getattr(cause, "message", str(cause)), code="invalid_state") from error
    except WorkflowAlreadyStartedError as error:
        raise ProcessOver(str(error)) from error
    except SealedByUnknownKey as error:
        # The worker got a new key before we did. It did what was asked; PostgreSQL knows.
        log.error("answer_sealed", reason=str(error))
        raise ProcessUnknown("the answer cannot be read here") from error
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise ProcessOver(error.message) from error
        if error.status in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED):
            raise ProcessUnknown(error.message) from error
        raise ProcessAway(error.message) from error
    except RuntimeError as error:
        # A lazy client that cannot connect says so with a bare RuntimeError.
        raise ProcessAway(str(error)) from error
