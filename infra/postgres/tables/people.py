"""Accounts: the one table that holds personal data, and what their owners sign in with."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, Index, Table, text
from sqlalchemy.dialects import postgresql as pg

from domain.user import Role
from infra.postgres.tables import columns as c

# An erased account keeps its row, for bookings and money point at it, and nothing that is a person.
users = Table(
    "users",
    c.metadata,
    c.key(),
    c.string("email", nullable=True),
    c.string("email_key", nullable=True),
    c.string("name"),
    c.string("phone", nullable=True),
    c.string("password_hash", nullable=True),
    c.string("role", default="user"),
    c.string("locale", default="en"),
    c.flag("notify_email", default=True),
    c.flag("notify_sms", default=True),
    c.at("email_verified_at", nullable=True),
    c.at("blocked_at", nullable=True),
    c.at("erased_at", nullable=True),
    c.at("created_at", now=True),
    c.at("updated_at", now=True),
    c.one_of("role", *Role),
    sa.UniqueConstraint("email_key"),
    Index("users_staff_idx", "role", postgresql_where=text("role <> 'user'")),
)

# A session is a chain of refresh tokens, of which only the newest one's hash is kept.
sessions = Table(
    "sessions",
    c.metadata,
    c.key(),
    c.uuid("user_id", "users.id"),
    Column("token_hash", pg.BYTEA, nullable=False),
    c.string("client", nullable=True),
    c.at("created_at", now=True),
    c.at("refreshed_at", now=True),
    c.at("idle_expires_at"),
    c.at("expires_at"),
    c.at("second_factor_at", nullable=True),
    c.at("ended_at", nullable=True),
    c.string("end_reason", nullable=True),
    Index(None, "user_id"),
    Index(None, "expires_at"),
    Index("sessions_ended_idx", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
)

# Sent by mail, good for one use. Without a user: asked for an address that has no account.
account_tokens = Table(
    "account_tokens",
    c.metadata,
    c.key(),
    c.uuid("user_id", "users.id", nullable=True),
    c.string("purpose"),
    Column("token_hash", pg.BYTEA, nullable=False),
    c.at("created_at", now=True),
    c.at("expires_at"),
    c.at("used_at", nullable=True),
    c.one_of("purpose", "verify_email", "reset_password"),
    sa.UniqueConstraint("token_hash"),
    Index(None, "user_id"),
    Index(None, "expires_at"),
)

# `last_step` is the newest 30 s step whose code was used: each code works once.
second_factors = Table(
    "second_factors",
    c.metadata,
    Column("user_id", pg.UUID(as_uuid=True), ForeignKey("users.id"), primary_key=True),
    Column("secret", pg.BYTEA, nullable=False),
    c.at("created_at", now=True),
    c.at("confirmed_at", nullable=True),
    c.big("last_step", default="0"),
)

recovery_codes = Table(
    "recovery_codes",
    c.metadata,
    Column("user_id", pg.UUID(as_uuid=True), ForeignKey("users.id"), primary_key=True),
    Column("code_hash", pg.BYTEA, primary_key=True),
    c.at("used_at", nullable=True),
)

# `prefix` finds a key and is no secret. Of a secret's 256 random bits a plain hash is kept.
api_keys = Table(
    "api_keys",
    c.metadata,
    c.key(),
    c.uuid("account_id", "users.id"),
    c.string("name"),
    c.string("prefix"),
    Column("secret_hash", pg.BYTEA, nullable=False),
    Column("previous_hash", pg.BYTEA, nullable=True),
    c.at("previous_until", nullable=True),
    Column("scopes", pg.ARRAY(sa.Text), nullable=False),
    c.integer("per_minute"),
    c.at("created_at", now=True),
    c.at("expires_at", nullable=True),
    c.at("revoked_at", nullable=True),
    c.at("last_used_at", nullable=True),
    sa.CheckConstraint("(previous_hash IS NULL) = (previous_until IS NULL)", name="previous"),
    sa.CheckConstraint("per_minute > 0", name="per_minute"),
    sa.UniqueConstraint("prefix"),
    Index(None, "account_id"),
    Index(None, "created_at", "id"),
)
