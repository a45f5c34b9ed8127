"""Films, theatres, halls with their seat maps, shows and prices."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, Index, Table, text
from sqlalchemy.dialects import postgresql as pg

from infra.postgres.tables import columns as c

movies = Table(
    "movies",
    c.metadata,
    c.key(),
    c.string("source_key"),
    c.string("title"),
    c.integer("year", nullable=True),
    Column("released_on", sa.Date),
    c.integer("runtime_minutes", nullable=True),
    c.string("rating", nullable=True),
    Column("genres", pg.ARRAY(sa.Text), nullable=False, server_default="{}"),
    c.string("director", nullable=True),
    c.string("synopsis", nullable=True),
    c.at("created_at", now=True),
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
    c.metadata,
    c.key(),
    c.string("name"),
    c.string("city"),
    c.string("address"),
    c.string("timezone"),
    c.at("created_at", now=True),
    sa.UniqueConstraint("city", "name"),
)

auditoriums = Table(
    "auditoriums",
    c.metadata,
    c.key(),
    # A small number of its own: GiST has an operator class for integer ranges, not for UUIDs.
    Column("number", sa.Integer, sa.Identity(), nullable=False),
    c.uuid("theatre_id", "theatres.id"),
    c.string("name"),
    c.string("orphan_rule", nullable=True),
    c.at("created_at", now=True),
    c.one_of("orphan_rule", "off", "lenient", "strict"),
    sa.UniqueConstraint("theatre_id", "name"),
    sa.UniqueConstraint("id", "number"),
)

seat_maps = Table(
    "seat_maps",
    c.metadata,
    c.key(),
    c.uuid("auditorium_id", "auditoriums.id"),
    c.integer("version"),
    c.integer("capacity"),
    c.at("created_at", now=True),
    sa.UniqueConstraint("auditorium_id", "version"),
)

seats = Table(
    "seats",
    c.metadata,
    Column("seat_map_id", pg.UUID(as_uuid=True), ForeignKey("seat_maps.id"), primary_key=True),
    Column("label", sa.Text, primary_key=True),
    # Reading order: section, row, place in the row. Neighbours differ by one within a row.
    c.integer("position"),
    c.string("section"),
    c.string("row"),
    c.integer("number"),
    Column("x", sa.Float, nullable=False),
    Column("y", sa.Float, nullable=False),
    c.string("price_class"),
    Column("attributes", pg.ARRAY(sa.Text), nullable=False, server_default="{}"),
    sa.CheckConstraint("label ~ '^[A-Z0-9-]{1,24}$'", name="label"),
    sa.UniqueConstraint("seat_map_id", "position"),
)

shows = Table(
    "shows",
    c.metadata,
    c.key(),
    c.uuid("movie_id", "movies.id"),
    c.uuid("auditorium_id"),
    c.integer("auditorium_number"),
    c.uuid("seat_map_id", "seat_maps.id"),
    c.at("starts_at"),
    c.at("ends_at"),
    # The auditorium is taken until here: the film's end and the turnaround.
    c.at("free_at"),
    c.string("format", default="2D"),
    c.string("language", default="en"),
    c.string("currency"),
    c.at("sales_open_at"),
    c.at("sales_close_at"),
    c.string("status", default="on_sale"),
    # Late money whose seats are gone is offered others here, before it goes back.
    c.flag("offers_seats"),
    c.at("created_at", now=True),
    c.one_of("status", "scheduled", "on_sale", "cancelled"),
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
    c.metadata,
    Column("show_id", pg.UUID(as_uuid=True), ForeignKey("shows.id"), primary_key=True),
    Column("price_class", sa.Text, primary_key=True),
    Column("ticket_type", sa.Text, primary_key=True, server_default="standard"),
    c.big("amount"),
    sa.CheckConstraint("amount >= 0", name="amount"),
)
