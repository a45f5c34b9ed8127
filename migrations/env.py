"""Alembic's entry: online only, on the URL and connection that the caller hands over."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.dialects.postgresql.base import ischema_names

from infra.postgres.tables import Xid8, metadata
from infra.settings import Settings

ischema_names["xid8"] = Xid8


def run() -> None:
    url = context.config.attributes.get("url") or Settings().migrate_sqlalchemy_url
    engine = create_engine(url)
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=metadata, compare_type=True)
        with context.begin_transaction():
            context.run_migrations()
            if draft := context.config.attributes.get("draft"):
                connection.execute(text(f"COMMENT ON TABLE alembic_version IS '{draft}'"))
    engine.dispose()


run()
