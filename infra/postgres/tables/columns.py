"""What every table is made of: the one metadata, and the columns that return."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, MetaData, text
from sqlalchemy.dialects import postgresql as pg

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)
NOW = text("clock_timestamp()")


class Xid8(sa.types.UserDefinedType[str]):
    """PostgreSQL's 64-bit transaction id: never wraps, compares with a snapshot's horizon."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


def key() -> Column[object]:
    return Column("id", pg.UUID(as_uuid=True), primary_key=True)


def serial() -> Column[object]:
    return Column("id", sa.BigInteger, sa.Identity(), primary_key=True)


def uuid(name: str, target: str | None = None, *, nullable: bool = False) -> Column[object]:
    foreign = [ForeignKey(target)] if target else []
    return Column(name, pg.UUID(as_uuid=True), *foreign, nullable=nullable)


def string(name: str, *, nullable: bool = False, default: str | None = None) -> Column[object]:
    return Column(name, sa.Text, nullable=nullable, server_default=default)


def integer(name: str, *, nullable: bool = False, default: str | None = None) -> Column[object]:
    return Column(name, sa.Integer, nullable=nullable, server_default=_default(default))


def big(name: str, *, default: str | None = None) -> Column[object]:
    return Column(name, sa.BigInteger, nullable=False, server_default=_default(default))


def at(name: str, *, nullable: bool = False, now: bool = False) -> Column[object]:
    default = NOW if now else None
    return Column(name, pg.TIMESTAMP(timezone=True), nullable=nullable, server_default=default)


def flag(name: str, *, default: bool = False) -> Column[object]:
    said = "true" if default else "false"
    return Column(name, sa.Boolean, nullable=False, server_default=_default(said))


def json(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, pg.JSONB(none_as_null=True), nullable=nullable)


def one_of(name: str, *values: str) -> sa.CheckConstraint:
    allowed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{name} IN ({allowed})", name=name)


def _default(said: str | None) -> sa.TextClause | None:
    return text(said) if said else None  # house: H2 -- said by the tables of this folder alone
