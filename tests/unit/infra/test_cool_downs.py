"""The cool-downs of a deployment: on where rate limits are, unless they are set by name."""

from __future__ import annotations

import pytest

from infra.settings import COOL_DOWN_HOLDS, Settings


@pytest.mark.parametrize(
    ("given", "lapsed", "cancelled"),
    [
        ({}, COOL_DOWN_HOLDS, COOL_DOWN_HOLDS),
        ({"rate_limit_per_minute": 0}, 0, 0),
        ({"rate_limit_per_minute": 0, "max_lapsed_holds": 4}, 4, 0),
        ({"max_lapsed_holds": 0}, 0, COOL_DOWN_HOLDS),
        ({"max_cancelled_holds_per_show": 0}, COOL_DOWN_HOLDS, 0),
    ],
)
def test_where_limits_are_off_so_are_cool_downs(
    given: dict[str, int], lapsed: int, cancelled: int
) -> None:
    limits = Settings(_env_file=None, **given).hold_limits  # type: ignore[arg-type]
    assert (limits.max_lapsed_holds, limits.max_cancelled_holds_per_show) == (lapsed, cancelled)


def test_every_limit_of_a_hold_is_the_deployments_own() -> None:
    """Some have defaults of their own, for work that was written down before there were any."""
    given = {"cool_down_seconds": 71, "payment_settling_grace_seconds": 72}
    limits = Settings(_env_file=None, **given).hold_limits  # type: ignore[arg-type]
    assert (limits.cool_down_seconds, limits.settling_grace_seconds) == (71, 72)
