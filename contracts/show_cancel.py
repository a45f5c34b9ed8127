"""A cancelled show: one workflow that ends its holds and sends all its money back."""

from __future__ import annotations

from abc import ABC, abstractmethod

from temporalio import activity, workflow

from domain.show_cancel import (
    BatchDone,
    Left,
    OperatorRequest,
    PauseStep,
    Probe,
    ShowCancelInput,
    ShowCancelResult,
    ShowCancelView,
    ShowStep,
)


def show_cancel_workflow_id(show_id: str) -> str:
    return f"show-cancel-{show_id}"


@workflow.defn(name="ShowCancel")
class ShowCancelContract(ABC):
    """From the sale that was stopped in PostgreSQL to the report of what came of it."""

    @workflow.run
    @abstractmethod
    async def run(self, input: ShowCancelInput) -> ShowCancelResult: ...

    @workflow.update
    @abstractmethod
    async def pause(self, request: OperatorRequest) -> ShowCancelView:
        """Start no more refunds until ``resume``; actor and reason are needed."""
        ...

    @workflow.update
    @abstractmethod
    async def resume(self, request: OperatorRequest) -> ShowCancelView:
        """Go on; one that waits for the balance asks the provider now."""
        ...

    @workflow.query
    @abstractmethod
    def progress(self) -> ShowCancelView: ...


class ShowCancelSteps(ABC):
    """Each step may run twice and changes things once."""

    @activity.defn
    @abstractmethod
    async def end_holds(self, step: ShowStep) -> BatchDone:
        """Tell some holders, and cancel their holds through their own processes."""
        ...

    @activity.defn
    @abstractmethod
    async def start_refunds(self, step: ShowStep) -> BatchDone:
        """Reserve and start refunds for some bookings; none while one waits for the balance."""
        ...

    @activity.defn
    @abstractmethod
    async def probe_balance(self, step: ShowStep) -> Probe:
        """Ask the provider once more for one refund that waits for the balance."""
        ...

    @activity.defn
    @abstractmethod
    async def read_left(self, step: ShowStep) -> Left: ...

    @activity.defn
    @abstractmethod
    async def note_pause(self, step: PauseStep) -> None: ...

    @activity.defn
    @abstractmethod
    async def finish_show(self, step: ShowStep) -> ShowCancelResult:
        """Open a case for what could not be sent back, and keep the report."""
        ...
