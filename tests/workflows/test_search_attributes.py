"""A worker starts on a namespace that has never heard of our search attributes."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.service import OperatorService, RPCError, RPCStatusCode

from contracts.booking import BOOKING_STATUS
from infra.temporal import add_search_attributes, register_search_attributes
from tests.helpers.eventually import eventually

# The server may look at the very moment; not three times.
NAMESPACES = 3


async def new_namespace(client: Client) -> Client:
    """A client of a namespace that was made just now, as soon as the server knows it."""
    name = f"new-{uuid.uuid4().hex}"
    retention = Duration(seconds=24 * 3600)
    await client.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=retention)
    )
    config = client.config()
    config["namespace"] = name
    fresh = Client(**config)

    async def is_known() -> bool:
        try:
            await fresh.count_workflows()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return False
        return True

    await eventually(is_known)
    return fresh


async def is_refused(client: Client) -> bool:
    """Whether a workflow that is started at once, with one of our attributes, is."""
    status = TypedSearchAttributes([SearchAttributePair(BOOKING_STATUS, "held")])
    try:
        await client.start_workflow(
            "Nothing", id=uuid.uuid4().hex, task_queue="nobody", search_attributes=status
        )
    except RPCError as error:
        if error.status is not RPCStatusCode.INVALID_ARGUMENT:
            raise
        return True
    return False


@pytest.mark.parametrize(
    ("make_known", "may_refuse"),
    [(register_search_attributes, False), (add_search_attributes, True)],
)
async def test_bookings_start_as_soon_as_the_attributes_are_registered(
    temporal: Client, make_known: Callable[[Client], Awaitable[None]], may_refuse: bool
) -> None:
    """And are refused, the first of them at least, where nobody waits for the server to know."""
    refused = []
    for _ in range(NAMESPACES):
        client = await new_namespace(temporal)
        await make_known(client)
        refused.append(await is_refused(client))
    assert any(refused) is may_refuse


async def test_a_worker_that_may_not_add_attributes_starts_where_they_are_known(
    temporal: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def denied(*_: object, **__: object) -> None:
        raise RPCError("not for you", RPCStatusCode.PERMISSION_DENIED, b"")

    new = await new_namespace(temporal)
    monkeypatch.setattr(OperatorService, "add_search_attributes", denied)
    await register_search_attributes(temporal)
    with pytest.raises(RPCError, match="not for you"):
        await register_search_attributes(new)
