"""Statements of one connection in one round trip: what is prepared, and what a failure leaves."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from psycopg.pq import PipelineStatus, TransactionStatus
from sqlalchemy import TextClause, text

from infra.postgres.pipeline import Pipeline
from tests.fixtures import servers

ECHO = text("SELECT CAST(:word AS text) AS word, '5 %' AS percent")
TWICE = text("SELECT CAST(:n AS int) + CAST(:n AS int) AS sum, CAST(:m AS int) AS other")
KIND = text("SELECT pg_typeof(:value)::text AS kind")
DIVIDE = text("SELECT 1 / CAST(:by AS int) AS result")
Batch = list[tuple[TextClause, dict[str, Any]]]
PREPARED = text("SELECT count(*) AS n FROM pg_prepared_statements WHERE statement LIKE :like")


@pytest.fixture
async def connection() -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    url = os.environ[servers.DATABASE]
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def pipeline(connection: psycopg.AsyncConnection[Any]) -> Pipeline:
    return Pipeline(connection)


async def only(pipeline: Pipeline, statement: TextClause, **values: Any) -> Any:
    (done,) = await pipeline.run([(statement, values)])
    (row,) = done.rows
    return row


async def test_values_go_by_name_and_rows_come_by_column(pipeline: Pipeline) -> None:
    batch: Batch = [(ECHO, {"word": "$1 %s :n"}), (TWICE, {"m": 9, "n": 2}), (ECHO, {"word": None})]
    echoed, doubled, none = [done.rows[0] for done in await pipeline.run(batch)]
    assert (echoed.word, echoed.percent) == ("$1 %s :n", "5 %")
    assert (doubled.sum, doubled.other) == (4, 9)
    assert none.word is None


async def test_columns_without_a_good_name_are_kept_by_their_place(pipeline: Pipeline) -> None:
    row = await only(pipeline, text("SELECT 1, 2, 3 AS class, 4 AS a, 5 AS a"))
    assert tuple(row) == (1, 2, 3, 4, 5)
    assert row.a == 4


async def test_a_statement_is_prepared_once_for_each_kind_of_value(pipeline: Pipeline) -> None:
    for value, kind in (
        (1, "smallint"),
        (2, "smallint"),
        (1 << 40, "bigint"),
        (1.5, "double precision"),
    ):
        assert (await only(pipeline, KIND, value=value)).kind == kind
    assert (await only(pipeline, PREPARED, like="SELECT pg_typeof%")).n == 3


async def test_what_came_behind_a_failure_is_prepared_when_it_comes_again(
    pipeline: Pipeline,
) -> None:
    """The server skipped its preparation: to take it for known would fail it for ever."""
    with pytest.raises(psycopg.errors.DivisionByZero):
        await pipeline.run([(DIVIDE, {"by": 0}), (ECHO, {"word": "skipped"})])
    assert (await only(pipeline, ECHO, word="again")).word == "again"
    assert (await only(pipeline, DIVIDE, by=1)).result == 1


async def test_a_plan_that_a_migration_made_useless_costs_one_error(
    connection: psycopg.AsyncConnection[Any], pipeline: Pipeline
) -> None:
    """A process that outlives a migration does not fail by it for ever."""
    await connection.execute("CREATE TEMP TABLE notes (id int)")
    read = text("SELECT * FROM notes")
    await pipeline.run([(read, {})])
    await connection.execute("ALTER TABLE notes ADD words text")
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="cached plan"):
        await pipeline.run([(read, {})])
    await connection.execute("INSERT INTO notes VALUES (1, 'new')")
    assert tuple(await only(pipeline, read)) == (1, "new")


async def test_an_error_tells_of_which_statement_it_is(pipeline: Pipeline) -> None:
    await only(pipeline, ECHO, word="prepared already")
    with pytest.raises(psycopg.errors.DivisionByZero) as failed:
        await pipeline.run([(ECHO, {"word": "a"}), (TWICE, {"n": 1, "m": 1}), (DIVIDE, {"by": 0})])
    assert failed.value.__notes__ == ["SELECT 1 / CAST($1 AS int) AS result"]


async def test_a_failure_undoes_the_batch_and_leaves_the_connection_usable(
    connection: psycopg.AsyncConnection[Any], pipeline: Pipeline
) -> None:
    await connection.execute("CREATE TEMP TABLE notes (id int)")
    add = text("INSERT INTO notes VALUES (:id)")
    with pytest.raises(psycopg.errors.DivisionByZero):
        await pipeline.run([(add, {"id": 1}), (DIVIDE, {"by": 0}), (add, {"id": 2})])
    assert (await only(pipeline, text("SELECT count(*) AS n FROM notes"))).n == 0
    done = await pipeline.run([(add, {"id": 1}), (add, {"id": 2})])
    assert [one.written for one in done] == [1, 1]


async def test_a_value_that_cannot_be_sent_sends_nothing(
    connection: psycopg.AsyncConnection[Any], pipeline: Pipeline
) -> None:
    begin = text("BEGIN")
    with pytest.raises(psycopg.DataError):
        await pipeline.run([(begin, {}), (ECHO, {"word": "NUL \0"})])
    assert connection.pgconn.pipeline_status == PipelineStatus.OFF
    assert connection.info.transaction_status is TransactionStatus.IDLE


async def test_a_batch_is_waited_for_once(
    connection: psycopg.AsyncConnection[Any], pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = []
    wait = connection.wait

    async def counted(*args: Any, **options: Any) -> Any:
        waits.append(args)
        return await wait(*args, **options)

    monkeypatch.setattr(connection, "wait", counted)
    await pipeline.run([(ECHO, {"word": "a"}), (DIVIDE, {"by": 1}), (ECHO, {"word": "b"})])
    assert len(waits) == 1


async def test_more_than_the_sockets_hold_goes_both_ways(pipeline: Pipeline) -> None:
    """Who only wrote until all is written would wait for a server that waits to be read."""
    word = "x" * 1_000_000
    batch: Batch = [(ECHO, {"word": word})] * 20
    done = await pipeline.run(batch)
    assert [len(one.rows[0].word) for one in done] == [len(word)] * 20


async def test_a_lost_connection_is_an_error_and_is_seen_as_closed(
    connection: psycopg.AsyncConnection[Any], pipeline: Pipeline
) -> None:
    with pytest.raises(psycopg.OperationalError):
        await only(pipeline, text("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert connection.closed
    with pytest.raises(psycopg.OperationalError):
        await only(pipeline, ECHO, word="gone")
