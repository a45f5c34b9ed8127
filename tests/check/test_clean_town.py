"""A town in which everything is as it must be, and what the report says of parts nobody named."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from domain import upcasters
from domain.events import Event, EventType, event_hash
from domain.upcasters import newest
from seathold import check
from seathold.check import main
from seathold.checker import versions
from seathold.checker.events import digest
from seathold.checker.inputs import Inputs, NoDatabase
from seathold.checker.report import Verdict
from seathold.checker.run import ELSEWHERE
from seathold.checker.streams import Fact
from seathold.checker.transitions import TRANSITIONS
from tests.check.builders import id_of
from tests.check.conftest import Checker, Witnesses, database

ROOT = Path(__file__).parents[2]
# Nobody projects in this town: see test_projection_breaches.py.
OUTSIDE = {"L2", "E10", "P1", "P2"} | {one.id for one in ELSEWHERE}
LEDGER = {"M1", "M2", "M3", "M4", "M8", "E11", "D4"}
MAIL = {"N2", "N3", "N4"}


def test_clean_town_breaches_nothing(checker: Checker) -> None:
    checker.run()
    assert checker.exit_code == 0
    assert checker.with_status("not run") == OUTSIDE
    assert len(checker.with_status("ok")) == len(checker.verdicts) - len(OUTSIDE)


def test_what_no_look_at_rows_can_judge_is_named_with_where_it_is(checker: Checker) -> None:
    checker.run()
    told = {id_: checker.verdicts[id_] for id_ in ("L3", "L4", "E3", "E9")}
    assert {one["status"] for one in told.values()} == {"not run"}
    reasons = " ".join(one["reason"] for one in told.values())
    for place in re.findall(r"(?:tests|bench)/[\w/.]*\w|bench(?=/)", reasons):
        assert (ROOT / place).exists(), place


def test_each_verdict_is_told_as_soon_as_it_is_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def slow(_: Inputs) -> Iterator[Verdict]:
        yield Verdict("S1", "The first.")
        assert capsys.readouterr().out == "S1   ok       The first.\n"
        yield Verdict("S2", "The second.", breaches=1, examples=["A1"])
        raise NoDatabase("It went away.")

    monkeypatch.setattr(check, "run", slow)
    assert main(environ={"SEATHOLD_DATABASE_URL": "postgresql://127.0.0.1/x"}) == 2
    told = capsys.readouterr()
    assert told.out == "S2   BREACH   The second.\n       - A1\n"
    assert told.err == "It went away.\n"


def test_the_clean_town_does_not_age(db: psycopg.Connection[tuple[object, ...]]) -> None:
    """It is built once and copied by every test: its holds must outlast the slowest of runs."""
    [[count, soonest]] = db.execute(
        "SELECT count(*), min(least(hold_expires_at, closing_since)) - now() > interval '1 day'"
        " FROM bookings WHERE state IN ('held', 'expiring', 'cancelling')"
    ).fetchall()
    assert (count, soonest) == (3, True)


def test_without_witnesses_their_part_is_not_run_and_never_green(checker: Checker) -> None:
    checker.run(SEATHOLD_SANDBOX_URL="", SEATHOLD_MAIL_URL="")
    assert checker.exit_code == 0
    assert checker.with_status("not run") == OUTSIDE | LEDGER | MAIL


def test_a_named_witness_that_is_away_is_no_success(checker: Checker) -> None:
    nobody = "127.0.0.1:9"
    checker.run(
        SEATHOLD_SANDBOX_URL=f"http://{nobody}",
        SEATHOLD_MAIL_URL=f"http://{nobody}",
        SEATHOLD_REDIS_URL=f"redis://{nobody}/0",
        TEMPORAL_ADDRESS=nobody,
    )
    assert checker.exit_code == 2
    assert checker.with_status("not run") == OUTSIDE | LEDGER | MAIL


def test_report_names_each_invariant_and_shows_five_examples(
    checker: Checker,
    db: psycopg.Connection[tuple[object, ...]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    db.execute("UPDATE events SET payload = payload || '{\"forged\": 1}'")
    assert main(environ=checker.environ) == 1
    lines = capsys.readouterr().out.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("E7 "))
    assert "BREACH" in lines[start]
    assert "nothing was rewritten" in lines[start]
    assert [line.startswith("       - ") for line in lines[start + 1 : start + 7]] == [True] * 5 + [
        False
    ]


def test_addresses_come_from_the_run_directory(
    database_url: str, witnesses: Witnesses, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"database_url": database_url, "sandbox_url": witnesses.url, "mail_url": witnesses.url}
    (tmp_path / "dev.json").write_text(json.dumps({**told, "api_url": "http://127.0.0.1:1"}))
    assert main(run_dir=tmp_path, as_json=True, environ={}) == 0
    told = json.loads(capsys.readouterr().out)
    assert {one["id"] for one in told["invariants"] if one["status"] == "not run"} == OUTSIDE


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({}, "No stack is running there"),
        ({"SEATHOLD_DATABASE_URL": "postgresql://a:b@127.0.0.1:9/c"}, "does not answer"),
    ],
)
def test_without_a_database_there_is_nothing_to_check(
    environ: dict[str, str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(environ=environ) == 2
    assert says in capsys.readouterr().err


def test_a_database_without_tables_is_named(
    server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with database(server) as empty:
        assert main(environ={"SEATHOLD_DATABASE_URL": empty}) == 2
    assert "not migrated" in capsys.readouterr().err


def test_table_of_transitions_knows_every_event() -> None:
    assert set(TRANSITIONS) == {str(event_type) for event_type in EventType}


def test_own_hash_is_the_one_that_is_written() -> None:
    payload = {"b": [1, "é"], "a": {"z": None, "y": True}}
    id_, before = id_of("any"), b"\x01\x02"
    event = Event(EventType.SEAT_LOCKED, payload)
    written = event_hash(before, id_, 7, event, 2, "ada", "req-1")
    by = ("ada", "req-1")
    fact = Fact(id_, 7, "SeatLocked", 2, payload, *by, 3, before, b"", datetime.now(UTC))
    assert digest(fact) == written


def test_own_way_from_version_to_version_is_the_readers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert versions.NEWEST == {name: newest(name) for name, _ in upcasters.UPCASTERS}
    monkeypatch.setitem(versions.NEWEST, "SeatReleased", 2)
    monkeypatch.setitem(versions.NEXT, ("SeatReleased", 1), split_labels)
    monkeypatch.setitem(upcasters.UPCASTERS, ("SeatReleased", 1), split_labels)
    for version, payload in ((1, {"seats": "A1,A2"}), (2, {"labels": ["A1", "A2"]})):
        told = ("SeatReleased", version, payload, "ada", None, 1, b"", b"", datetime.now(UTC))
        read = versions.newest(Fact(id_of("any"), 1, *told))
        assert read == upcasters.upcast("SeatReleased", version, payload)
        assert read == {"labels": ["A1", "A2"]}


def test_a_booking_whose_events_are_of_an_older_version_checks_out(
    checker: Checker,
    db: psycopg.Connection[tuple[object, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rows stay as they were written; only the reading of them moves on."""
    monkeypatch.setitem(versions.NEWEST, "SeatReleased", 2)
    monkeypatch.setitem(versions.NEXT, ("SeatReleased", 1), lambda told: told)
    checker.run()
    assert checker.exit_code == 0


def split_labels(told: dict[str, Any]) -> dict[str, Any]:
    return {"labels": told["seats"].split(",")} if "seats" in told else told
