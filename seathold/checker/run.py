"""Run every check on one look at the world."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import psycopg

from seathold.checker import (
    disputes,
    events,
    ledger,
    liveness,
    marks,
    money,
    notices,
    offers,
    partners,
    prices,
    projections,
    promises,
    record,
    seats,
    shows,
)
from seathold.checker.inputs import Inputs, NoDatabase
from seathold.checker.report import NotRun, Verdict, verdict_of
from seathold.checker.streams import Stream, streams
from seathold.checker.world import World, look

WorldCheck = Callable[[World], Iterable[str]]
StreamCheck = Callable[[Stream], Iterable[str]]


def run(inputs: Inputs) -> list[Verdict]:
    """One verdict for each invariant.

    Raises:
        NoDatabase: there is nothing to check.
    """
    try:
        with look(inputs) as world:
            return [
                *_judge(world, (*seats.CHECKS, *prices.CHECKS)),
                *_judge(world, (*offers.CHECKS, *liveness.CHECKS)),
                *_judge(
                    world,
                    (*money.CHECKS, *ledger.CHECKS, *promises.CHECKS, *disputes.CHECKS),
                ),
                *_judge_streams(world, events.STREAM_CHECKS),
                *_judge(world, (*events.CHECKS, *record.CHECKS, *marks.CHECKS)),
                *_judge(world, projections.CHECKS),
                *_judge(world, (*notices.CHECKS, *shows.CHECKS, *partners.CHECKS)),
            ]
    except psycopg.errors.UndefinedTable as error:
        raise NoDatabase(f"The database is not migrated (`seathold migrate`): {error}") from error
    except psycopg.OperationalError as error:
        raise NoDatabase(f"The database does not answer: {error}") from error


def _judge(world: World, checks: Iterable[WorldCheck]) -> Iterator[Verdict]:
    for check in checks:
        verdict = verdict_of(check)
        try:
            with world.snapshot.transaction():
                verdict.add(check(world))
        except NotRun as why:
            verdict.skip(why)
        except psycopg.DataError as error:
            verdict.add([f"what is stored there cannot be read: {error}"])
        yield verdict


def _judge_streams(world: World, checks: Iterable[StreamCheck]) -> list[Verdict]:
    """All of these in one pass over the events."""
    pairs = [(check, verdict_of(check)) for check in checks]
    for stream in streams(world.snapshot):
        for check, verdict in pairs:
            try:
                verdict.add(check(stream))
            except (KeyError, TypeError, ValueError) as error:
                verdict.add([f"stream {stream.id} cannot be read: {error!r}"])
    return [verdict for _, verdict in pairs]
