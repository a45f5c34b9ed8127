"""Starts a real sink process, and finds in it what the tests sent."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from infra.settings import Settings
from seathold.standins.mail.main import run
from tests.sandbox.process import eventually, free_port, healthy

NO_FAULTS = {"smtp": "ok", "slow_ms": 3_000, "sms": "ok", "hang_ms": 60_000}


@dataclass
class Sink:
    """A running sink and the calls the tests make on it."""

    url: str
    smtp_port: int
    http: httpx2.Client

    def settings(self, settings: Settings) -> Settings:
        """``settings`` with the sink as mail server and SMS provider."""
        mine = {"smtp_host": "127.0.0.1", "smtp_port": self.smtp_port}
        return settings.model_copy(update={**mine, "sms_url": f"{self.url}/api/sms"})

    def configure(self, **faults: Any) -> None:
        answer = self.http.post("/test/config", json=faults)
        assert answer.status_code == 200, answer.text

    def messages(self, to: str) -> list[dict[str, Any]]:
        """Those to one address or number, oldest first."""
        items = self.http.get("/api/messages", params={"to": to}).json()["items"]
        return list(items)

    def sms(self, to: str, text: str, reference: str, key: str | None) -> httpx2.Response:
        headers = {"Idempotency-Key": key} if key else {}
        body = {"to": to, "text": text, "reference": reference}
        return self.http.post("/api/sms", json=body, headers=headers)


@contextmanager
def running_sink(db_path: Path) -> Iterator[Sink]:
    """A sink process on free ports, ready when yielded and ended afterwards."""
    port, smtp_port = free_port(), free_port()
    process = multiprocessing.get_context("spawn").Process(
        target=run, args=("127.0.0.1", port, smtp_port, db_path), daemon=True
    )
    process.start()
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx2.Client(base_url=url, trust_env=False, timeout=20) as http:
            eventually(lambda: process.is_alive() and healthy(http), seconds=30)
            yield Sink(url, smtp_port, http)
    finally:
        process.terminate()
        process.join(10)
        assert process.exitcode is not None, "the sink did not end on SIGTERM"
