"""The first schema: accounts, catalogue, bookings, claims, payments, events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# What happened stays as it was told.
RECORD_GUARDS = (
    """
    CREATE FUNCTION record_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION '% is append-only: what happened stays as it was told', TG_TABLE_NAME
            USING ERRCODE = '55000';
    END $$
    """,
    """
    CREATE TRIGGER record_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION record_is_append_only()
    """,
    """
    CREATE TRIGGER record_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION record_is_append_only()
    """,
    """
    CREATE TRIGGER record_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_seals
    FOR EACH STATEMENT EXECUTE FUNCTION record_is_append_only()
    """,
)

# What is posted stays, and each statement that posts must balance.
LEDGER_GUARDS = (
    """
    CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'ledger_entries is append-only: post the opposite' USING ERRCODE = '55000';
    END $$
    """,
    """
    CREATE TRIGGER ledger_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only()
    """,
    """
    CREATE FUNCTION ledger_must_balance() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT FROM posted GROUP BY posting_id, currency
                   HAVING sum(debit) <> sum(credit)) THEN
            RAISE EXCEPTION 'a posting does not balance' USING ERRCODE = '23514';
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER ledger_must_balance AFTER INSERT ON ledger_entries
    REFERENCING NEW TABLE AS posted
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_must_balance()
    """,
)

# What nobody could pay is refused where it is set, by a price or by a show's other currency.
PRICE_GUARDS = (
    """
    CREATE FUNCTION price_must_be_payable() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT FROM shows JOIN prices ON show_id = shows.id
                   WHERE shows.id = (to_jsonb(NEW) ->> TG_ARGV[0])::uuid AND amount % 10 <> 0
                     AND currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND')) THEN
            RAISE EXCEPTION 'in a currency with thousandths a price must end in 0'
                USING ERRCODE = '23514', HINT = 'Cards pay only tens of them.';
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER price_must_be_payable AFTER INSERT OR UPDATE ON prices
    FOR EACH ROW EXECUTE FUNCTION price_must_be_payable('show_id')
    """,
    """
    CREATE TRIGGER price_must_be_payable AFTER UPDATE OF currency ON shows
    FOR EACH ROW EXECUTE FUNCTION price_must_be_payable('id')
    """,
)

SALES = (
    "bookings",
    "confirmed",
    "lapsed",
    "seats_sold",
    "seats_returned",
    "revenue",
    "refunded",
    "charged_back",
)

# In the order in which they can go; their indexes and triggers go with them.
TABLES = (
    "partner_attempts",
    "partner_deliveries",
    "partner_events",
    "partner_feed",
    "partner_endpoints",
    "show_cancellations",
    "ledger_entries",
    "reconciliations",
    "seat_offers",
    "cases",
    "refunds",
    "disputes",
    "provider_payments",
    "payments",
    "notification_outbox",
    "booking_seats",
    "seat_claims",
    "prices",
    "bookings",
    "booking_requests",
    "shows",
    "seats",
    "seat_maps",
    "recovery_codes",
    "second_factors",
    "api_keys",
    "account_tokens",
    "sessions",
    "auditoriums",
    "webhook_inbox",
    "users",
    "theatres",
    "movies",
    "idempotency_keys",
    "projected_demand",
    "projected_sales",
    "projected_timeline",
    "projected_seats",
    "projected_listing",
    "projections",
    "events",
    "audit_seals",
    "audit_log",
)
FUNCTIONS = (
    "ledger_is_append_only",
    "ledger_must_balance",
    "price_must_be_payable",
    "record_is_append_only",
)


class Xid8(sa.types.UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column(
            "at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "details", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("xid", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_log_pkey")),
    )
    op.create_index("audit_log_actor_idx", "audit_log", ["actor", "id"], unique=False)
    op.create_index("audit_log_action_idx", "audit_log", ["action", "id"], unique=False)
    op.create_index("audit_log_target_idx", "audit_log", ["target", "id"], unique=False)
    op.create_index("audit_log_place_idx", "audit_log", ["xid", "id"], unique=False)
    op.create_table(
        "audit_seals",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("audit_id", sa.BigInteger(), nullable=False),
        sa.Column("previous_hash", postgresql.BYTEA(), nullable=False),
        sa.Column("hash", postgresql.BYTEA(), nullable=False),
        sa.Column(
            "sealed_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["audit_id"], ["audit_log.id"], name=op.f("audit_seals_audit_id_fkey")
        ),
        sa.PrimaryKeyConstraint("sequence", name=op.f("audit_seals_pkey")),
        sa.UniqueConstraint("audit_id", name=op.f("audit_seals_audit_id_key")),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("aggregate_id", sa.UUID(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("schema_version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "payload", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("previous_hash", postgresql.BYTEA(), nullable=False),
        sa.Column("hash", postgresql.BYTEA(), nullable=False),
        sa.Column("xid", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("events_pkey")),
        sa.UniqueConstraint(
            "aggregate_id", "sequence", name=op.f("events_aggregate_id_sequence_key")
        ),
    )
    op.create_index("events_type_idx", "events", ["event_type", "created_at"], unique=False)
    op.create_index("events_place_idx", "events", ["xid", "id"], unique=False)
    for statement in RECORD_GUARDS:
        op.execute(statement)
    _create_projections()
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("key_hash", postgresql.BYTEA(), nullable=False),
        sa.Column("body_hash", postgresql.BYTEA(), nullable=False),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("answer", postgresql.BYTEA(), nullable=True),
        sa.Column("content_type", sa.Text(), nullable=True),
        sa.Column("owner", sa.UUID(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "route", "key_hash", name=op.f("idempotency_keys_pkey")),
    )
    op.create_index(
        op.f("idempotency_keys_created_at_idx"), "idempotency_keys", ["created_at"], unique=False
    )
    op.create_table(
        "movies",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("source_key", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("year", sa.Integer(), nullable=True),
        sa.Column("released_on", sa.Date(), nullable=True),
        sa.Column("runtime_minutes", sa.Integer(), nullable=True),
        sa.Column("rating", sa.Text(), nullable=True),
        sa.Column("genres", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("director", sa.Text(), nullable=True),
        sa.Column("synopsis", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("movies_pkey")),
        sa.UniqueConstraint("source_key", name=op.f("movies_source_key_key")),
    )
    op.create_index("movies_genres_idx", "movies", ["genres"], unique=False, postgresql_using="gin")
    op.create_index(op.f("movies_title_id_idx"), "movies", ["title", "id"], unique=False)
    op.create_index(
        "movies_words_idx",
        "movies",
        [
            sa.literal_column(
                "to_tsvector('simple'::regconfig, translate((title || ' '::text)"
                " || COALESCE(director, ''::text), './-@:+_~'::text, '        '::text))"
            )
        ],
        unique=False,
        postgresql_using="gin",
    )
    op.create_table(
        "theatres",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("city", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("theatres_pkey")),
        sa.UniqueConstraint("city", "name", name=op.f("theatres_city_name_key")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("email_key", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("role", sa.Text(), server_default="user", nullable=False),
        sa.Column("locale", sa.Text(), server_default="en", nullable=False),
        sa.Column("notify_email", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("notify_sms", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("email_verified_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("blocked_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("erased_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "role IN ('owner', 'manager', 'box_office', 'scanner', 'auditor', 'user')",
            name=op.f("users_role_check"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("users_pkey")),
        sa.UniqueConstraint("email_key", name=op.f("users_email_key_key")),
    )
    op.create_index(
        "users_staff_idx",
        "users",
        ["role"],
        unique=False,
        postgresql_where=sa.text("role <> 'user'"),
    )
    op.create_table(
        "webhook_inbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("body", postgresql.BYTEA(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "received_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "next_attempt_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("processed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("set_aside", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status IN ('pending', 'done', 'quarantined')", name=op.f("webhook_inbox_status_check")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("webhook_inbox_pkey")),
        sa.UniqueConstraint(
            "provider", "event_id", name=op.f("webhook_inbox_provider_event_id_key")
        ),
    )
    op.create_index(
        "webhook_inbox_pending_idx",
        "webhook_inbox",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_table(
        "auditoriums",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("number", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("theatre_id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("orphan_rule", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "orphan_rule IN ('off', 'lenient', 'strict')",
            name=op.f("auditoriums_orphan_rule_check"),
        ),
        sa.ForeignKeyConstraint(
            ["theatre_id"], ["theatres.id"], name=op.f("auditoriums_theatre_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("auditoriums_pkey")),
        sa.UniqueConstraint("id", "number", name=op.f("auditoriums_id_number_key")),
        sa.UniqueConstraint("theatre_id", "name", name=op.f("auditoriums_theatre_id_name_key")),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.Column("token_hash", postgresql.BYTEA(), nullable=False),
        sa.Column("client", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "refreshed_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("idle_expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("second_factor_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("ended_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("sessions_user_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("sessions_pkey")),
    )
    op.create_index(op.f("sessions_user_id_idx"), "sessions", ["user_id"], unique=False)
    op.create_index(op.f("sessions_expires_at_idx"), "sessions", ["expires_at"], unique=False)
    op.create_index(
        "sessions_ended_idx",
        "sessions",
        ["ended_at"],
        unique=False,
        postgresql_where=sa.text("ended_at IS NOT NULL"),
    )
    op.create_table(
        "account_tokens",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=True),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("token_hash", postgresql.BYTEA(), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("used_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "purpose IN ('verify_email', 'reset_password')",
            name=op.f("account_tokens_purpose_check"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("account_tokens_user_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("account_tokens_pkey")),
        sa.UniqueConstraint("token_hash", name=op.f("account_tokens_token_hash_key")),
    )
    op.create_index(op.f("account_tokens_user_id_idx"), "account_tokens", ["user_id"], unique=False)
    op.create_index(
        op.f("account_tokens_expires_at_idx"), "account_tokens", ["expires_at"], unique=False
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("account_id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("secret_hash", postgresql.BYTEA(), nullable=False),
        sa.Column("previous_hash", postgresql.BYTEA(), nullable=True),
        sa.Column("previous_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("per_minute", sa.Integer(), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("revoked_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_used_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(previous_hash IS NULL) = (previous_until IS NULL)",
            name=op.f("api_keys_previous_check"),
        ),
        sa.CheckConstraint("per_minute > 0", name=op.f("api_keys_per_minute_check")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["users.id"], name=op.f("api_keys_account_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("api_keys_pkey")),
        sa.UniqueConstraint("prefix", name=op.f("api_keys_prefix_key")),
    )
    op.create_index(op.f("api_keys_account_id_idx"), "api_keys", ["account_id"], unique=False)
    op.create_index(
        op.f("api_keys_created_at_id_idx"), "api_keys", ["created_at", "id"], unique=False
    )
    op.create_table(
        "second_factors",
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.Column("secret", postgresql.BYTEA(), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("confirmed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_step", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("second_factors_user_id_fkey")
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("second_factors_pkey")),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.Column("code_hash", postgresql.BYTEA(), nullable=False),
        sa.Column("used_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("recovery_codes_user_id_fkey")
        ),
        sa.PrimaryKeyConstraint("user_id", "code_hash", name=op.f("recovery_codes_pkey")),
    )
    op.create_table(
        "seat_maps",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("auditorium_id", sa.UUID(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["auditorium_id"], ["auditoriums.id"], name=op.f("seat_maps_auditorium_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("seat_maps_pkey")),
        sa.UniqueConstraint(
            "auditorium_id", "version", name=op.f("seat_maps_auditorium_id_version_key")
        ),
    )
    op.create_table(
        "seats",
        sa.Column("seat_map_id", sa.UUID(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("section", sa.Text(), nullable=False),
        sa.Column("row", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("x", sa.Float(), nullable=False),
        sa.Column("y", sa.Float(), nullable=False),
        sa.Column("price_class", sa.Text(), nullable=False),
        sa.Column("attributes", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.CheckConstraint("label ~ '^[A-Z0-9-]{1,24}$'", name=op.f("seats_label_check")),
        sa.ForeignKeyConstraint(
            ["seat_map_id"], ["seat_maps.id"], name=op.f("seats_seat_map_id_fkey")
        ),
        sa.PrimaryKeyConstraint("seat_map_id", "label", name=op.f("seats_pkey")),
        sa.UniqueConstraint("seat_map_id", "position", name=op.f("seats_seat_map_id_position_key")),
    )
    op.create_table(
        "shows",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("movie_id", sa.UUID(), nullable=False),
        sa.Column("auditorium_id", sa.UUID(), nullable=False),
        sa.Column("auditorium_number", sa.Integer(), nullable=False),
        sa.Column("seat_map_id", sa.UUID(), nullable=False),
        sa.Column("starts_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("ends_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("free_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("format", sa.Text(), server_default="2D", nullable=False),
        sa.Column("language", sa.Text(), server_default="en", nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("sales_open_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("sales_close_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("status", sa.Text(), server_default="on_sale", nullable=False),
        sa.Column("offers_seats", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        postgresql.ExcludeConstraint(
            (sa.text("int4range(auditorium_number, auditorium_number, '[]')"), "&&"),
            (sa.text("tstzrange(starts_at, free_at)"), "&&"),
            where=sa.text("status <> 'cancelled'"),
            using="gist",
            name="shows_no_overlap_excl",
        ),
        sa.CheckConstraint(
            "status IN ('scheduled', 'on_sale', 'cancelled')", name=op.f("shows_status_check")
        ),
        sa.CheckConstraint(
            "starts_at < ends_at AND ends_at <= free_at", name=op.f("shows_times_check")
        ),
        sa.ForeignKeyConstraint(
            ["auditorium_id", "auditorium_number"],
            ["auditoriums.id", "auditoriums.number"],
            name=op.f("shows_auditorium_id_auditorium_number_fkey"),
        ),
        sa.ForeignKeyConstraint(["movie_id"], ["movies.id"], name=op.f("shows_movie_id_fkey")),
        sa.ForeignKeyConstraint(
            ["seat_map_id"], ["seat_maps.id"], name=op.f("shows_seat_map_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("shows_pkey")),
    )
    op.create_index(
        op.f("shows_auditorium_id_starts_at_idx"),
        "shows",
        ["auditorium_id", "starts_at"],
        unique=False,
    )
    op.create_index(
        op.f("shows_movie_id_starts_at_idx"), "shows", ["movie_id", "starts_at"], unique=False
    )
    op.create_index(op.f("shows_starts_at_id_idx"), "shows", ["starts_at", "id"], unique=False)
    op.create_table(
        "booking_requests",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.Column("show_id", sa.UUID(), nullable=False),
        sa.Column("key_hash", postgresql.BYTEA(), nullable=True),
        sa.Column("body_hash", postgresql.BYTEA(), nullable=False),
        sa.Column("seats", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("ticket_types", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column(
            "refusal", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.ForeignKeyConstraint(
            ["show_id"], ["shows.id"], name=op.f("booking_requests_show_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("booking_requests_user_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("booking_requests_pkey")),
    )
    op.create_index(
        "booking_requests_unsettled_idx",
        "booking_requests",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("outcome IS NULL"),
    )
    op.create_index(
        "booking_requests_user_unsettled_idx",
        "booking_requests",
        ["user_id"],
        unique=False,
        postgresql_where=sa.text("outcome IS NULL"),
    )
    op.create_table(
        "bookings",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.Column("show_id", sa.UUID(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("sequence", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "event_hash", postgresql.BYTEA(), server_default=sa.text("''::bytea"), nullable=False
        ),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("total_amount", sa.BigInteger(), nullable=False),
        sa.Column("seat_count", sa.Integer(), nullable=False),
        sa.Column("hold_expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("hold_max_expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("extensions_left", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("lapses", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("closing_since", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "payment_uncertain", sa.Boolean(), server_default=sa.text("false"), nullable=False
        ),
        sa.Column("close_reason", sa.Text(), nullable=True),
        sa.Column("provider_payment_id", sa.UUID(), nullable=True),
        sa.Column("confirming_payment_id", sa.UUID(), nullable=True),
        sa.Column("case_id", sa.UUID(), nullable=True),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "state IN ('held', 'expiring', 'confirmed', 'expired', 'cancelling', 'cancelled',"
            " 'refund_pending', 'refunded', 'disputed', 'charged_back')",
            name=op.f("bookings_state_check"),
        ),
        sa.ForeignKeyConstraint(["show_id"], ["shows.id"], name=op.f("bookings_show_id_fkey")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("bookings_user_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("bookings_pkey")),
    )
    op.create_index(
        "bookings_open_idx",
        "bookings",
        [sa.literal_column("least(hold_expires_at, closing_since)")],
        unique=False,
        postgresql_where=sa.text("state IN ('held', 'expiring', 'cancelling')"),
    )
    op.create_index("bookings_show_idx", "bookings", ["show_id", "state"], unique=False)
    op.create_index(
        "bookings_user_open_idx",
        "bookings",
        ["user_id"],
        unique=False,
        postgresql_where=sa.text("state IN ('held', 'expiring', 'cancelling')"),
    )
    op.create_index(
        "bookings_user_idx",
        "bookings",
        ["user_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_index("bookings_user_show_idx", "bookings", ["user_id", "show_id"], unique=False)
    op.create_table(
        "prices",
        sa.Column("show_id", sa.UUID(), nullable=False),
        sa.Column("price_class", sa.Text(), nullable=False),
        sa.Column("ticket_type", sa.Text(), server_default="standard", nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount >= 0", name=op.f("prices_amount_check")),
        sa.ForeignKeyConstraint(["show_id"], ["shows.id"], name=op.f("prices_show_id_fkey")),
        sa.PrimaryKeyConstraint("show_id", "price_class", "ticket_type", name=op.f("prices_pkey")),
    )
    for statement in PRICE_GUARDS:
        op.execute(statement)
    op.create_table(
        "seat_claims",
        sa.Column("show_id", sa.UUID(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("booking_id", sa.UUID(), nullable=True),
        sa.Column("fence", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "updated_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "state IN ('free', 'held', 'sold', 'blocked')", name=op.f("seat_claims_state_check")
        ),
        sa.ForeignKeyConstraint(["show_id"], ["shows.id"], name=op.f("seat_claims_show_id_fkey")),
    )
    op.create_index(
        "seat_claims_booking_idx",
        "seat_claims",
        ["booking_id"],
        unique=False,
        postgresql_where=sa.text("booking_id IS NOT NULL"),
    )
    op.create_index("seat_claims_show_label_key", "seat_claims", ["show_id", "label"], unique=True)
    op.create_table(
        "booking_seats",
        sa.Column("booking_id", sa.UUID(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("price_class", sa.Text(), nullable=False),
        sa.Column("ticket_type", sa.Text(), server_default="standard", nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("released_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["booking_id"], ["bookings.id"], name=op.f("booking_seats_booking_id_fkey")
        ),
        sa.PrimaryKeyConstraint("booking_id", "label", name=op.f("booking_seats_pkey")),
    )
    op.create_table(
        "notification_outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("booking_id", sa.UUID(), nullable=True),
        sa.Column("reference", sa.UUID(), nullable=True),
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("ambiguous_attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("handed_over", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "next_attempt_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=True,
        ),
        sa.Column("sent_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "channel IN ('email', 'sms')", name=op.f("notification_outbox_channel_check")
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'sending', 'sent', 'failed', 'suppressed')",
            name=op.f("notification_outbox_state_check"),
        ),
        sa.CheckConstraint(
            "(booking_id IS NULL) <> (reference IS NULL)",
            name=op.f("notification_outbox_subject_check"),
        ),
        sa.ForeignKeyConstraint(
            ["booking_id"], ["bookings.id"], name=op.f("notification_outbox_booking_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("notification_outbox_user_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("notification_outbox_pkey")),
        sa.UniqueConstraint(
            "booking_id",
            "template",
            "revision",
            "channel",
            name=op.f("notification_outbox_booking_id_template_revision_channel_key"),
        ),
    )
    op.create_index(
        "notification_outbox_due_idx",
        "notification_outbox",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('pending', 'sending')"),
    )
    op.create_index(
        "notification_outbox_account_idx",
        "notification_outbox",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("booking_id IS NULL AND state = 'pending'"),
    )
    op.create_index(
        "notification_outbox_user_idx",
        "notification_outbox",
        ["user_id"],
        unique=False,
        postgresql_where=sa.text("booking_id IS NULL"),
    )
    op.create_table(
        "payments",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("booking_id", sa.UUID(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("checkout_url", sa.Text(), nullable=True),
        sa.Column("return_url", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("mode", sa.Text(), server_default=sa.text("'capture'"), nullable=False),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("next_poll_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_read_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("polls", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("session_open", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("disputed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint(
            "status IN ('open', 'processing', 'cancelled', 'failed', 'authorised', 'refused',"
            " 'voided', 'captured', 'refund_pending', 'refunded')",
            name=op.f("payments_status_check"),
        ),
        sa.CheckConstraint("mode IN ('capture', 'authorise')", name=op.f("payments_mode_check")),
        sa.ForeignKeyConstraint(
            ["booking_id"], ["bookings.id"], name=op.f("payments_booking_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("payments_pkey")),
        sa.UniqueConstraint("booking_id", "attempt", name=op.f("payments_booking_id_attempt_key")),
        sa.UniqueConstraint(
            "provider", "session_id", name=op.f("payments_provider_session_id_key")
        ),
    )
    op.create_index(
        "payments_one_open_key",
        "payments",
        ["booking_id"],
        unique=True,
        postgresql_where=sa.text("status IN ('open', 'processing')"),
    )
    op.create_index(
        "payments_poll_idx",
        "payments",
        ["next_poll_at"],
        unique=False,
        postgresql_where=sa.text("next_poll_at IS NOT NULL"),
    )
    op.create_table(
        "provider_payments",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("booking_id", sa.UUID(), nullable=False),
        sa.Column("payment_id", sa.UUID(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("captured", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("refunded", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("refunded_unasked", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("fee", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("decision", sa.Text(), nullable=True),
        sa.Column("disputed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("reconciled_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "decision IN ('confirms', 'late', 'duplicate', 'mismatch', 'cancelled', 'refused')",
            name=op.f("provider_payments_decision_check"),
        ),
        sa.CheckConstraint(
            "status IN ('processing', 'authorised', 'captured', 'failed', 'voided', 'refunded')",
            name=op.f("provider_payments_status_check"),
        ),
        sa.ForeignKeyConstraint(
            ["booking_id"], ["bookings.id"], name=op.f("provider_payments_booking_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["payment_id"], ["payments.id"], name=op.f("provider_payments_payment_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("provider_payments_pkey")),
        sa.UniqueConstraint(
            "provider", "reference", name=op.f("provider_payments_provider_reference_key")
        ),
    )
    op.create_index(
        op.f("provider_payments_booking_id_idx"), "provider_payments", ["booking_id"], unique=False
    )
    op.create_index(
        "provider_payments_one_confirms_key",
        "provider_payments",
        ["booking_id"],
        unique=True,
        postgresql_where=sa.text("decision = 'confirms'"),
    )
    op.create_index(
        "provider_payments_undecided_idx",
        "provider_payments",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("decision IS NULL AND status = 'captured'"),
    )
    op.create_index(
        "provider_payments_authorised_idx",
        "provider_payments",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("status = 'authorised'"),
    )
    op.create_index(
        "provider_payments_unreconciled_idx",
        "provider_payments",
        ["provider", "created_at"],
        unique=False,
        postgresql_where=sa.text("reconciled_at IS NULL"),
    )
    op.create_table(
        "disputes",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("provider_payment_id", sa.UUID(), nullable=False),
        sa.Column("booking_id", sa.UUID(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("opened_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("closed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("borne_by", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status IN ('inquiry', 'open', 'won', 'lost')", name=op.f("disputes_status_check")
        ),
        sa.CheckConstraint("amount > 0", name=op.f("disputes_amount_check")),
        sa.CheckConstraint(
            "borne_by IS NULL OR status = 'lost'", name=op.f("disputes_borne_by_check")
        ),
        sa.CheckConstraint(
            "(closed_at IS NOT NULL) = (status IN ('won', 'lost'))"
            " AND (opened_at IS NULL) = (status = 'inquiry')",
            name=op.f("disputes_times_check"),
        ),
        sa.ForeignKeyConstraint(
            ["booking_id"], ["bookings.id"], name=op.f("disputes_booking_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["provider_payment_id"],
            ["provider_payments.id"],
            name=op.f("disputes_provider_payment_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("disputes_pkey")),
        sa.UniqueConstraint(
            "provider_payment_id",
            "reference",
            name=op.f("disputes_provider_payment_id_reference_key"),
        ),
    )
    op.create_index(op.f("disputes_booking_id_idx"), "disputes", ["booking_id"], unique=False)
    op.create_index(
        "disputes_under_way_idx",
        "disputes",
        ["provider_payment_id"],
        unique=False,
        postgresql_where=sa.text("status IN ('inquiry', 'open')"),
    )
    op.create_table(
        "refunds",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("booking_id", sa.UUID(), nullable=False),
        sa.Column("provider_payment_id", sa.UUID(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "failed",
            postgresql.ARRAY(sa.Text()),
            server_default=sa.text("'{}'::text[]"),
            nullable=False,
        ),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("part", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "seats",
            postgresql.ARRAY(sa.Text()),
            server_default=sa.text("'{}'::text[]"),
            nullable=False,
        ),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("request_key", sa.UUID(), nullable=True),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("short_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("accepted_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("settled_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('pending', 'succeeded', 'failed')", name=op.f("refunds_status_check")
        ),
        sa.CheckConstraint("amount > 0", name=op.f("refunds_amount_check")),
        sa.ForeignKeyConstraint(
            ["booking_id"], ["bookings.id"], name=op.f("refunds_booking_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["provider_payment_id"],
            ["provider_payments.id"],
            name=op.f("refunds_provider_payment_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("refunds_pkey")),
        sa.UniqueConstraint("idempotency_key", name=op.f("refunds_idempotency_key_key")),
    )
    op.create_index(op.f("refunds_booking_id_idx"), "refunds", ["booking_id"], unique=False)
    op.create_index(
        op.f("refunds_provider_payment_id_idx"), "refunds", ["provider_payment_id"], unique=False
    )
    op.create_index(
        "refunds_asked_key",
        "refunds",
        ["booking_id", "number", "part"],
        unique=True,
        postgresql_where=sa.text("number IS NOT NULL"),
    )
    op.create_index(
        "refunds_pending_idx",
        "refunds",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_table(
        "reconciliations",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("watermark", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column(
            "finished_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("compared", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("repaired", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("left_over", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("provider", name=op.f("reconciliations_pkey")),
    )
    op.create_table(
        "seat_offers",
        sa.Column("provider_payment_id", sa.UUID(), nullable=False),
        sa.Column("booking_id", sa.UUID(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column(
            "seats", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("ended_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'open') = (ended_at IS NULL)", name=op.f("seat_offers_ended_check")
        ),
        sa.CheckConstraint(
            "state IN ('open', 'accepted', 'declined', 'lapsed')",
            name=op.f("seat_offers_state_check"),
        ),
        sa.ForeignKeyConstraint(
            ["booking_id"], ["bookings.id"], name=op.f("seat_offers_booking_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["provider_payment_id"],
            ["provider_payments.id"],
            name=op.f("seat_offers_provider_payment_id_fkey"),
        ),
        sa.PrimaryKeyConstraint("provider_payment_id", name=op.f("seat_offers_pkey")),
    )
    op.create_index(
        op.f("seat_offers_booking_id_created_at_idx"),
        "seat_offers",
        ["booking_id", "created_at"],
        unique=False,
    )
    op.create_index(
        "seat_offers_expiry_idx",
        "seat_offers",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index(
        "seat_offers_open_key",
        "seat_offers",
        ["booking_id"],
        unique=True,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "ledger_entries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("posting_id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("booking_id", sa.UUID(), nullable=False),
        sa.Column("show_id", sa.UUID(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("provider_payment_id", sa.UUID(), nullable=False),
        sa.Column("refund_id", sa.UUID(), nullable=True),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("debit", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("credit", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column(
            "posted_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "account IN ('provider', 'authorised', 'disputed', 'fees', 'buyer', 'revenue',"
            " 'refunds_due')",
            name=op.f("ledger_entries_account_check"),
        ),
        sa.CheckConstraint(
            "debit >= 0 AND credit >= 0 AND (debit > 0) <> (credit > 0)",
            name=op.f("ledger_entries_one_side_check"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("ledger_entries_pkey")),
        sa.UniqueConstraint(
            "posting_id", "account", name=op.f("ledger_entries_posting_id_account_key")
        ),
    )
    op.create_index(
        op.f("ledger_entries_booking_id_idx"), "ledger_entries", ["booking_id"], unique=False
    )
    op.create_index(
        op.f("ledger_entries_posted_at_idx"), "ledger_entries", ["posted_at"], unique=False
    )
    for statement in LEDGER_GUARDS:
        op.execute(statement)
    op.create_table(
        "cases",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("dedupe", sa.Text(), nullable=False),
        sa.Column("booking_id", sa.UUID(), nullable=True),
        sa.Column("provider_payment_id", sa.UUID(), nullable=True),
        sa.Column("refund_id", sa.UUID(), nullable=True),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="open", nullable=False),
        sa.Column("assignee", sa.UUID(), nullable=True),
        sa.Column("resolution", sa.Text(), nullable=True),
        sa.Column(
            "opened_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("assigned_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("resolved_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("alerted_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.CheckConstraint(
            "status IN ('open', 'assigned', 'resolved')", name=op.f("cases_status_check")
        ),
        sa.CheckConstraint(
            "(status = 'resolved') = (resolved_at IS NOT NULL AND resolution IS NOT NULL)",
            name=op.f("cases_resolution_check"),
        ),
        sa.CheckConstraint(
            "status <> 'assigned' OR assignee IS NOT NULL", name=op.f("cases_assignee_check")
        ),
        sa.ForeignKeyConstraint(["assignee"], ["users.id"], name=op.f("cases_assignee_fkey")),
        sa.ForeignKeyConstraint(
            ["booking_id"], ["bookings.id"], name=op.f("cases_booking_id_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["provider_payment_id"],
            ["provider_payments.id"],
            name=op.f("cases_provider_payment_id_fkey"),
        ),
        sa.ForeignKeyConstraint(["refund_id"], ["refunds.id"], name=op.f("cases_refund_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("cases_pkey")),
        sa.UniqueConstraint("dedupe", name=op.f("cases_dedupe_key")),
    )
    op.create_index("cases_status_idx", "cases", ["status", "opened_at", "id"], unique=False)
    op.create_index("cases_kind_idx", "cases", ["kind", "status", "opened_at", "id"], unique=False)
    op.create_index(
        "cases_booking_idx",
        "cases",
        ["booking_id"],
        unique=False,
        postgresql_where=sa.text("booking_id IS NOT NULL"),
    )
    op.create_index(
        "cases_unresolved_idx",
        "cases",
        ["opened_at"],
        unique=False,
        postgresql_where=sa.text("status <> 'resolved'"),
    )
    op.create_table(
        "show_cancellations",
        sa.Column("show_id", sa.UUID(), nullable=False),
        sa.Column("status", sa.Text(), server_default="running", nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("paused", sa.Text(), nullable=True),
        sa.Column("plan", postgresql.JSONB(none_as_null=True), nullable=False),
        sa.Column("report", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.Column(
            "requested_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("finished_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('running', 'paused', 'finished')",
            name=op.f("show_cancellations_status_check"),
        ),
        sa.CheckConstraint(
            "(status = 'paused') = (paused IS NOT NULL)",
            name=op.f("show_cancellations_paused_check"),
        ),
        sa.CheckConstraint(
            "(status = 'finished') = (finished_at IS NOT NULL AND report IS NOT NULL)",
            name=op.f("show_cancellations_finished_check"),
        ),
        sa.ForeignKeyConstraint(
            ["show_id"], ["shows.id"], name=op.f("show_cancellations_show_id_fkey")
        ),
        sa.PrimaryKeyConstraint("show_id", name=op.f("show_cancellations_pkey")),
    )
    op.create_index(
        "show_cancellations_running_idx",
        "show_cancellations",
        ["requested_at"],
        unique=False,
        postgresql_where=sa.text("status <> 'finished'"),
    )

    create_partner_tables()


def create_partner_tables() -> None:
    op.create_table(
        "partner_endpoints",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("owner_id", sa.UUID(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("event_types", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column(
            "types_since",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("secret", postgresql.BYTEA(), nullable=False),
        sa.Column("previous_secret", postgresql.BYTEA(), nullable=True),
        sa.Column(
            "previous_until",
            postgresql.TIMESTAMP(timezone=True),
            nullable=True,
        ),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column(
            "disabled_at",
            postgresql.TIMESTAMP(timezone=True),
            nullable=True,
        ),
        sa.Column(
            "failing_since",
            postgresql.TIMESTAMP(timezone=True),
            nullable=True,
        ),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "state IN ('active', 'disabled')", name=op.f("partner_endpoints_state_check")
        ),
        sa.CheckConstraint(
            "(state = 'disabled') = (disabled_at IS NOT NULL AND disabled_reason IS NOT NULL)",
            name=op.f("partner_endpoints_disabled_check"),
        ),
        sa.CheckConstraint(
            "(previous_secret IS NULL) = (previous_until IS NULL)",
            name=op.f("partner_endpoints_previous_check"),
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"],
            ["users.id"],
            name=op.f("partner_endpoints_owner_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("partner_endpoints_pkey")),
    )
    op.create_index(
        op.f("partner_endpoints_owner_id_created_at_id_idx"),
        "partner_endpoints",
        ["owner_id", "created_at", "id"],
        unique=False,
    )
    op.create_table(
        "partner_feed",
        sa.Column("single", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("xid", Xid8(), server_default=sa.text("'0'"), nullable=False),
        sa.Column("event_id", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("single", name=op.f("partner_feed_single_check")),
        sa.PrimaryKeyConstraint("single", name=op.f("partner_feed_pkey")),
    )
    op.execute("INSERT INTO partner_feed DEFAULT VALUES")
    op.create_table(
        "partner_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=True),
        sa.Column("only_for", sa.UUID(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column(
            "projected_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "(event_id IS NULL) = (only_for IS NOT NULL)",
            name=op.f("partner_events_only_for_check"),
        ),
        sa.ForeignKeyConstraint(
            ["only_for"],
            ["partner_endpoints.id"],
            name=op.f("partner_events_only_for_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("partner_events_pkey")),
        sa.UniqueConstraint("event_id", name=op.f("partner_events_event_id_key")),
    )
    op.create_index(
        op.f("partner_events_projected_at_idx"), "partner_events", ["projected_at"], unique=False
    )
    op.create_index(
        "partner_events_only_for_idx",
        "partner_events",
        ["only_for"],
        unique=False,
        postgresql_where=sa.text("only_for IS NOT NULL"),
    )
    op.create_table(
        "partner_deliveries",
        sa.Column("id", sa.UUID(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("endpoint_id", sa.UUID(), nullable=False),
        sa.Column("partner_event_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("total_attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("sending", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "due_since",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "next_attempt_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=True,
        ),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "delivered_at",
            postgresql.TIMESTAMP(timezone=True),
            nullable=True,
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'delivered', 'failed', 'skipped')",
            name=op.f("partner_deliveries_state_check"),
        ),
        sa.CheckConstraint(
            "(state = 'pending') = (next_attempt_at IS NOT NULL)",
            name=op.f("partner_deliveries_next_attempt_check"),
        ),
        sa.CheckConstraint(
            "state <> 'skipped' OR reason IS NOT NULL", name=op.f("partner_deliveries_reason_check")
        ),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["partner_endpoints.id"],
            name=op.f("partner_deliveries_endpoint_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["partner_event_id"],
            ["partner_events.id"],
            name=op.f("partner_deliveries_partner_event_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("partner_deliveries_pkey")),
        sa.UniqueConstraint(
            "endpoint_id",
            "partner_event_id",
            name=op.f("partner_deliveries_endpoint_id_partner_event_id_key"),
        ),
    )
    op.create_index(
        op.f("partner_deliveries_partner_event_id_idx"),
        "partner_deliveries",
        ["partner_event_id"],
        unique=False,
    )
    op.create_index(
        "partner_deliveries_state_idx",
        "partner_deliveries",
        ["endpoint_id", "state", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "partner_deliveries_due_idx",
        "partner_deliveries",
        ["endpoint_id", "next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_table(
        "partner_attempts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("delivery_id", sa.UUID(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column(
            "started_at",
            postgresql.TIMESTAMP(timezone=True),
            nullable=False,
        ),
        sa.Column(
            "ended_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("body_hash", postgresql.BYTEA(), nullable=False),
        sa.CheckConstraint(
            "(status IS NULL) = (error IS NOT NULL)", name=op.f("partner_attempts_outcome_check")
        ),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["partner_deliveries.id"],
            name=op.f("partner_attempts_delivery_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("partner_attempts_pkey")),
        sa.UniqueConstraint(
            "delivery_id", "number", name=op.f("partner_attempts_delivery_id_number_key")
        ),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in TABLES:
        op.drop_table(table)
    op.execute(f"DROP FUNCTION {', '.join(FUNCTIONS)}")


def _generation() -> sa.Column[int]:
    return sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False)


def _show() -> sa.Column[object]:
    return sa.Column("show_id", sa.UUID(), nullable=False)


def _create_projections() -> None:
    op.create_table(
        "projections",
        sa.Column("name", sa.Text(), nullable=False),
        _generation(),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("xid", Xid8(), server_default=sa.text("'0'::xid8"), nullable=False),
        sa.Column("event_id", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "updated_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "state IN ('live', 'building', 'old')", name=op.f("projections_state_check")
        ),
        sa.PrimaryKeyConstraint("name", "generation", name=op.f("projections_pkey")),
    )
    op.create_index(
        "projections_one_live_key",
        "projections",
        ["name"],
        unique=True,
        postgresql_where=sa.text("state = 'live'"),
    )
    op.create_table(
        "projected_listing",
        _generation(),
        _show(),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.Column("sold", sa.Integer(), nullable=False),
        sa.Column("cancelled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("generation", "show_id", name=op.f("projected_listing_pkey")),
    )
    op.create_table(
        "projected_seats",
        _generation(),
        _show(),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("booking_id", sa.UUID(), nullable=False),
        sa.Column("free_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('free', 'held', 'sold')", name=op.f("projected_seats_state_check")
        ),
        sa.PrimaryKeyConstraint(
            "generation", "show_id", "label", name=op.f("projected_seats_pkey")
        ),
    )
    op.create_table(
        "projected_timeline",
        _generation(),
        sa.Column("booking_id", sa.UUID(), nullable=False),
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(
            "generation", "booking_id", "sequence", name=op.f("projected_timeline_pkey")
        ),
    )
    op.create_table(
        "projected_sales",
        _generation(),
        _show(),
        sa.Column("currency", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in SALES),
        sa.PrimaryKeyConstraint(
            "generation", "show_id", "currency", name=op.f("projected_sales_pkey")
        ),
    )
    op.create_table(
        "projected_demand",
        _generation(),
        sa.Column("hour", postgresql.TIMESTAMP(timezone=True), nullable=False),
        _show(),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("bookings", "seats", "confirmed", "lapsed")
        ),
        sa.PrimaryKeyConstraint(
            "generation", "hour", "show_id", name=op.f("projected_demand_pkey")
        ),
    )
