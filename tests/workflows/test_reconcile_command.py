"""``seathold reconcile``: a small table, and exit code 1 when something is left to people."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from infra.settings import Settings
from seathold import reconcile
from services.reconcile_books import Tally
from tests.factories import Hall
from tests.helpers.saga import Saga
from tests.sandbox.process import NO_FAULTS, Sandbox
from tests.workflows.test_booking_paths import pay
from tests.workflows.test_reconcile import held, state_becomes


async def run(
    settings: Settings, sandbox: Sandbox, since: datetime, *, only: str = "", dry_run: bool = False
) -> tuple[int, list[str]]:
    """The exit code and what was printed."""
    said: list[str] = []
    known = settings.model_copy(update={"sandbox_url": sandbox.url})
    code = await reconcile.run(
        known, since, provider=only or None, dry_run=dry_run, say=said.append
    )
    return code, said


def left(said: list[str]) -> list[str]:
    """What other tests left behind is told here too."""
    return [line for line in said if line.startswith("left: ")]


@pytest.mark.usefixtures("worker")
async def test_what_was_repaired_is_told_and_the_code_is_0_until_something_is_left(
    saga: Saga, hall: Hall, provider: Sandbox, settings: Settings
) -> None:
    since = datetime.now(UTC)
    input, page = await held(saga, hall)
    reference = pay(provider, page)
    repaired = f"repaired: missing of payment {reference}"
    code, said = await run(settings, provider, since, dry_run=True)
    assert repaired in said
    assert await saga.state(input) == "held"
    code, said = await run(settings, provider, since, only="sandbox")
    assert code == (1 if left(said) else 0)
    assert said[0].split() == ["provider", "compared", "repaired", "left"]
    assert said[1].split()[0] == "sandbox"
    assert repaired in said
    await state_becomes(saga, input, "confirmed")
    session = provider.session(reference=f"nobody-{uuid4()}")
    unknown = provider.pay(session, webhooks={"deliver": False})
    _, said = await run(settings, provider, since, dry_run=True)
    assert f"left: missing of payment {unknown}" in said
    for _ in range(2):
        code, said = await run(settings, provider, since)
        assert code == 1
        assert f"left: payment {unknown} belongs to no booking" in said


async def test_a_provider_that_is_away_or_off_is_code_1(
    provider: Sandbox, settings: Settings
) -> None:
    provider.configure(error_rate=1.0)
    try:
        code, said = await run(settings, provider, datetime.now(UTC))
    finally:
        provider.configure(**NO_FAULTS)
    assert code == 1
    assert "sandbox: The payment provider is not usable: it answered 500." in said
    code, said = await run(settings, provider, datetime.now(UTC), only="stripe")
    assert code == 1
    assert said == ["Error: stripe is not switched on; there are sandbox."]


def test_the_table_fits_its_numbers_and_shows_no_control_characters() -> None:
    tallies = {"sandbox": Tally(12345, 3, 1, ["left: payment \x1b[2Jpay_1"]), "stripe": Tally()}
    assert reconcile.table(tallies) == [
        "provider  compared  repaired  left",
        "sandbox      12345         3     1",
        "stripe           0         0     0",
        "left: payment ?[2Jpay_1",
    ]


async def test_the_command_takes_a_time_in_utc_and_nothing_else() -> None:
    for text in ("yesterday", "2026-11-01", (datetime.now(UTC) + timedelta()).isoformat()):
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "seathold",
            "reconcile",
            "--since",
            text,
            stderr=asyncio.subprocess.PIPE,
        )
        _, told = await child.communicate()
        assert child.returncode == 2
        assert b"--since" in told
