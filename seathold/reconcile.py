"""``seathold reconcile``: our books against the providers', by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime

import typer

from domain.errors import Unavailable
from infra.gateways.assembly import open_gateways
from infra.postgres.database import Database
from infra.reconcile import make_reconciler
from infra.redis.client import create_redis
from infra.redis.seat_claims import RedisSeatPreclaims
from infra.settings import Settings
from infra.temporal import connect
from services.reconcile import Reconciler
from services.reconcile_books import Tally

HEADER = ("provider", "compared", "repaired", "left")


async def run(
    settings: Settings,
    since: datetime,
    *,
    provider: str | None,
    dry_run: bool,
    say: Callable[[str], None] = typer.echo,
) -> int:
    """The exit code: 1 when something could not be repaired, or a provider did not answer.

    It works while Temporal is away: what it records, the reaper tells afterwards.
    """
    async with AsyncExitStack() as stack:
        database = Database(settings, application_name="seathold-reconcile")
        stack.push_async_callback(database.close)
        gateways = await stack.enter_async_context(open_gateways(settings))
        if provider is not None and provider not in gateways:
            say(f"Error: {provider} is not switched on; there are {', '.join(sorted(gateways))}.")
            return 1
        client = await connect(settings, lazy=True)
        redis = create_redis(settings)
        stack.push_async_callback(redis.aclose)
        preclaims = RedisSeatPreclaims(redis)
        reconciler = make_reconciler(
            settings, database, gateways, client, preclaims, dry_run=dry_run
        )
        names = [provider] if provider else sorted(gateways)
        tallies, away = await _compare(reconciler, names, since)
    for line in table(tallies):
        say(line)
    for name, reason in away.items():
        say(f"{name}: {reason}")
    return 1 if away or any(tally.left for tally in tallies.values()) else 0


async def _compare(
    reconciler: Reconciler, providers: Iterable[str], since: datetime
) -> tuple[dict[str, Tally], dict[str, str]]:
    """What each came to, and why the others did not."""
    tallies: dict[str, Tally] = {}
    away: dict[str, str] = {}
    for provider in providers:
        at = await reconciler.start(provider, since)
        try:
            tallies[provider] = await reconciler.run(provider, at, lambda _: None)
        except Unavailable as error:
            away[provider] = error.detail
    return tallies, away


def table(tallies: Mapping[str, Tally]) -> list[str]:
    """A line a provider, then a line for each thing that differed."""
    rows = [HEADER]
    for provider, tally in tallies.items():
        rows.append((provider, str(tally.compared), str(tally.repaired), str(tally.left)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return lines + [_shown(told) for tally in tallies.values() for told in tally.told]


def _shown(text: str) -> str:
    """A provider's ids must not steer the terminal."""
    return "".join(one if one.isprintable() else "?" for one in text)
