"""Schemathesis on the whole API of a whole stack: examples, edges, fuzzing, sequences of calls.

Its first two phases make some 33 cases an operation whatever they are told, so that with 20 of
the fuzzing there are more than 50 in all. ``make campaign-fuzz`` makes 1,000 by fuzzing alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from tests.stack.command import CLEAN, ROOT, Dev, running

EXAMPLES = "SEATHOLD_TEST_FUZZ_EXAMPLES"
REPORT = "SEATHOLD_TEST_FUZZ_REPORT"
DEFAULT_EXAMPLES = 20
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
    "errors_are_problems",
)
SETTINGS = {
    "SEATHOLD_RATE_LIMIT_PER_MINUTE": "0",
    "SEATHOLD_HOLD_SECONDS": "5",
    "SEATHOLD_HOLD_MAX_SECONDS": "10",
    "SEATHOLD_MAX_LIVE_HOLDS_PER_USER": "1000",
    "SEATHOLD_MAX_SEATS_PER_USER_SHOW": "1000",
    "SEATHOLD_PAYMENT_GRACE_SECONDS": "2",
}
CONFIG = """
[generation]
max-examples = {examples}
no-shrink = true

[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 501, 503]

[phases.stateful]
max-steps = 6
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running(tmp_path_factory.mktemp("fuzz") / "run", "--ports", "auto", env=SETTINGS) as dev:
        yield dev


def examples() -> int:
    return int(os.environ.get(EXAMPLES, DEFAULT_EXAMPLES))


def known_ids(dev: Dev) -> dict[str, list[str]]:
    """Ids of the demo catalogue and of what the owner himself has."""
    with httpx2.Client(base_url=dev.info["api_url"], timeout=30) as http:
        admin = dev.info["admin"]
        session = http.post("/api/auth/login", json=admin).raise_for_status().json()
        headers = {"Authorization": f"Bearer {session['access_token']}"}
        movies = [one["id"] for one in http.get("/api/movies").json()["items"][:5]]
        shows = [
            show["id"]
            for movie in movies
            for at in http.get(f"/api/shows/{movie}").json()["theatres"]
            for show in at["shows"]
        ][:5]
        bookings = []
        for show in shows[:3]:
            body = {"show_id": show, "best_available": {"count": 2}}
            answer = http.post("/api/booking/reserve", json=body, headers=headers)
            bookings.append(answer.raise_for_status().json()["id"])
        hook = {"url": "http://127.0.0.1:9/", "event_types": ["show.cancelled"]}
        endpoint = http.post("/api/partner/endpoints", json=hook, headers=headers).json()["id"]
        delivery = http.post(f"/api/partner/endpoints/{endpoint}/test", headers=headers).json()
    return {
        "movie_id": movies,
        "show_id": shows,
        "booking_id": bookings,
        "user_id": [session["user"]["id"]],
        "endpoint_id": [endpoint],
        "delivery_id": [delivery["id"]],
        "provider": ["sandbox"],
    }


def test_the_whole_api_keeps_its_word_whatever_it_is_asked(stack: Dev, tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG.format(examples=examples()))
    admin = stack.info["admin"]
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "--config-file",
        str(config),
        "run",
        f"{stack.info['api_url']}/openapi.json",
        "--checks",
        ",".join(CHECKS),
        "--phases",
        "examples,coverage,fuzzing,stateful",
        # What never ends has tests of its own.
        "--exclude-path-regex=/stream$",
        "--continue-on-failure",
        "--max-failures=30",
        # Its threads meet in the parser of Python 3.11, and one core is all they have anyway.
        "--workers=1",
        "--request-timeout=40",
        "--warnings=off",
        "--suppress-health-check=all",
        f"--seed={os.environ.get('SEATHOLD_TEST_FUZZ_SEED', '1')}",
    ]
    environ = {
        **CLEAN,
        "PYTHONPATH": str(ROOT),
        "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks",
        "FUZZ_URL": stack.info["api_url"],
        "FUZZ_EMAIL": admin["email"],
        "FUZZ_PASSWORD": admin["password"],
        "FUZZ_KNOWN": orjson.dumps(known_ids(stack)).decode(),
    }
    report = Path(os.environ.get(REPORT, tmp_path / "report.txt"))
    with report.open("w") as told:
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=subprocess.STDOUT,
            check=False,
        )
    assert done.returncode == 0, report.read_text()[-20_000:]
