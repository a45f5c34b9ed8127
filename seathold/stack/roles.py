"""The two roles of a database: one owns the tables and migrates, one is the application's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

OWNER, APP = "seathold_owner", "seathold_app"
MAKE = "{verb} ROLE {name} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {password}"


@dataclass(frozen=True)
class RolePasswords:
    owner: str
    app: str


def make(connection: psycopg.Connection[Any], passwords: RolePasswords) -> None:
    """Make both, as a superuser; a repeat only sets the passwords."""
    for name, password in ((OWNER, passwords.owner), (APP, passwords.app)):
        found = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
        connection.execute(
            sql.SQL(MAKE).format(
                verb=sql.SQL("CREATE" if found is None else "ALTER"),
                name=sql.Identifier(name),
                password=sql.Literal(password),
            )
        )
