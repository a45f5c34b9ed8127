"""Where mailed links lead: where the deployment says, else to the API's own address."""

from __future__ import annotations

import pytest

from infra.settings import Settings


@pytest.mark.parametrize(
    ("given", "pages"),
    [
        ({}, "http://127.0.0.1:8081/account"),
        ({"public_url": "http://127.0.0.1:4711"}, "http://127.0.0.1:4711/account"),
        ({"public_url": "http://cinema.test/"}, "http://cinema.test/account"),
        ({"public_url": "http://cinema.test", "account_url": ""}, "http://cinema.test/account"),
        (
            {"public_url": "http://cinema.test", "account_url": "http://shop.test/me"},
            "http://shop.test/me",
        ),
    ],
)
def test_links_follow_the_public_address_unless_they_are_told(
    given: dict[str, str], pages: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PUBLIC_URL", "ACCOUNT_URL"):
        monkeypatch.delenv(f"SEATHOLD_{name}", raising=False)
    assert Settings(_env_file=None, **given).account_pages == pages  # type: ignore[arg-type]
