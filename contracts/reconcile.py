"""Our books against a provider's list, every few minutes: a schedule starts it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from temporalio import activity, workflow

SCHEDULE_ID = "reconcile"


@dataclass(frozen=True)
class ReconcileInput:
    """Each of these providers is compared since its own last finished run."""

    providers: list[str]


@dataclass(frozen=True)
class ReconcileStep:
    provider: str


@dataclass(frozen=True)
class ReconcileResult:
    """Counts of one provider's run; ``finished`` false: it did not answer and is asked again.

    ``left`` could not be repaired and has its cases; ``told`` names what differed.
    """

    provider: str
    finished: bool
    compared: int = 0
    repaired: int = 0
    left: int = 0
    told: list[str] = field(default_factory=list)


@workflow.defn(name="Reconcile")
class ReconcileContract(ABC):
    @workflow.run
    @abstractmethod
    async def run(self, input: ReconcileInput) -> list[ReconcileResult]: ...


class ReconcileSteps(ABC):
    @activity.defn
    @abstractmethod
    async def reconcile(self, step: ReconcileStep) -> ReconcileResult:
        """Compare one provider's list and repair; another try goes on where the last one was."""
        ...
