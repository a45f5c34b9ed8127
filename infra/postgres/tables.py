"""The schema as SQLAlchemy Core tables; ``alembic check`` holds the migrations to it.

Money columns are integer minor units. Times are ``timestamptz`` written by the database clock.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, Index, MetaData, Table, text
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


def _id() -> Column[object]:
    return Column("id", pg.UUID(as_uuid=True), primary_key=True)


def _serial() -> Column[object]:
    return Column("id", sa.BigInteger, sa.Identity(), primary_key=True)


def _uuid(name: str, target: str | None = None, *, nullable: bool = False) -> Column[object]:
    foreign = [ForeignKey(target)] if target else []
    return Column(name, pg.UUID(as_uuid=True), *foreign, nullable=nullable)


def _text(name: str, *, nullable: bool = False, default: str | None = None) -> Column[object]:
    return Column(name, sa.Text, nullable=nullable, server_default=default)


def _int(name: str, *, nullable: bool = False, default: str | None = None) -> Column[object]:
    return Column(
        name, sa.Integer, nullable=nullable, server_default=text(default) if default else None
    )


def _big(name: str, *, default: str | None = None) -> Column[object]:
    return Column(
        name, sa.BigInteger, nullable=False, server_default=text(default) if default else None
    )


def _at(name: str, *, nullable: bool = False, now: bool = False) -> Column[object]:
    default = NOW if now else None
    return Column(name, pg.TIMESTAMP(timezone=True), nullable=nullable, server_default=default)


def _flag(name: str, *, default: bool = False) -> Column[object]:
    return Column(name, sa.Boolean, nullable=False, server_default=text(str(default).lower()))


def _json(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, pg.JSONB(none_as_null=True), nullable=nullable)


def _one_of(name: str, *values: str) -> sa.CheckConstraint:
    allowed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{name} IN ({allowed})", name=name)


users = Table(
    "users",
    metadata,
    _id(),
    _text("email"),
    _text("email_key"),
    _text("name"),
    _text("phone", nullable=True),
    _text("password_hash"),
    _text("role", default="user"),
    _at("created_at", now=True),
    _at("updated_at", now=True),
    _one_of("role", "user", "admin"),
    sa.UniqueConstraint("email_key"),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    _id(),
    _uuid("family_id"),
    _uuid("user_id", "users.id"),
    Column("token_hash", pg.BYTEA, nullable=False),
    _at("created_at", now=True),
    _at("expires_at"),
    _at("used_at", nullable=True),
    _at("revoked_at", nullable=True),
    sa.UniqueConstraint("token_hash"),
    Index(None, "family_id"),
    Index(None, "user_id"),
)

movies = Table(
    "movies",
    metadata,
    _id(),
    _text("source_key"),
    _text("title"),
    _int("year", nullable=True),
    Column("released_on", sa.Date),
    _int("runtime_minutes", nullable=True),
    _text("rating", nullable=True),
    Column("genres", pg.ARRAY(sa.Text), nullable=False, server_default="{}"),
    _text("director", nullable=True),
    _text("synopsis", nullable=True),
    _at("created_at", now=True),
    sa.UniqueConstraint("source_key"),
    Index(None, "title", "id"),
    Index("movies_genres_idx", "genres", postgresql_using="gin"),
    Index(
        "movies_words_idx",
        text(
            "to_tsvector('simple'::regconfig, translate((title || ' '::text)"
            " || COALESCE(director, ''::text), './-@:+_~'::text, '        '::text))"
        ),
        postgresql_using="gin",
    ),
)

theatres = Table(
    "theatres",
    metadata,
    _id(),
    _text("name"),
    _text("city"),
    _text("address"),
    _text("timezone"),
    _at("created_at", now=True),
    sa.UniqueConstraint("city", "name"),
)

auditoriums = Table(
    "auditoriums",
    metadata,
    _id(),
    # A small number of its own: GiST has an operator class for integer ranges, not for UUIDs.
    Column("number", sa.Integer, sa.Identity(), nullable=False),
    _uuid("theatre_id", "theatres.id"),
    _text("name"),
    _text("orphan_rule", nullable=True),
    _at("created_at", now=True),
    _one_of("orphan_rule", "off", "lenient", "strict"),
    sa.UniqueConstraint("theatre_id", "name"),
    sa.UniqueConstraint("id", "number"),
)

seat_maps = Table(
    "seat_maps",
    metadata,
    _id(),
    _uuid("auditorium_id", "auditoriums.id"),
    _int("version"),
    _int("capacity"),
    _at("created_at", now=True),
    sa.UniqueConstraint("auditorium_id", "version"),
)

seats = Table(
    "seats",
    metadata,
    Column("seat_map_id", pg.UUID(as_uuid=True), ForeignKey("seat_maps.id"), primary_key=True),
    Column("label", sa.Text, primary_key=True),
    # Reading order: section, row, place in the row. Neighbours differ by one within a row.
    _int("position"),
    _text("section"),
    _text("row"),
    _int("number"),
    Column("x", sa.Float, nullable=False),
    Column("y", sa.Float, nullable=False),
    _text("price_class"),
    Column("attributes", pg.ARRAY(sa.Text), nullable=False, server_default="{}"),
    sa.CheckConstraint("label ~ '^[A-Z0-9-]{1,24}$'", name="label"),
    sa.UniqueConstraint("seat_map_id", "position"),
)

shows = Table(
    "shows",
    metadata,
    _id(),
    _uuid("movie_id", "movies.id"),
    _uuid("auditorium_id"),
    _int("auditorium_number"),
    _uuid("seat_map_id", "seat_maps.id"),
    _at("starts_at"),
    _at("ends_at"),
    # The auditorium is taken until here: the film's end and the turnaround.
    _at("free_at"),
    _text("format", default="2D"),
    _text("language", default="en"),
    _text("currency"),
    _at("sales_open_at"),
    _at("sales_close_at"),
    _text("status", default="on_sale"),
    _at("created_at", now=True),
    _one_of("status", "scheduled", "on_sale", "cancelled"),
    sa.CheckConstraint("starts_at < ends_at AND ends_at <= free_at", name="times"),
    sa.ForeignKeyConstraint(
        ["auditorium_id", "auditorium_number"], ["auditoriums.id", "auditoriums.number"]
    ),
    pg.ExcludeConstraint(
        (text("int4range(auditorium_number, auditorium_number, '[]')"), "&&"),
        (text("tstzrange(starts_at, free_at)"), "&&"),
        where=text("status <> 'cancelled'"),
        using="gist",
        name="shows_no_overlap_excl",
    ),
    Index(None, "movie_id", "starts_at"),
    Index(None, "auditorium_id", "starts_at"),
    Index(None, "starts_at", "id"),
)

prices = Table(
    "prices",
    metadata,
    Column("show_id", pg.UUID(as_uuid=True), ForeignKey("shows.id"), primary_key=True),
    Column("price_class", sa.Text, primary_key=True),
    Column("ticket_type", sa.Text, primary_key=True, server_default="standard"),
    _big("amount"),
    sa.CheckConstraint("amount >= 0", name="amount"),
)

booking_requests = Table(
    "booking_requests",
    metadata,
    _id(),
    _uuid("user_id", "users.id"),
    _uuid("show_id", "shows.id"),
    Column("key_hash", pg.BYTEA, nullable=True),
    Column("body_hash", pg.BYTEA, nullable=False),
    Column("seats", pg.ARRAY(sa.Text), nullable=False),
    Column("ticket_types", pg.ARRAY(sa.Text), nullable=False),
    _at("created_at", now=True),
    # NULL: not known yet. `held`, or the refusal's code with its data.
    _text("outcome", nullable=True),
    _json("refusal", nullable=True),
    Index(
        "booking_requests_unsettled_idx",
        "created_at",
        postgresql_where=text("outcome IS NULL"),
    ),
)

bookings = Table(
    "bookings",
    metadata,
    _id(),
    _uuid("user_id", "users.id"),
    _uuid("show_id", "shows.id"),
    _text("state"),
    _int("version", default="1"),
    _int("sequence", default="0"),
    Column("event_hash", pg.BYTEA, nullable=False, server_default=text("''::bytea")),
    _text("currency"),
    _big("total_amount"),
    _int("seat_count"),
    _at("hold_expires_at"),
    _at("hold_max_expires_at"),
    _int("extensions_left", default="0"),
    # Set by checkout before the provider is called; from then on the clock alone frees nothing.
    _flag("lapses", default=True),
    _at("closing_since", nullable=True),
    _flag("payment_uncertain"),
    _text("close_reason", nullable=True),
    _uuid("provider_payment_id", nullable=True),
    _uuid("case_id", nullable=True),
    _at("created_at", now=True),
    _at("updated_at", now=True),
    _one_of(
        "state",
        "held",
        "expiring",
        "confirmed",
        "expired",
        "cancelling",
        "cancelled",
        "refund_pending",
        "refunded",
        "disputed",
        "charged_back",
    ),
    Index("bookings_user_idx", "user_id", text("created_at DESC"), text("id DESC")),
    Index("bookings_user_show_idx", "user_id", "show_id"),
    Index(
        "bookings_open_idx",
        "hold_expires_at",
        postgresql_where=text("state IN ('held', 'expiring', 'cancelling')"),
    ),
    Index("bookings_show_idx", "show_id", "state"),
    Index(
        "bookings_user_open_idx",
        "user_id",
        postgresql_where=text("state IN ('held', 'expiring', 'cancelling')"),
    ),
)

booking_seats = Table(
    "booking_seats",
    metadata,
    Column("booking_id", pg.UUID(as_uuid=True), ForeignKey("bookings.id"), primary_key=True),
    Column("label", sa.Text, primary_key=True),
    _text("price_class"),
    _text("ticket_type", default="standard"),
    _big("amount"),
)

seat_claims = Table(
    "seat_claims",
    metadata,
    Column("show_id", pg.UUID(as_uuid=True), ForeignKey("shows.id"), nullable=False),
    Column("label", sa.Text, nullable=False),
    _text("state"),
    _uuid("booking_id", nullable=True),
    # Rises with every new holder: a write that names an older fence changes nothing.
    _big("fence", default="1"),
    _at("updated_at", now=True),
    _one_of("state", "free", "held", "sold", "blocked"),
    # The guard: one row, so at most one claim, per seat of a show. No primary key beside it:
    # this index alone decides, and start-up refuses to run without it.
    Index("seat_claims_show_label_key", "show_id", "label", unique=True),
    Index(
        "seat_claims_booking_idx",
        "booking_id",
        postgresql_where=text("booking_id IS NOT NULL"),
    ),
)

payments = Table(
    "payments",
    metadata,
    _id(),
    _uuid("booking_id", "bookings.id"),
    _int("attempt"),
    _text("provider"),
    _text("session_id", nullable=True),
    _text("status"),
    _big("amount"),
    _text("currency"),
    _text("checkout_url", nullable=True),
    _at("expires_at"),
    _at("created_at", now=True),
    _at("updated_at", now=True),
    _at("next_poll_at", nullable=True),
    _at("last_read_at", nullable=True),
    _int("polls", default="0"),
    # The page may still take money; only the provider's word makes this false.
    _flag("session_open", default=True),
    _one_of(
        "status",
        "open",
        "processing",
        "authorised",
        "captured",
        "failed",
        "cancelled",
        "refund_pending",
        "refunded",
        "disputed",
    ),
    sa.UniqueConstraint("booking_id", "attempt"),
    sa.UniqueConstraint("provider", "session_id"),
    Index(
        "payments_one_open_key",
        "booking_id",
        unique=True,
        postgresql_where=text("status IN ('open', 'processing', 'authorised')"),
    ),
    Index(
        "payments_poll_idx",
        "next_poll_at",
        postgresql_where=text("next_poll_at IS NOT NULL"),
    ),
)

# What a provider says was paid, by the provider's own id; one attempt can be paid twice by accident.
provider_payments = Table(
    "provider_payments",
    metadata,
    _id(),
    _text("provider"),
    _text("reference"),
    _uuid("booking_id", "bookings.id"),
    _uuid("payment_id", "payments.id"),
    _text("status"),
    _big("amount"),
    _text("currency"),
    _big("captured", default="0"),
    _big("refunded", default="0"),
    # NULL until decided: `confirms`, or why the money goes back.
    _text("decision", nullable=True),
    _at("created_at", now=True),
    _at("updated_at", now=True),
    _one_of("status", "processing", "authorised", "captured", "failed", "voided", "refunded"),
    _one_of("decision", "confirms", "late", "duplicate", "mismatch", "cancelled"),
    sa.UniqueConstraint("provider", "reference"),
    Index(
        "provider_payments_one_confirms_key",
        "booking_id",
        unique=True,
        postgresql_where=text("decision = 'confirms'"),
    ),
    Index(None, "booking_id"),
    Index(
        "provider_payments_undecided_idx",
        "created_at",
        postgresql_where=text("decision IS NULL AND status = 'captured'"),
    ),
)

refunds = Table(
    "refunds",
    metadata,
    _id(),
    _uuid("booking_id", "bookings.id"),
    _uuid("provider_payment_id", "provider_payments.id"),
    _text("idempotency_key"),
    _text("reason"),
    _text("status"),
    _big("amount"),
    _text("currency"),
    _text("reference", nullable=True),
    _at("created_at", now=True),
    _at("settled_at", nullable=True),
    _one_of("status", "pending", "succeeded", "failed"),
    sa.CheckConstraint("amount > 0", name="amount"),
    sa.UniqueConstraint("idempotency_key"),
    Index(None, "booking_id"),
    Index(None, "provider_payment_id"),
    Index("refunds_pending_idx", "created_at", postgresql_where=text("status = 'pending'")),
)

webhook_inbox = Table(
    "webhook_inbox",
    metadata,
    _serial(),
    _text("provider"),
    _text("event_id"),
    _text("event_type"),
    Column("body", pg.BYTEA, nullable=False),
    _text("status", default="pending"),
    _int("attempts", default="0"),
    _at("received_at", now=True),
    _at("next_attempt_at", now=True),
    _at("processed_at", nullable=True),
    _text("reason", nullable=True),
    _text("request_id", nullable=True),
    _one_of("status", "pending", "done", "quarantined"),
    sa.UniqueConstraint("provider", "event_id"),
    Index(
        "webhook_inbox_pending_idx",
        "next_attempt_at",
        postgresql_where=text("status = 'pending'"),
    ),
)

events = Table(
    "events",
    metadata,
    Column("id", sa.BigInteger, primary_key=True, autoincrement=True),
    _uuid("aggregate_id"),
    _int("sequence"),
    _text("event_type"),
    _int("schema_version", default="1"),
    _json("payload"),
    _text("actor"),
    _text("request_id", nullable=True),
    _int("version"),
    Column("previous_hash", pg.BYTEA, nullable=False),
    Column("hash", pg.BYTEA, nullable=False),
    # `id` order is not commit order: a projector reads below the horizon of running transactions.
    Column("xid", Xid8, nullable=False, server_default=text("pg_current_xact_id()")),
    _at("created_at", now=True),
    sa.UniqueConstraint("aggregate_id", "sequence"),
    Index("events_aggregate_idx", "aggregate_id", "created_at"),
    Index("events_type_idx", "event_type", "created_at"),
)

notification_outbox = Table(
    "notification_outbox",
    metadata,
    _serial(),
    _uuid("booking_id", "bookings.id"),
    _uuid("user_id", "users.id"),
    _text("channel"),
    _text("template"),
    _int("revision", default="1"),
    _text("state", default="pending"),
    _int("attempts", default="0"),
    _int("ambiguous_attempts", default="0"),
    _at("created_at", now=True),
    _at("next_attempt_at", nullable=True, now=True),
    _at("sent_at", nullable=True),
    _text("reason", nullable=True),
    _one_of("channel", "email", "sms"),
    _one_of("state", "pending", "sending", "sent", "failed", "suppressed"),
    sa.UniqueConstraint("booking_id", "template", "revision", "channel"),
    Index(
        "notification_outbox_due_idx",
        "next_attempt_at",
        postgresql_where=text("state IN ('pending', 'sending')"),
    ),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("user_id", pg.UUID(as_uuid=True), primary_key=True),
    Column("route", sa.Text, primary_key=True),
    Column("key_hash", pg.BYTEA, primary_key=True),
    Column("body_hash", pg.BYTEA, nullable=False),
    _at("lease_until"),
    _at("created_at", now=True),
    _int("status", nullable=True),
    Column("answer", pg.BYTEA, nullable=True),
    _text("content_type", nullable=True),
    _uuid("owner"),
    Index(None, "created_at"),
)

audit_log = Table(
    "audit_log",
    metadata,
    _serial(),
    _at("at", now=True),
    _text("actor"),
    _text("action"),
    _text("target"),
    _text("reason", nullable=True),
    _json("details", nullable=True),
    _text("request_id", nullable=True),
    Index(None, "target", "at"),
)
