"""What a projection is, and how sums over bookings follow what becomes of each of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import TextClause

from domain.history import History
from infra.postgres.database import Session
from readmodel.projections.facts import Batch

Key = TypeVar("Key", bound=Hashable)
Sums = Mapping[Key, tuple[int, ...]]


class Projection(Protocol):
    """One table made from events, at a checkpoint of its own."""

    name: str
    # Deletes the next few of the rows of one ``:generation``.
    clear: TextClause

    def apply(self, session: Session, generation: int, batch: Batch) -> None:
        """Put off the statements that bring the rows of ``generation`` over this batch.

        They run in the transaction that moves the checkpoint: both happen, or neither.
        """
        ...


def moved(batch: Batch, sums_of: Callable[[History], Sums[Key]]) -> dict[Key, tuple[int, ...]]:
    """By how much this batch changes the sums over all bookings; what it does not is left out."""
    change: dict[Key, list[int]] = defaultdict(list)
    _add(change, batch.after.values(), sums_of, 1)
    _add(change, batch.before.values(), sums_of, -1)
    return {key: tuple(by) for key, by in sorted(change.items()) if any(by)}


def columns_of(change: Mapping[Key, tuple[int, ...]], names: Sequence[str]) -> dict[str, Any]:
    """The sums as one array for each of ``names``, in the order of the keys."""
    columns = zip(*change.values(), strict=True)
    return dict(zip(names, map(list, columns), strict=True))


def _add(
    change: dict[Key, list[int]],
    told: Iterable[History],
    sums_of: Callable[[History], Sums[Key]],
    sign: int,
) -> None:
    for history in told:
        for key, figures in sums_of(history).items():
            known = change[key] or [0] * len(figures)
            change[key] = [one + sign * more for one, more in zip(known, figures, strict=True)]
