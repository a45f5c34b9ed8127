"""Random commands, crashes and rebuilds: every projection is the fold of its events."""

from __future__ import annotations

import asyncio
from collections import Counter

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from infra.postgres.database import Database
from infra.settings import Settings
from tests.projections.machine import Machine

EXAMPLES, STEPS = 146, 200


@pytest.mark.timeout(300)
def test_every_projection_equals_a_fold_of_its_events(url: str, own_settings: Settings) -> None:
    """25,000 steps, the same ones each time."""
    Machine.steps = Counter()
    # The first one empties what can only be added to, before each example.
    unguarded = "-c session_replication_role=replica"
    Machine.connections = [
        psycopg.connect(url, autocommit=True, options=unguarded),
        psycopg.connect(url),
        psycopg.connect(url),
    ]
    Machine.database = Database(own_settings)
    with asyncio.Runner() as runner:
        Machine.runner = runner
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        runner.run(Machine.database.close())
    for connection in Machine.connections:
        connection.close()
    assert Machine.steps.total() >= 25_000
