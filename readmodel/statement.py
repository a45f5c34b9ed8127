"""What one day's postings came to, by show, provider and currency."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from domain.ledger import Account, Kind
from infra.postgres.database import Session

MOVED = text("""
SELECT show_id, provider, currency, account, kind,
       (sum(debit) - sum(credit))::bigint AS amount
FROM ledger_entries WHERE posted_at >= :since AND posted_at < :until
GROUP BY show_id, provider, currency, account, kind
""")
SHOWS = text("""
SELECT shows.id, starts_at, theatres.name AS theatre, auditoriums.name AS auditorium,
       movies.title AS movie
FROM shows
JOIN movies ON movies.id = shows.movie_id
JOIN auditoriums ON auditoriums.id = shows.auditorium_id
JOIN theatres ON theatres.id = auditoriums.theatre_id
WHERE shows.id = ANY(CAST(:ids AS uuid[])) ORDER BY starts_at, shows.id
""")

FIGURES = (
    "captured",
    "refunded",
    "fees",
    "disputed",
    "net",
    "revenue",
    "refunds_due",
    "undecided",
)


@dataclass(frozen=True, slots=True)
class Line:
    """Figures are minor units of ``currency``, by the names in ``FIGURES``.

    ``net`` is how much more the provider has for us; ``disputed``, ``refunds_due`` and
    ``undecided`` are by how much that day changed them.
    """

    show_id: UUID
    starts_at: datetime
    theatre: str
    auditorium: str
    movie: str
    provider: str
    currency: str
    captured: int
    refunded: int
    fees: int
    disputed: int
    net: int
    revenue: int
    refunds_due: int
    undecided: int

    def figures(self) -> list[int]:
        return [getattr(self, name) for name in FIGURES]


async def of_day(session: Session, day: date) -> list[Line]:
    """The lines of one day, which begins and ends at midnight UTC; by the start of the show."""
    since = datetime.combine(day, time(), UTC)
    moved: dict[UUID, dict[tuple[str, str], list[Any]]] = defaultdict(lambda: defaultdict(list))
    for row in await session.all(MOVED, since=since, until=since + timedelta(days=1)):
        moved[row.show_id][row.provider, row.currency].append(row)
    shows = await session.all(SHOWS, ids=list(moved)) if moved else []
    return [
        _line(show, provider, currency, rows)
        for show in shows
        for (provider, currency), rows in sorted(moved[show.id].items())
    ]


def _line(show: Any, provider: str, currency: str, rows: list[Any]) -> Line:
    """Sums of debit less credit, turned round for the accounts that credit makes rise."""
    stands: Counter[str] = Counter()
    at_provider: Counter[str] = Counter()
    for row in rows:
        stands[row.account] += row.amount
        if row.account == Account.PROVIDER:
            at_provider[row.kind] += row.amount
    return Line(
        show_id=show.id,
        starts_at=show.starts_at,
        theatre=show.theatre,
        auditorium=show.auditorium,
        movie=show.movie,
        provider=provider,
        currency=currency,
        captured=at_provider[Kind.CAPTURED],
        refunded=-at_provider[Kind.REFUND_SETTLED] - at_provider[Kind.REFUND_FAILED],
        fees=stands[Account.FEES],
        disputed=stands[Account.DISPUTED],
        net=stands[Account.PROVIDER],
        revenue=-stands[Account.REVENUE],
        refunds_due=-stands[Account.REFUNDS_DUE],
        undecided=-stands[Account.BUYER] - stands[Account.AUTHORISED],
    )
