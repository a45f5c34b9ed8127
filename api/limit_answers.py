"""How a limit is told to a client."""

from __future__ import annotations

from domain.errors import Unavailable
from infra.rate_limits import Standing


class Limited(Unavailable):
    """429 ``rate_limited``, with how the window stands."""

    default_code = "rate_limited"

    def __init__(self, standing: Standing) -> None:
        seconds = standing.reset_seconds
        super().__init__(f"Too many requests; try again in {seconds} seconds.", retry_after=seconds)
        self.standing = standing


def fields(standing: Standing) -> dict[str, str]:
    """As draft-ietf-httpapi-ratelimit-headers-11 writes them: structured fields."""
    policy = standing.policy
    return {
        "RateLimit-Policy": f'"{policy.name}";q={policy.quota};w={policy.seconds}',
        "RateLimit": f'"{policy.name}";r={standing.remaining};t={standing.reset_seconds}',
    }
