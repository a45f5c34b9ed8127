"""Accounts and the refresh tokens of their sessions."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Index, Table
from sqlalchemy.dialects import postgresql as pg

from infra.postgres.tables import columns as c

users = Table(
    "users",
    c.metadata,
    c.key(),
    c.string("email"),
    c.string("email_key"),
    c.string("name"),
    c.string("phone", nullable=True),
    c.string("password_hash"),
    c.string("role", default="user"),
    c.at("created_at", now=True),
    c.at("updated_at", now=True),
    c.one_of("role", "user", "admin"),
    sa.UniqueConstraint("email_key"),
)

refresh_tokens = Table(
    "refresh_tokens",
    c.metadata,
    c.key(),
    c.uuid("family_id"),
    c.uuid("user_id", "users.id"),
    Column("token_hash", pg.BYTEA, nullable=False),
    c.at("created_at", now=True),
    c.at("expires_at"),
    c.at("used_at", nullable=True),
    c.at("revoked_at", nullable=True),
    sa.UniqueConstraint("token_hash"),
    Index(None, "family_id"),
    Index(None, "user_id"),
    Index(None, "expires_at"),
)
