"""Schemathesis on the whole API of a whole stack: examples, edges, fuzzing, sequences of calls.

Its first two phases make as many cases as an operation has examples and edges; fuzzing makes up
what is missing to 50. ``make campaign-fuzz`` makes 1,000 of each operation by fuzzing alone.
"""

from __future__ import annotations

import os
import re
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
LEAST_CASES = 50
# Of what has a body or a query there are some 30 edges, of what has not only a few.
MANY_EDGES, FEW_EDGES = 21, 48
STATEFUL_EXAMPLES = 60
STREAM = "/api/show/{show_id}/availability/stream"
# Take nothing that could be varied.
PLAIN = {"GET /healthz", "GET /readyz", "GET /metrics"}
CHECKS = (
    "is_counted",
    "nothing_else_is_said",
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
max-steps = 8

[phases.stateful.generation]
max-examples = {stateful}

[[operations]]
include-name = {few_edges}
generation.max-examples = {few_examples}

# What was found in answers is gone after one of these, and fuzzing would end with it.
[[operations]]
include-name = {deletes}
generation.max-examples = {few_examples}
phases.fuzzing.extra-data-sources.responses = false
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running(tmp_path_factory.mktemp("fuzz") / "run", "--ports", "auto", env=SETTINGS) as dev:
        yield dev


def config(document: dict[str, Any]) -> str:
    """Schemathesis' own, for the operations of ``document``."""
    asked = int(os.environ.get(EXAMPLES, "0"))
    few_edges = {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if not has_fields(operation)
        and (
            "{" in path or not any(one["in"] == "query" for one in operation.get("parameters", []))
        )
    }
    deletes = {name for name in few_edges if name.startswith("DELETE ")}
    return CONFIG.format(
        examples=asked or MANY_EDGES,
        few_examples=asked or FEW_EDGES,
        stateful=max(asked, STATEFUL_EXAMPLES),
        few_edges=sorted(few_edges - deletes),
        deletes=sorted(deletes),
    )


def has_fields(operation: dict[str, Any]) -> bool:
    """Whether its body has any: an empty object has hardly an edge."""
    return "requestBody" in operation and "/NoFields'" not in str(operation["requestBody"])


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


# A campaign takes as long as it takes.
@pytest.mark.timeout(0 if EXAMPLES in os.environ else 900)
def test_the_whole_api_keeps_its_word_whatever_it_is_asked(stack: Dev, tmp_path: Path) -> None:
    document = httpx2.get(f"{stack.info['api_url']}/openapi.json").json()
    settings, counted = tmp_path / "schemathesis.toml", tmp_path / "counted.json"
    settings.write_text(config(document))
    admin = stack.info["admin"]
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "--config-file",
        str(settings),
        "run",
        f"{stack.info['api_url']}/openapi.json",
        "--checks",
        ",".join(CHECKS),
        "--phases",
        "examples,coverage,fuzzing,stateful",
        # It never ends, and Schemathesis reads an answer to its end: tests/api/streams has its
        # statuses, its form and its errors.
        f"--exclude-path={STREAM}",
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
        "FUZZ_COUNTED": str(counted),
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
    told_us = report.read_text()
    assert done.returncode == 0, told_us[-20_000:]
    names = {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method in methods
        if path != STREAM
    }
    assert too_few(orjson.loads(counted.read_bytes()), names) == {}
    assert int(found_in(r"Scenarios: +(\d+)", told_us)) > 0
    # Calls made with what another call answered.
    assert int(found_in(r"API Links: +(\d+) covered", told_us)) > 0


def too_few(counted: dict[str, dict[str, int]], names: set[str]) -> dict[str, int]:
    """Operations of ``names`` with less than 50 cases outside of sequences, and how many."""
    phases = [counted.get(phase, {}) for phase in ("examples", "coverage", "fuzzing")]
    cases = {name: sum(phase.get(name, 0) for phase in phases) for name in names - PLAIN}
    return {name: count for name, count in cases.items() if count < LEAST_CASES}


def found_in(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found is not None, text[-2000:]
    return found[1]


def test_an_operation_that_is_hardly_tried_is_named() -> None:
    """The negative control: of both, one has its cases and the other none."""
    counted = {"coverage": {"GET /a": 30}, "fuzzing": {"GET /a": 20}, "stateful": {"GET /b": 99}}
    assert too_few(counted, {"GET /a", "GET /b", "GET /healthz"}) == {"GET /b": 0}
