"""The house's own rules find what they are for, and the audit never looks green by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from lints.__main__ import BESIDE, BESIDE_RULES, FOLDERS, findings
from lints.audit import CLEAN, NOT_RUN, VULNERABLE, judge
from lints.rules import RULES, check

BROKEN = {
    "H1": ["if signature == told: pass", "ok = row.token_hash != asked"],
    "H2": [
        'text(f"SELECT {column} FROM users")',
        'text("SELECT " + column)',
        "text(statement)",
        "text(body.order)",
    ],
    "H3": ["log.info('login', email=body.email)", "log.warning('x', headers=request.headers)"],
    "H4": ["float(payment.amount)", "share = amount / 3"],
    "H5": ["httpx2.get(url, follow_redirects=True)", "Client(verify=False)"],
    "H6": ["x = 1\n" * 401, "def long():\n" + "    x = 1\n" * 70],
    "H7": ["session.commit()", "async def f(): await tx.session.commit()"],
}
SOUND = {
    "H1": ["hmac.compare_digest(signature, told)", "if signature == '': pass"],
    "H2": ['text("SELECT 1")', "text(COLUMNS + WHERE)", "text(STATEMENT)"],
    "H3": ["log.info('login', user_id=str(user.id))", "other.info(email=1)"],
    "H4": ["share = amount // 3", "float(seconds)"],
    "H5": ["httpx2.get(url, follow_redirects=False)"],
    "H6": ["x = 1\n" * 400, "def short():\n" + "    x = 1\n" * 69],
    "H7": ["session.rollback()", "commit()"],
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_finds_what_breaks_it_and_nothing_else(rule: str) -> None:
    for source in BROKEN[rule]:
        assert [one.rule for one in check("x.py", source)] == [rule], source
    for source in SOUND[rule]:
        assert check("x.py", source) == [], source


def test_an_excuse_names_its_rule_and_gives_a_reason() -> None:
    broken = BROKEN["H4"][0]
    assert check("x.py", f"{broken}  # house: H4 -- a rate, not a sum") == []
    assert check("x.py", f"{broken}  # house: H4 --")
    assert check("x.py", f"{broken}  # house: H1 -- another rule's")


def test_the_house_keeps_its_rules() -> None:
    assert findings(FOLDERS) == []
    assert findings(BESIDE, BESIDE_RULES) == []


def report(*packages: Mapping[str, object]) -> str:
    return json.dumps({"dependencies": packages})


VULN = {"id": "PYSEC-2019-217", "fix_versions": ["2.10.1"]}
FLAGGED = report({"name": "jinja2", "version": "2.10", "vulns": [VULN]})
FINE = {"name": "redis", "version": "8.1.0", "vulns": []}


@pytest.mark.parametrize(
    ("canary", "ours", "code", "said"),
    [
        (FLAGGED, report(FINE), CLEAN, "the canary was flagged"),
        (FLAGGED, report(FINE, {**FINE, "vulns": [VULN]}), VULNERABLE, "PYSEC-2019-217"),
        (report({"name": "jinja2", "version": "2.10", "vulns": []}), report(FINE), NOT_RUN, "run"),
        (report({"name": "jinja2", "skip_reason": "unknown"}), report(FINE), NOT_RUN, "not run"),
        ("", report(FINE), NOT_RUN, "not run"),
        (FLAGGED, "", NOT_RUN, "not run"),
        (FLAGGED, report({"name": "redis", "skip_reason": "unknown"}), NOT_RUN, "redis: unknown"),
    ],
)
def test_an_audit_that_saw_nothing_is_not_green(
    canary: str, ours: str, code: int, said: str
) -> None:
    verdict = judge(canary, ours)
    assert verdict.code == code
    assert said in " ".join(verdict.lines)
