"""Statements of one connection, through libpq's pipeline: one write, one wait, all the answers.

Psycopg's cursors cost three times as much, for they send each statement by itself: see ADR 0014.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import psycopg
from psycopg import adapt as adaptation
from psycopg import pq
from psycopg.abc import PQGen, Transformer
from psycopg.adapt import PyFormat
from psycopg.errors import error_from_result
from psycopg.generators import fetch_many, send
from psycopg.pq.abc import PGconn, PGresult
from sqlalchemy import TextClause
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

DIALECT = PGDialect_psycopg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
Values = Mapping[str, Any]
# The server keeps each until the connection ends, and numbers of another size are another kind.
MOST_PREPARED = 500
# Longer than the server lets a statement run: a network that swallows packets, or a host that is
# gone, says nothing at all, and whoever waits for it would wait for hours.
ANSWER_SECONDS = 15.0


class Done(NamedTuple):
    """What a statement answered: its rows, their columns as attributes, and how many it wrote."""

    rows: list[Any]
    written: int


@dataclass(frozen=True, slots=True)
class _Ready:
    """A statement with its values as libpq takes them."""

    text: bytes
    values: Sequence[Any]
    types: tuple[int, ...]
    formats: Sequence[pq.Format]

    @property
    def key(self) -> tuple[bytes, tuple[int, ...]]:
        """What is prepared once: the text, for these types."""
        return self.text, self.types


class Pipeline:
    """Prepares each statement when it first comes, once for the types its values have."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection
        self._names: dict[tuple[bytes, tuple[int, ...]], bytes] = {}
        self._made = 0

    @property
    def is_worn(self) -> bool:
        """Whether so much was prepared on the connection that it does better to end."""
        return self._made >= MOST_PREPARED

    async def run(self, batch: Sequence[tuple[TextClause, Values]]) -> list[Done]:
        """Run them in order; outside a transaction they are one.

        Raises:
            psycopg.Error: of the first that failed, with its text as a note; those behind it were
                not run. ``OperationalError`` when the server says nothing for 15 seconds: whether
                they were run is not known, and the connection is closed.
        """
        adapt = adaptation.Transformer(self._connection)
        ready = [_adapted(adapt, statement, values) for statement, values in batch]
        return [_read(adapt, result) for result in await self._exchange(ready)]

    async def _exchange(self, batch: Sequence[_Ready]) -> list[PGresult]:
        pgconn = self._connection.pgconn
        try:
            pgconn.enter_pipeline_mode()
            is_answer = [told for one in batch for told in self._send(pgconn, one)]
            pgconn.pipeline_sync()
            results = await self._connection.wait(_answers(pgconn), timeout=ANSWER_SECONDS)
            for at, result in enumerate(results):
                if result.status == pq.ExecStatus.FATAL_ERROR:
                    error = error_from_result(result)
                    error.add_note(batch[sum(is_answer[:at])].text.decode().strip())
                    raise error
        except BaseException:
            # Whether the server prepared them, or a migration has made their plans useless, is not
            # looked into: they are prepared anew, by other names.
            for one in batch:
                self._names.pop(one.key, None)
            raise
        finally:
            _leave(pgconn)
        return [result for result, counts in zip(results, is_answer, strict=True) if counts]

    def _send(self, pgconn: PGconn, one: _Ready) -> list[bool]:
        """For each answer that will come, whether it is the statement's own."""
        name = self._names.get(one.key)
        if is_new := name is None:
            self._made += 1
            name = self._names[one.key] = b"seathold_%d" % self._made
            pgconn.send_prepare(name, one.text, one.types)
        pgconn.send_query_prepared(name, one.values, one.formats)
        return [False, True] if is_new else [True]


def _adapted(adapt: Transformer, statement: TextClause, values: Values) -> _Ready:
    text, names = _numbered(statement)
    adapted = adapt.dump_sequence([values[name] for name in names], [PyFormat.AUTO] * len(names))
    return _Ready(text, adapted, adapt.types or (), adapt.formats or ())


def _answers(pgconn: PGconn) -> PQGen[list[PGresult]]:
    """One result for each thing that was sent, up to the sync."""
    yield from send(pgconn)
    results: list[PGresult] = []
    while True:
        found = yield from fetch_many(pgconn)
        if found and found[0].status == pq.ExecStatus.PIPELINE_SYNC:
            return results
        results += found


def _leave(pgconn: PGconn) -> None:
    """A connection whose answers were not all read is of no more use: the pool drops it."""
    try:
        pgconn.exit_pipeline_mode()
    except psycopg.OperationalError:
        pgconn.finish()


def _read(adapt: Transformer, result: PGresult) -> Done:
    rows: list[Any] = []
    if result.ntuples:
        columns = tuple(result.fname(at) or b"" for at in range(result.nfields))
        adapt.set_pgresult(result)
        rows = adapt.load_rows(0, result.ntuples, _row(columns))
    return Done(rows, result.command_tuples or 0)


@cache
def _row(columns: tuple[bytes, ...]) -> Callable[[Sequence[Any]], Any]:
    names = [name.decode() for name in columns]
    row: Any = namedtuple("Row", names, rename=True)  # type: ignore[misc]
    make: Callable[[Sequence[Any]], Any] = row._make
    return make


@cache
def _numbered(statement: TextClause) -> tuple[bytes, tuple[str, ...]]:
    """The statement with ``$1`` for its first value, and the names of the values in order."""
    compiled = statement.compile(dialect=DIALECT)
    return str(compiled).encode(), tuple(compiled.positiontup or ())
