"""Starts real sandbox processes and a real receiver of webhooks for the tests."""

from __future__ import annotations

import itertools
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import socket
from threading import Thread
from typing import Any, TypeVar

import httpx2

from seathold.stack import ports
from seathold.standins.sandbox.main import run

SECRET = "whsec_dGVzdC1zZWNyZXQtb2YtdGhlLXNhbmRib3gtdGVzdHM="
QUICK_BACKOFF = (0.05, 0.1, 0.2, 0.2)
NO_FAULTS = dict.fromkeys(
    (
        "webhook_url",
        "drop_rate",
        "latency_ms",
        "error_rate",
        "fail_after_effect",
        "hang_ms",
        "respond",
        "refund_outcome",
    )
)

_HELD: list[socket] = []

Value = TypeVar("Value")


def eventually(look: Callable[[], Value], seconds: float = 10) -> Value:
    """What ``look`` returns once that is true; fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"still {seen!r} after {seconds} s"
        time.sleep(0.01)
    return seen


@dataclass
class Sandbox:
    """A running sandbox and the calls the tests make on it."""

    url: str
    http: httpx2.Client
    process: Any
    _keys: Iterator[int] = field(default_factory=itertools.count)

    def post(self, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(path, json=body if body is not None else {}, headers=named)

    def get(self, path: str) -> httpx2.Response:
        return self.http.get(path)

    def wish(self, **changes: Any) -> dict[str, Any]:
        """The body of a new session."""
        return {
            "amount": 2400,
            "currency": "EUR",
            "reference": f"booking-{next(self._keys)}",
            "return_url": "http://shop.test/back",
            "expires_at": soon(600),
            "mode": "capture",
            **changes,
        }

    def session(self, **changes: Any) -> dict[str, Any]:
        """A new session."""
        answer = self.post("/v1/sessions", self.wish(**changes))
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def look(self, session: dict[str, Any]) -> dict[str, Any]:
        """The session as it is now."""
        return dict(self.get(f"/v1/sessions/{session['id']}").json())

    def try_pay(
        self, session: dict[str, Any], outcome: str = "captured", **act: Any
    ) -> httpx2.Response:
        return self.post(f"/test/sessions/{session['id']}/pay", {"outcome": outcome, **act})

    def pay(self, session: dict[str, Any], outcome: str = "captured", **act: Any) -> str:
        """Pay as a script; the payment's id."""
        answer = self.try_pay(session, outcome, **act)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["payment_id"])

    def payment(self, payment_id: str) -> dict[str, Any]:
        return dict(self.get(f"/v1/payments/{payment_id}").json())

    def refund(self, payment_id: str, amount: int, **headers: str) -> httpx2.Response:
        return self.post("/v1/refunds", {"payment_id": payment_id, "amount": amount}, **headers)

    def dispute(self, payment_id: str, outcome: str = "opened", **act: Any) -> dict[str, Any]:
        """The buyer's bank calls the money back; the payment as it is then."""
        answer = self.post(f"/test/payments/{payment_id}/dispute", {"outcome": outcome, **act})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def fail_refund(self, refund_id: str) -> None:
        """The buyer's bank sends it back."""
        answer = self.post(f"/test/refunds/{refund_id}/settle", {"outcome": "failed"})
        assert answer.status_code == 200, answer.text

    def events(self, session: dict[str, Any]) -> list[dict[str, Any]]:
        """What was ever announced about the session, its payments and refunds."""
        events = self.get("/test/ledger").json()["events"]
        return [event for event in events if event["data"]["reference"] == session["reference"]]

    def event_types(self, session: dict[str, Any]) -> list[str]:
        return [event["type"] for event in self.events(session)]

    def configure(self, **faults: Any) -> None:
        answer = self.post("/test/config", faults)
        assert answer.status_code == 200, answer.text


@dataclass
class Receiver:
    """A server that webhooks are sent to. ``scripts`` says what an event is answered with, attempt
    by attempt; what it does not say is 200."""

    url: str
    scripts: dict[str, list[int]] = field(default_factory=dict)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]


def soon(seconds: float) -> str:
    """An RFC 3339 time so far ahead."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def free_port() -> int:
    """A port that only servers of the tests can be on, until this process ends."""
    held = ports.reserve(0, "auto", set())
    _HELD.append(held)
    return ports.port_of(held)


@contextmanager
def running_sandbox(db_path: Path, webhook_url: str = "") -> Iterator[Sandbox]:
    """A sandbox process on a free port, ready when yielded and ended afterwards."""
    port = free_port()
    process = multiprocessing.get_context("spawn").Process(
        target=run,
        args=("127.0.0.1", port, db_path, webhook_url, SECRET),
        kwargs={"backoff_seconds": QUICK_BACKOFF},
        daemon=True,
    )
    process.start()
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx2.Client(base_url=url, trust_env=False, timeout=20) as http:
            eventually(lambda: process.is_alive() and healthy(http), seconds=30)
            yield Sandbox(url, http, process)
    finally:
        process.terminate()
        process.join(10)
        assert process.exitcode is not None, "the sandbox did not end on SIGTERM"


def healthy(http: httpx2.Client) -> bool:
    try:
        return http.get("/healthz").status_code == 200
    except httpx2.TransportError:
        return False


@contextmanager
def running_receiver(port: int = 0) -> Iterator[Receiver]:
    """A receiver of webhooks on ``port`` or a free one."""

    class Hook(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            script = receiver.scripts.get(self.headers["webhook-id"])
            status = script.pop(0) if script else 200
            # Answered before it is noted: who sees it noted may at once stop this server.
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("location", receiver.url)
            self.send_header("content-length", "0")
            self.end_headers()
            receiver.got.append(({name.lower(): v for name, v in self.headers.items()}, body))

        def do_GET(self) -> None:
            """Where redirects lead; who follows one takes it for delivered."""
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Hook)
    server.daemon_threads = True
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}/hook")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
