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
from seathold.checker.report import NotRun, Verdict, not_looked_at, verdict_of
from seathold.checker.streams import Stream, streams
from seathold.checker.world import World, look

# What shows only while it happens, and where that is shown.
ELSEWHERE = (
    not_looked_at(
        "L3",
        "No workflow fails when it is replayed.",
        "tests/workflows/test_replay.py replays every recorded history before a change lands",
    ),
    not_looked_at(
        "L4",
        "After a fault the rate is back within 60 s.",
        "a rate is measured, not stored: tests/kill breaks and heals, bench/ measures",
    ),
    not_looked_at(
        "E3",
        "An accepted command has exactly one event, a refused one none.",
        "answers are not stored: tests/api and tests/kill hold them against the events",
    ),
    not_looked_at(
        "E9",
        "Who has read a version never reads an older one.",
        "reads are not stored: tests/api/test_shelf.py reads and compares",
    ),
)

WorldCheck = Callable[[World], Iterable[str]]
StreamCheck = Callable[[Stream], Iterable[str]]


def run(inputs: Inputs) -> Iterator[Verdict]:
    """One verdict for each invariant, as soon as it is known.

    Raises:
        NoDatabase: there is nothing to check.
    """
    try:
        with look(inputs) as world:
            yield from _judge(world, (*seats.CHECKS, *prices.CHECKS))
            yield from _judge(world, (*offers.CHECKS, *liveness.CHECKS))
            yield from _judge(world, (*money.CHECKS, *ledger.CHECKS))
            yield from _judge(world, (*promises.CHECKS, *disputes.CHECKS))
            yield from _judge_streams(world, events.STREAM_CHECKS)
            yield from _judge(world, (*events.CHECKS, *record.CHECKS, *marks.CHECKS))
            yield from _judge(world, projections.CHECKS)
            yield from _judge(world, (*notices.CHECKS, *shows.CHECKS, *partners.CHECKS))
            yield from ELSEWHERE
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
