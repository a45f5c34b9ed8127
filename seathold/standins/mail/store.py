"""What the sink received, in SQLite: on disk before the sender hears that it was taken."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from email_validator import EmailNotValidError, validate_email

from seathold.standins.sandbox.times import now_us, to_text

SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
  id INTEGER PRIMARY KEY,
  channel TEXT NOT NULL CHECK (channel IN ('email', 'sms')),
  recipient TEXT NOT NULL COLLATE NOCASE,
  subject TEXT NOT NULL,
  text TEXT NOT NULL,
  html TEXT NOT NULL,
  headers TEXT NOT NULL,
  attachments TEXT NOT NULL,
  received_at_us INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS messages_recipient ON messages (recipient);

CREATE TABLE IF NOT EXISTS sms_keys (
  key TEXT PRIMARY KEY,
  body BLOB NOT NULL,
  message_id INTEGER NOT NULL REFERENCES messages (id)
);
"""
NEWEST = "SELECT * FROM messages WHERE ?1 IS NULL OR recipient = ?1 ORDER BY id DESC LIMIT ?2"


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came in, for one recipient."""

    channel: str
    to: str
    text: str
    headers: Mapping[str, str]
    subject: str = ""
    html: str = ""
    attachments: Sequence[Mapping[str, Any]] = ()


class KeyReused(Exception):
    """An idempotency key came back with another body."""


class Store:
    """One connection, used from the event loop only; a transaction never awaits."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        self._db.close()

    def add(self, messages: Sequence[Received]) -> list[int]:
        """Keep all of these or none; their ids."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            return [self._insert(message) for message in messages]

    def add_once(self, key: str, body: bytes, message: Received) -> int:
        """Keep the message unless ``key`` has brought it before; its id.

        Raises:
            KeyReused: the key came with another body.
        """
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            known = self._db.execute("SELECT * FROM sms_keys WHERE key = ?", (key,)).fetchone()
            if known is not None and known["body"] != body:
                raise KeyReused
            if known is not None:
                return int(known["message_id"])
            message_id = self._insert(message)
            self._db.execute("INSERT INTO sms_keys VALUES (?, ?, ?)", (key, body, message_id))
            return message_id

    def all(self, to: str | None = None) -> list[dict[str, Any]]:
        """Every message, or those to one address or number; oldest first."""
        return self.newest(-1, to)[::-1]

    def newest(self, limit: int, to: str | None = None) -> list[dict[str, Any]]:
        """At most ``limit`` messages, newest first."""
        recipient = None if to is None else _as_sent(to)
        with closing(self._db.execute(NEWEST, (recipient, limit))) as rows:
            return [_shape(row) for row in rows]

    def find(self, message_id: int) -> dict[str, Any] | None:
        with closing(self._db.execute("SELECT * FROM messages WHERE id = ?", (message_id,))) as one:
            row = one.fetchone()
        return _shape(row) if row is not None else None

    def _insert(self, message: Received) -> int:
        cursor = self._db.execute(
            "INSERT INTO messages (channel, recipient, subject, text, html, headers, attachments,"
            " received_at_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            (
                message.channel,
                message.to,
                message.subject,
                message.text,
                message.html,
                orjson.dumps(dict(message.headers)).decode(),
                orjson.dumps(list(message.attachments)).decode(),
                now_us(),
            ),
        )
        return int(cursor.fetchone()["id"])


def _as_sent(to: str) -> str:
    """An address as mail brings it, its domain in ASCII; what is none, a number say, as it is."""
    try:
        found = validate_email(to, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return to
    return found.ascii_email or to


def _shape(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "id": str(row["id"]),
        "channel": row["channel"],
        "to": row["recipient"],
        "subject": row["subject"],
        "text": row["text"],
        "html": row["html"],
        "headers": orjson.loads(row["headers"]),
        "attachments": orjson.loads(row["attachments"]),
        "received_at": to_text(row["received_at_us"]),
    }
