"""What an operator sees of a booking in Temporal's UI, and may do there, until it is over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from contracts.booking import (
    BOOKING_STATUS,
    HOLD_EXPIRES_AT,
    SHOW_ID,
    USER_ID,
    BookingContract,
)
from domain.payment import ProviderPayment
from domain.steps import BookingInput, CancelRequest, ExtendRequest
from services.preclaim import PreclaimsAway
from tests.factories import Hall
from tests.helpers.eventually import eventually
from tests.helpers.promises import Take, WilfulGateway, authorised
from tests.helpers.saga import Fault, Saga
from tests.sandbox.process import NO_FAULTS, Sandbox
from tests.workflows.test_booking_paths import pay, tell

SAID = CancelRequest("operator:eve", "the screen is broken")
UPDATES: tuple[tuple[Any, Any], ...] = (
    (BookingContract.extend, ExtendRequest),
    (BookingContract.cancel, CancelRequest),
    (BookingContract.force_release, CancelRequest),
)


async def metadata(handle: WorkflowHandle[Any, Any]) -> WorkflowMetadata:
    """What the UI asks a workflow to say of itself."""
    told: WorkflowMetadata = await handle.query(
        "__temporal_workflow_metadata", result_type=WorkflowMetadata
    )
    return told


async def test_a_booking_tells_what_it_is_and_where_it_stands(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    input = hall.input()
    handle = saga.handle(input)
    async with saga.worker():
        await saga.reserve(input)
        began = datetime.now(UTC)
        described = await handle.describe()
        attributes = described.typed_search_attributes
        assert attributes.get(BOOKING_STATUS) == "held"
        assert attributes.get(SHOW_ID) == input.show_id
        assert attributes.get(USER_ID) == input.user_id
        expires = attributes.get(HOLD_EXPIRES_AT)
        assert expires is not None
        assert abs(expires - began - timedelta(seconds=input.hold_seconds)) < timedelta(minutes=2)
        assert await described.static_summary() == "2 seats: A1, A2"
        details = await described.static_details() or ""
        for named in (input.booking_id, input.show_id, input.user_id, "A1, A2", "600 s"):
            assert named in details
        told = await metadata(handle)
        assert told.current_details == (
            "The seats are held; waiting for the payment until the hold runs out."
        )
        offered = told.definition
        handlers = [
            *offered.query_definitions,
            *offered.signal_definitions,
            *offered.update_definitions,
        ]
        own = {one.name: one.description for one in handlers if not one.name.startswith("__")}
        updates = {"reserve", "extend", "cancel", "force_release"}
        assert own.keys() == {"where", "payment_settled", *updates}
        assert all(own.values()), own
        session_id = await saga.checkout(input)
        pay(provider, session_id)
        await tell(saga, session_id)
        await handle.result()
        ended = await handle.describe()
        assert ended.typed_search_attributes.get(BOOKING_STATUS) == "confirmed"
        assert ended.typed_search_attributes.get(SHOW_ID) == input.show_id
        assert (await metadata(handle)).current_details == "Paid and confirmed; the seats are sold."


async def refusal(handle: WorkflowHandle[Any, Any], update: Any, wish: object) -> ApplicationError:
    """Why the validator refuses it, in one sentence and a code."""
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await handle.execute_update(update, wish)
    assert isinstance(refused.value.cause, ApplicationError)
    return refused.value.cause


async def audited(saga: Saga, input: BookingInput) -> list[tuple[Any, ...]]:
    return await saga.rows(
        "SELECT action, actor, reason, request_id FROM audit_log WHERE target = :it ORDER BY id",
        it=f"booking:{input.booking_id}",
    )


async def test_an_operator_says_who_and_why(saga: Saga, hall: Hall) -> None:
    input = hall.input()
    handle = saga.handle(input)
    async with saga.worker():
        await saga.reserve(input)
        before = await saga.events(input)
        for update, wish in UPDATES:
            for actor in ("", " ", "operator:", "operator: "):
                told = await refusal(handle, update, wish(actor, "the screen is broken"))
                assert (told.type, told.message) == ("invalid", "Name the actor.")
            for actor in ("operator:eve", "anna", str(uuid4())):
                told = await refusal(handle, update, wish(actor, " "))
                assert (told.type, told.message) == ("invalid", "Say why: a reason is needed.")
        told = await refusal(handle, BookingContract.force_release, CancelRequest(input.user_id))
        assert told.type == "invalid"
        assert await saga.events(input) == before


@pytest.mark.parametrize("actor", ["operator:eve", "eve"])
async def test_whoever_is_not_the_buyer_is_audited_as_an_operator(
    saga: Saga, hall: Hall, actor: str
) -> None:
    """However they write their name: else a hold would end and nobody be on record."""
    input, why = hall.input(), "the screen is broken"
    handle = saga.handle(input)
    async with saga.worker():
        await saga.reserve(input)
        await handle.execute_update(BookingContract.extend, ExtendRequest(input.user_id))
        await handle.execute_update(BookingContract.extend, ExtendRequest(actor, why, "at noon"))
        await handle.execute_update(
            BookingContract.force_release, CancelRequest(actor, why, "at one")
        )
        assert (await handle.result())["state"] == "expired"
    assert await audited(saga, input) == [
        ("booking.extend", "operator:eve", why, "at noon"),
        ("booking.released", "operator:eve", why, "at one"),
    ]


async def test_nothing_is_released_of_a_booking_that_is_ending_already(
    saga: Saga, hall: Hall, provider: Sandbox
) -> None:
    """It would be told that it was done, changed nothing, and be nobody's doing."""
    input = hall.input(grace_seconds=60)
    handle, release = saga.handle(input), BookingContract.force_release
    async with saga.worker():
        await saga.reserve(input)
        await saga.checkout(input)
        provider.configure(error_rate=1.0)
        try:
            assert (await handle.execute_update(release, SAID)).state == "expiring"
            assert (await refusal(handle, release, SAID)).type == "invalid_state"
            cancelled = await handle.execute_update(
                BookingContract.cancel, CancelRequest(input.user_id)
            )
            assert cancelled.state == "cancelling"
            assert (await refusal(handle, release, SAID)).type == "invalid_state"
        finally:
            provider.configure(**NO_FAULTS)
        assert (await handle.result())["state"] == "cancelled"
    # Who names no request goes on from the reserve's.
    assert await audited(saga, input) == [
        ("booking.released", SAID.actor, SAID.reason, input.request_id)
    ]


async def test_nothing_is_released_while_the_money_is_being_taken(
    promising: Saga, hall: Hall, provider: Sandbox, gateway: WilfulGateway
) -> None:
    input, told = hall.input(), list[ApplicationError]()

    async def be_released(take: Take) -> ProviderPayment:
        told.append(await refusal(promising.handle(input), BookingContract.force_release, SAID))
        return await take()

    gateway.turns = [be_released]
    async with promising.worker():
        await authorised(promising, provider, input)
        assert (await promising.handle(input).result())["state"] == "confirmed"
    [refused] = told
    assert (refused.type, "is being taken" in refused.message) == ("invalid_state", True)


async def test_nothing_is_released_of_a_booking_that_is_over(
    saga: Saga, hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is over and still running: it waits for Redis, to take its marks away."""
    input, fault, release = hall.input(), Fault("release_marks"), saga.preclaims.release

    async def away(show_id: UUID, labels: Sequence[str], token: UUID) -> None:
        if fault.times:
            raise PreclaimsAway("Redis is away")
        await release(show_id, labels, token)

    monkeypatch.setattr(saga.preclaims, "release", away)
    handle = saga.handle(input)
    async with saga.worker(fault):
        await saga.reserve(input)
        assert (await handle.execute_update(BookingContract.force_release, SAID)).state == "expired"

        async def waits() -> bool:
            return fault.failed > 0

        await eventually(waits, seconds=30)
        events = await saga.events(input)
        for update in (BookingContract.force_release, BookingContract.cancel):
            assert (await refusal(handle, update, SAID)).type == "invalid_state"
        assert await saga.events(input) == events
        fault.times = 0
        assert (await handle.result())["state"] == "expired"
