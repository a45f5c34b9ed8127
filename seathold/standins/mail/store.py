"""What the sink received, in SQLite: a witness that outlives a restart."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY, channel TEXT NOT NULL, recipient TEXT NOT NULL,
    subject TEXT NOT NULL, text TEXT NOT NULL, html TEXT NOT NULL, headers TEXT NOT NULL,
    attachments TEXT NOT NULL, idempotency_key TEXT UNIQUE,
    received_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
)
"""


class Store:
    """Safe to use from the SMTP server's thread and the HTTP server's."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(SCHEMA)

    def add(
        self,
        *,
        channel: str,
        to: str,
        subject: str,
        text: str,
        html: str,
        headers: dict[str, str],
        attachments: list[dict[str, Any]],
        key: str | None = None,
    ) -> None:
        """Keep one message; a second one with the same idempotency key is dropped."""
        with self._lock:
            self._db.execute(
                "INSERT INTO messages (channel, recipient, subject, text, html, headers,"
                " attachments, idempotency_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (idempotency_key) DO NOTHING",
                (
                    channel,
                    to,
                    subject,
                    text,
                    html,
                    json.dumps(headers),
                    json.dumps(attachments),
                    key,
                ),
            )

    def find(self, to: str | None) -> list[dict[str, Any]]:
        """Every message, or those to one address or number; oldest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT * FROM messages WHERE ?1 IS NULL OR recipient = ?1 ORDER BY id", (to,)
            ).fetchall()
        return [
            {
                "id": row["id"],
                "channel": row["channel"],
                "to": row["recipient"],
                "subject": row["subject"],
                "text": row["text"],
                "html": row["html"],
                "headers": json.loads(row["headers"]),
                "attachments": json.loads(row["attachments"]),
                "received_at": row["received_at"],
            }
            for row in rows
        ]
