"""The fault matrix' rows that stand by themselves, and that no activity is without its rows."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from types import ModuleType
from typing import Any, TypeGuard
from uuid import UUID

import pytest
from temporalio.client import WorkflowUpdateStage
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

import contracts
import tests.workflows
from contracts.booking import BOOKING_QUEUE, BookingContract
from contracts.reconcile import ReconcileContract, ReconcileInput
from contracts.show_cancel import ShowCancelContract
from domain.offer import OfferState
from domain.show_cancel import OperatorRequest
from domain.steps import CancelRequest, PaymentSettled
from services import late_payment
from services.preclaim import PreclaimsAway
from tests.factories import Hall
from tests.helpers.late import Late
from tests.helpers.saga import Fault, Gate, Saga
from tests.helpers.show_cancel import Box, refunds
from tests.sandbox.process import NO_FAULTS, Sandbox
from tests.workflows.test_refunds import ask, result, sold
from tests.workflows.test_replay import late_offered
from workflows import policies

WHEN = pytest.mark.parametrize("when", ["before", "after"])


@WHEN
async def test_marks_that_redis_missed_are_taken_away_at_last(
    saga: Saga, hall: Hall, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    input, fault = hall.input(), Fault("release_marks", when, times=2)
    async with saga.worker(fault):
        await saga.reserve(input)
        miss_first_release(saga, monkeypatch)
        await saga.handle(input).execute_update(
            BookingContract.cancel, CancelRequest(input.user_id)
        )
        assert (await saga.handle(input).result())["state"] == "cancelled"
    assert fault.failed == 2
    assert await saga.reserver.taken(hall.show_id, hall.labels) == set()


async def test_news_that_came_while_the_hold_ended_does_not_hide_what_redis_missed(
    saga: Saga, hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its step runs when the seats are free already, and has nothing to tell Redis."""
    input = hall.input()
    handle = saga.handle(input)
    gate = Gate("close_hold", workflow_id=handle.id)
    async with saga.worker(gate):
        await saga.reserve(input)
        miss_first_release(saga, monkeypatch)
        cancel = await handle.start_update(
            BookingContract.cancel,
            CancelRequest(input.user_id),
            wait_for_stage=WorkflowUpdateStage.ACCEPTED,
        )
        await gate.reached.wait()
        await handle.signal(BookingContract.payment_settled, PaymentSettled(None))
        gate.opened.set()
        assert (await cancel.result()).state == "cancelled"
        assert (await handle.result())["state"] == "cancelled"
    assert gate.times_run("confirm_booking", input.booking_id) == 1
    assert await saga.reserver.taken(hall.show_id, hall.labels) == set()


def miss_first_release(saga: Saga, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is away for one moment."""
    release, missed = saga.preclaims.release, 0

    async def away_at_first(show_id: UUID, labels: Sequence[str], token: UUID) -> None:
        nonlocal missed
        missed += 1
        if missed == 1:
            raise PreclaimsAway("Redis is away")
        await release(show_id, labels, token)

    monkeypatch.setattr(saga.preclaims, "release", away_at_first)


@WHEN
async def test_a_sale_that_redis_missed_is_not_free_there_for_long(
    saga: Saga, hall: Hall, provider: Sandbox, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    input, fault = hall.input(), Fault("release_marks", when, times=2)
    monkeypatch.setattr(saga.preclaims, "sell", redis_is_away)
    async with saga.worker(fault):
        await sold(saga, input, provider)
    assert fault.failed == 2
    assert await saga.reserver.taken(hall.show_id, hall.labels) == {"A1", "A2"}


async def test_a_late_sale_that_redis_missed_is_not_free_there_for_long(
    saga: Saga, hall: Hall, provider: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with saga.worker():
        late = await Late.expired(saga, hall, provider)
        assert await saga.preclaims.taken(hall.show_id, hall.labels) == set()
        monkeypatch.setattr(saga.preclaims, "sell", redis_is_away)
        assert await late.outcome(await late.pay()) == "confirmed"
    assert await saga.reserver.taken(hall.show_id, hall.labels) == {"A1", "A2"}


async def redis_is_away(*_: object) -> None:
    raise PreclaimsAway("Redis is away")


@WHEN
async def test_a_refund_that_was_refused_is_withdrawn_once(
    saga: Saga, hall: Hall, provider: Sandbox, when: str
) -> None:
    input, fault = hall.input(), Fault("withdraw_refund", when, times=2, repeat=2)
    async with saga.worker(fault):
        reference = await sold(saga, input, provider)
        provider.post(f"/test/payments/{reference}/dispute", {"outcome": "opened"})
        assert await result(saga, input, await ask(saga, input)) == "failed"
    assert fault.failed == 2
    assert (await saga.events(input)).count("RefundFailed") == 1
    assert await saga.claims(input) == {"A1": "sold", "A2": "sold"}


@WHEN
async def test_late_money_that_cannot_be_judged_goes_back_once(
    saga: Saga, hall: Hall, provider: Sandbox, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The undo of a decision that fails for good."""

    async def unable(*_: object) -> None:
        raise ApplicationError("no decision is possible", non_retryable=True)

    fault = Fault("abandon_late", when, times=2, repeat=2)
    async with saga.worker(fault):
        late = await Late.expired(saga, hall, provider)
        monkeypatch.setattr(late_payment, "settle", unable)
        assert await late.outcome(await late.pay()) == "succeeded"
    assert fault.failed == 2
    assert late.refunded() == 2400
    assert (await saga.events(late.input)).count("RefundRequested") == 1


@WHEN
async def test_seats_of_a_declined_offer_are_on_sale_again(
    saga: Saga, hall: Hall, provider: Sandbox, when: str
) -> None:
    fault = Fault("release_offered", when, times=2, repeat=2)
    async with saga.worker(fault):
        late, receipt_id = await late_offered(saga, hall, provider)
        await late.answer(receipt_id, OfferState.DECLINED)
        assert await late.outcome(receipt_id) == "succeeded"
    assert fault.failed == 2
    assert late.refunded() == 2400
    assert await saga.preclaims.taken(hall.show_id, hall.labels) == {"A2"}


@pytest.mark.parametrize("step", ["probe_balance", "note_pause"])
@WHEN
async def test_a_show_waits_for_the_balance_whatever_fails(
    saga: Saga, hall: Hall, provider: Sandbox, step: str, when: str
) -> None:
    """What the operator did meanwhile is noted once for each time that it was done."""
    fault, told = Fault(step, when, times=2, repeat=2), OperatorRequest("operator:ada", "look")
    box = Box(saga, hall, provider)
    provider.configure(refund_outcome="insufficient_balance")
    try:
        async with saga.worker(fault):
            await box.confirm()
            handle = await box.cancel()
            await box.until(
                "SELECT paused FROM show_cancellations WHERE show_id = :show", "balance"
            )
            await handle.execute_update(ShowCancelContract.pause, told)
            provider.configure(**NO_FAULTS)
            await handle.execute_update(ShowCancelContract.resume, told)
            await handle.result()
    finally:
        provider.configure(**NO_FAULTS)
    assert fault.failed == 2
    assert await box.one(refunds("count(*)", "status = 'succeeded'")) == 1
    assert await saga.rows(
        "SELECT action FROM audit_log WHERE target = :show AND actor = 'operator:ada' ORDER BY id",
        show=f"show:{hall.show_id}",
    ) == [("show.cancel.pause",), ("show.cancel.resume",)]


@WHEN
async def test_reconciling_goes_on_after_a_failure(
    saga: Saga, hall: Hall, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    soon = RetryPolicy(initial_interval=timedelta(milliseconds=50), maximum_attempts=5)
    monkeypatch.setitem(policies.RECONCILE, "retry_policy", soon)
    fault = Fault("reconcile", when, times=2, repeat=2)
    async with saga.worker(fault):
        await saga.client.execute_workflow(
            ReconcileContract.run,
            ReconcileInput(["sandbox"]),
            id=f"reconcile-{hall.show_id}",
            task_queue=BOOKING_QUEUE,
        )
    assert fault.failed == 2


def activities() -> set[str]:
    """Every step that a contract names: nothing else can be called by a workflow."""
    return {
        name
        for module in _modules(contracts)
        for made in vars(module).values()
        if inspect.isclass(made) and made.__module__ == module.__name__
        for name, method in vars(made).items()
        if hasattr(method, "__temporal_activity_definition")
    }


def faults(module: ModuleType) -> Iterator[tuple[Any, Any]]:
    """Which step each test of the module fails, and when."""
    for test in vars(module).values():
        if inspect.isfunction(test) and test.__module__ == module.__name__:
            tree = ast.parse(textwrap.dedent(inspect.getsource(test)))
            for values in _cases(test):
                for call in ast.walk(tree):
                    if _is_fault(call):
                        step, when = (_value(one, values) for one in call.args[:2])
                        yield step, when


def _is_fault(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "Fault" and len(node.args) >= 2


def _cases(test: Any) -> list[dict[str, Any]]:
    """What the test is called with, one dictionary a case."""
    cases: list[dict[str, Any]] = [{}]
    for mark in getattr(test, "pytestmark", ()):
        if mark.name == "parametrize":
            names, values = mark.args[:2]
            names = names.split(",") if isinstance(names, str) else names
            rows = [one if len(names) > 1 else (one,) for one in values]
            cases = [
                {**case, **dict(zip(names, row, strict=True))} for case in cases for row in rows
            ]
    return cases


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    return node.value if isinstance(node, ast.Constant) else values.get(ast.unparse(node))


def _modules(package: ModuleType) -> list[ModuleType]:
    found = pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    return [
        importlib.import_module(module.name) for module in found if "conftest" not in module.name
    ]


def test_every_activity_is_failed_before_and_after_its_effect() -> None:
    rows = {row for module in _modules(tests.workflows) for row in faults(module)}
    wanted = {(name, when) for name in activities() for when in ("before", "after")}
    assert len(wanted) > 40, "the control: there are activities"
    assert sorted(wanted - rows) == []
