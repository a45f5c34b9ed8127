"""A setting whose name is mistyped changes nothing, and somebody is told so."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from infra.logging import tell_misspelt
from infra.settings import misspelt

# Of ours and no settings: of the stack, the checker, the image, the tests.
OTHERS = (
    "ADMIN_EMAIL ADMIN_PASSWORD CHECK_GRACE_SECONDS CHECK_SETTLE_SECONDS MAIL_URL SEED"
    " TEMPORAL_CLI TEST_DATABASE_URL TEST_REDIS_URL VERSION"
)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("HOLD_SECNDS", "HOLD_SECONDS"),
        ("TRUSTED_PROXYS", "TRUSTED_PROXIES"),
        ("RATELIMIT_PER_MINUTE", "RATE_LIMIT_PER_MINUTE"),
        ("WEBHOOK_SECRETS", "WEBHOOK_SECRET"),
    ],
)
def test_a_slip_is_told_with_what_was_meant(
    monkeypatch: pytest.MonkeyPatch, written: str, meant: str
) -> None:
    monkeypatch.setenv(f"SEATHOLD_{written}", "1")
    with capture_logs() as lines:
        tell_misspelt()
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("setting_unknown", "warning")
    assert (line["name"], line["meant"]) == (f"SEATHOLD_{written}", f"SEATHOLD_{meant}")


def test_settings_and_the_names_of_others_are_not_slips() -> None:
    others = [f"SEATHOLD_{name}" for name in OTHERS.split()]
    known = ["SEATHOLD_HOLD_SECONDS", "seathold_hold_seconds", "HOLD_SECNDS", "TEMPORAL_ADDRESS"]
    assert misspelt([*others, *known]) == {}
