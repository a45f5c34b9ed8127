"""One consistent look at everything: the database's snapshot and the outside witnesses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count, islice
from typing import Any, TypeVar

import httpx2
import psycopg
from psycopg import IsolationLevel
from psycopg.rows import dict_row

from seathold.checker.inputs import Inputs
from seathold.checker.report import NotRun

T = TypeVar("T")
Row = dict[str, Any]
Witness = Callable[[], Any]

# Nothing may be changed here, and time is compared in one zone. Every cursor is read to its end:
# the plan that is soonest at its first row (by an index) took three times as long as a sort.
OPTIONS = (
    "-c default_transaction_read_only=on -c timezone=UTC -c jit=off -c cursor_tuple_fraction=1"
)
# That many rows are held at a time, however many there are.
BATCH = 2000
HTTP_SECONDS = 30.0
LOOK_AGAIN_SECONDS = 0.25

INDEX = """
SELECT EXISTS (
    SELECT FROM pg_index
    WHERE indrelid = to_regclass(%(table)s) AND indisunique AND indisvalid AND indisready
      AND indpred IS NULL AND indexprs IS NULL
      AND (SELECT array_agg(attname::text ORDER BY place)
           FROM unnest(indkey) WITH ORDINALITY AS key (number, place)
           JOIN pg_attribute ON attrelid = indrelid AND attnum = number
           WHERE place <= indnkeyatts) = %(columns)s::text[]
) AS there
"""


@dataclass
class World:
    """``snapshot`` sees one instant; ``live`` sees now. ``began``: the database clock at the start.

    The ledger and the mails were read between ``began`` and the snapshot: what the database did
    before ``began`` must be in them, and what they tell must be in the snapshot.
    """

    inputs: Inputs
    snapshot: psycopg.Connection[Row]
    live: psycopg.Connection[Row]
    began: datetime
    _ledger: Witness = field(repr=False)
    _mails: Witness = field(repr=False)
    _cursors: Iterator[int] = field(default_factory=count, repr=False)

    @property
    def ledger(self) -> Row:
        """The provider's own books; raises NotRun without them."""
        told: Row = self._ledger()
        return told

    @property
    def mails(self) -> Sequence[Row]:
        """Every message the sink received; raises NotRun without it."""
        told: Row = self._mails()
        items: Sequence[Row] = told["items"]
        return items

    def rows(self, statement: str, **values: Any) -> list[Row]:
        """All at once: for what is few however many bookings there are."""
        return self.snapshot.execute(statement, values).fetchall()

    def each(self, statement: str, **values: Any) -> Iterator[Row]:
        """As ``rows``, a batch at a time; others may be read meanwhile."""
        with self.snapshot.cursor(f"check_{next(self._cursors)}") as cursor:
            cursor.itersize = BATCH
            yield from cursor.execute(statement, values)

    def now(self, statement: str, **values: Any) -> list[Row]:
        """As ``rows``, of this moment and not of the snapshot."""
        return self.live.execute(statement, values).fetchall()

    def found(self, statement: str, sentence: str, **values: Any) -> Iterator[str]:
        """``sentence`` filled in with each row that the statement finds."""
        for row in self.each(statement, **values):
            yield sentence.format(**row)

    def missing_index(self, table: str, *columns: str) -> Iterator[str]:
        """A complaint, unless a valid unique index on exactly these columns stands guard."""
        if not self.rows(INDEX, table=table, columns=list(columns))[0]["there"]:
            yield f"no valid unique index on {table} ({', '.join(columns)})"

    def settled(self, probe: Callable[[], set[str]]) -> list[str]:
        """The differences that stay, however often one looks: what is under way is none."""
        deadline = time.monotonic() + self.inputs.settle_seconds
        found = probe()
        while found and time.monotonic() < deadline:
            time.sleep(LOOK_AGAIN_SECONDS)
            found &= probe()
        return sorted(found)


def batches(items: Iterable[T], size: int | None = None) -> Iterator[list[T]]:
    """Parts of ``items``, of as many as are read at a time."""
    rest = iter(items)
    while part := list(islice(rest, size or BATCH)):
        yield part


@contextmanager
def look(inputs: Inputs) -> Iterator[World]:
    """Read the witnesses, then open the snapshot; raises psycopg.OperationalError."""
    live = _connect(inputs, autocommit=True)
    with live:
        began = live.execute("SELECT clock_timestamp() AS now").fetchall()[0]["now"]
        with httpx2.Client(timeout=HTTP_SECONDS, trust_env=False) as http:
            ledger = _witness(http, "the provider's ledger", inputs.sandbox_url, "/test/ledger")
            mails = _witness(http, "the mail sink", inputs.mail_url, "/api/messages")
        with _connect(inputs, autocommit=False) as snapshot:
            snapshot.isolation_level = IsolationLevel.REPEATABLE_READ
            # The first statement takes the snapshot; every later block is a savepoint in it.
            snapshot.execute("SELECT")
            yield World(inputs, snapshot, live, began, ledger, mails)


def _connect(inputs: Inputs, *, autocommit: bool) -> psycopg.Connection[Row]:
    return psycopg.connect(
        inputs.database_url,
        autocommit=autocommit,
        options=OPTIONS,
        connect_timeout=5,
        row_factory=dict_row,
    )


def _witness(http: httpx2.Client, name: str, base_url: str | None, path: str) -> Witness:
    """Ask once, now; answers or raises whenever it is called."""

    def refuse() -> Any:
        raise why

    if base_url is None:
        why = NotRun(f"{name} was not named")
        return refuse
    try:
        answer = http.get(base_url.rstrip("/") + path)
        answer.raise_for_status()
        told = answer.json()
    except (httpx2.HTTPError, ValueError) as error:
        why = NotRun(f"{name} did not answer: {error}", unreachable=True)
        return refuse
    return lambda: told
