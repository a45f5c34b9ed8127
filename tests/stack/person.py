"""A person whose every detail is unlike anything else, and where in a stack it is found."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus
from uuid import uuid4

import httpx2
import psycopg
import redis
from psycopg import sql

from tests.stack.command import Dev

Json = dict[str, Any]
TABLES = """
SELECT table_name FROM information_schema.tables
WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
"""
FOUND = sql.SQL(
    "SELECT form FROM unnest(%(forms)s::text[]) AS form"
    " WHERE EXISTS (SELECT FROM {table} AS row WHERE strpos(row::text, form) > 0)"
)


@dataclass
class Person:
    """Details to look for; ``secrets`` grows with every credential that is handed out."""

    mark: str = field(default_factory=lambda: uuid4().hex[:12])
    secrets: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.email = f"canary-{self.mark}@example.test"
        self.name = f"Canary {self.mark.upper()}"
        self.phone = f"+49151{int(self.mark, 16) % 10**9:09d}"
        self.password = f"five words of {self.mark} a secret"
        self.new_password = f"other words of {self.mark} a secret"

    @property
    def details(self) -> set[str]:
        return {self.email, self.name, self.phone}

    @property
    def words(self) -> list[str]:
        return [*self.details, self.password, self.new_password, *self.secrets]

    def remember(self, pair: Json) -> None:
        """The tokens of an answer: their secret ends, which is what can be used."""
        self.secrets += [pair["access_token"].rpartition(".")[2], pair["refresh_token"]]


@dataclass
class Stores:
    """Everywhere a running stack writes to, but for the mail and SMS it has sent."""

    dev: Dev

    def found(self, words: list[str]) -> dict[str, list[str]]:
        """Which of ``words`` stand where; places without any are left out."""
        places: dict[str, list[str]] = {}
        sought = {word: [form.encode() for form in forms(word)] for word in words}
        for place, content in [*self._files(), *self._redis(), *self._metrics()]:
            for word in (word for word in words if any(one in content for one in sought[word])):
                places.setdefault(place, []).append(word)
        return places | self._tables(words)

    def _files(self) -> Iterator[tuple[str, bytes]]:
        for folder in ("logs", "temporal"):
            for path in sorted((self.dev.run_dir / folder).iterdir()):
                # SQLite ends its journal with each transaction, so it may be gone by now.
                with suppress(FileNotFoundError):
                    yield f"{folder}/{path.name}", path.read_bytes()
        yield "sandbox.sqlite", (self.dev.run_dir / "sandbox.sqlite").read_bytes()

    def _redis(self) -> Iterator[tuple[str, bytes]]:
        with redis.Redis.from_url(self.dev.info["redis_url"]) as client:
            for key in client.scan_iter(count=1000):
                yield "redis", key + repr(_value(client, key)).encode()

    def _metrics(self) -> Iterator[tuple[str, bytes]]:
        yield "metrics", httpx2.get(self.dev.info["api_url"] + "/metrics").content

    def _tables(self, words: list[str]) -> dict[str, list[str]]:
        return in_tables(self.dev.info["migrate_database_url"], words)


def in_tables(database_url: str, words: list[str]) -> dict[str, list[str]]:
    """Which of ``words`` stand in which table of the public schema, as text or as bytes."""
    places: dict[str, list[str]] = {}
    # Bytes are shown in hexadecimal.
    word_of = {
        shown: word
        for word in words
        for form in forms(word)
        for shown in (form, form.encode().hex())
    }
    with psycopg.connect(database_url) as database:
        for [table] in database.execute(TABLES).fetchall():
            query = FOUND.format(table=sql.Identifier(table))
            rows = database.execute(query, {"forms": list(word_of)}).fetchall()
            if found := {word_of[form] for [form] in rows}:
                places[f"table {table}"] = sorted(found)
    return places


def forms(word: str) -> list[str]:
    """How ``word`` may be written: as it is, for a URL, and inside of a text in base64."""
    found = [word, quote(word, safe=""), quote_plus(word)]
    for before in range(3):
        coded = base64.b64encode(b"?" * before + word.encode())
        # At both ends the letters tell of what stands beside it, too.
        inside = coded[4 * (before > 0) : len(coded) // 4 * 4 - 4].decode()
        found += [inside, inside.replace("+", "-").replace("/", "_")]
    return list(dict.fromkeys(found))


def mails_to(dev: Dev, person: Person) -> list[Json]:
    answer = httpx2.get(dev.info["mail_url"] + "/api/messages", params={"to": person.email})
    items: list[Json] = answer.json()["items"]
    return items


def _value(client: redis.Redis, key: bytes) -> Any:
    kind = client.type(key)
    if kind == b"string":
        return client.get(key)
    if kind == b"hash":
        return client.hgetall(key)
    if kind == b"set":
        return client.smembers(key)
    if kind == b"zset":
        return client.zrange(key, 0, -1)
    if kind == b"stream":
        return client.xrange(key)
    return client.lrange(key, 0, -1)
