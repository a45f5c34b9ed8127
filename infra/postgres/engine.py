"""The connection pool: SQLAlchemy's async engine on psycopg 3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from infra.settings import Settings

# Who waits longer for a connection does better to hear that there is none.
POOL_SECONDS = 5.0
# A statement that waits longer for a lock than this is better refused and repeated.
OPTIONS = (
    "-c timezone=UTC -c lock_timeout=3000 -c statement_timeout=10000"
    " -c idle_in_transaction_session_timeout=30000"
    # Whatever the server's or the role's default: what was answered with success is on disk.
    " -c synchronous_commit=on"
    # Planning costs more than running, and for arrays the server would plan each time anew. Each
    # statement's plan for any values uses an index: the tests ask for it.
    " -c plan_cache_mode=force_generic_plan"
)


def create_engine(
    settings: Settings,
    *,
    application_name: str = "seathold",
    connect_args: Mapping[str, Any] | None = None,
    **options: Any,
) -> AsyncEngine:
    """Open nothing yet: connections are made on first use, at most ``db_pool_size``."""
    return create_async_engine(
        settings.sqlalchemy_url,
        pool_size=settings.db_pool_size,
        max_overflow=0,
        pool_timeout=POOL_SECONDS,
        pool_pre_ping=False,
        # Parameters hold names and addresses; a trace must not.
        hide_parameters=True,
        connect_args={
            "options": OPTIONS,
            "connect_timeout": 5,
            "application_name": application_name,
            "prepare_threshold": 2,
            **(connect_args or {}),
        },
        **options,
    )
