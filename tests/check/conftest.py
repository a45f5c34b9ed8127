"""A database of its own for each check, copied from one clean town, and witnesses to go with it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from pydantic import SecretStr

from infra.postgres import migrate
from infra.settings import Settings
from seathold.check import main
from tests.check import town


@contextmanager
def database(server: str, template: str = "template1") -> Iterator[str]:
    """The URL of a copy of ``template`` that lives as long as the block."""
    name = f"check_{uuid4().hex[:12]}"
    copy = SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(template))
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(copy)
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def settings_for(settings: Settings, url: str) -> Settings:
    own = settings.model_copy(update={"database_url": SecretStr(url)})
    own.__dict__.pop("sqlalchemy_url", None)  # a copy brings along what was cached
    return own


@pytest.fixture(scope="session")
def server(superuser_url: str) -> str:
    """A URL whose role may create databases."""
    return superuser_url


@pytest.fixture(scope="session")
def clean_town(settings: Settings, server: str) -> Iterator[str]:
    """The name of a migrated database that holds the town."""
    with database(server) as url:
        migrate.upgrade(settings_for(settings, url))
        with psycopg.connect(url) as db:
            town.build(db)
        yield urlsplit(url).path.removeprefix("/")


@pytest.fixture
def database_url(server: str, clean_town: str) -> Iterator[str]:
    """A copy of the town that a test may spoil."""
    with database(server, clean_town) as url:
        yield url


@pytest.fixture
def db(database_url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """The spoiler's: no trigger stops it."""
    unguarded = "-c session_replication_role=replica"
    with psycopg.connect(database_url, autocommit=True, options=unguarded) as connection:
        yield connection


class Witnesses:
    """A provider's ledger and a mail sink that say what the test lets them say."""

    def __init__(self) -> None:
        self.ledger = town.ledger()
        self.mails = town.mails()
        witnesses = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                told = {
                    "/test/ledger": witnesses.ledger,
                    "/api/messages": {"items": witnesses.mails},
                }[self.path]
                body = json.dumps(told).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def witnesses() -> Iterator[Witnesses]:
    said = Witnesses()
    thread = threading.Thread(target=said.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield said
    said.server.shutdown()
    thread.join()
    said.server.server_close()


@dataclass
class Checker:
    """Runs ``seathold check`` on the test's town and reads its report."""

    capsys: pytest.CaptureFixture[str]
    environ: dict[str, str]
    exit_code: int = -1
    verdicts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def run(self, **environ: str) -> None:
        self.capsys.readouterr()
        self.exit_code = main(as_json=True, environ={**self.environ, **environ})
        told = json.loads(self.capsys.readouterr().out)["invariants"]
        self.verdicts = {verdict["id"]: verdict for verdict in told}

    def with_status(self, status: str) -> set[str]:
        return {id_ for id_, one in self.verdicts.items() if one["status"] == status}


@pytest.fixture
def checker(database_url: str, witnesses: Witnesses, capsys: pytest.CaptureFixture[str]) -> Checker:
    return Checker(
        capsys,
        {
            "SEATHOLD_DATABASE_URL": database_url,
            "SEATHOLD_SANDBOX_URL": witnesses.url,
            "SEATHOLD_MAIL_URL": witnesses.url,
            "SEATHOLD_CHECK_SETTLE_SECONDS": "0.3",
        },
    )
