"""Where partners' webhooks may go, and the ring that seals their secrets: refused at the start."""

from __future__ import annotations

import base64
import os

import pytest

from domain.errors import Invalid
from domain.outbound import target_of
from infra.settings import Settings
from tests.helpers.production import GOOD, TEMPORAL

RING = "own:" + base64.b64encode(os.urandom(32)).decode()
PRODUCTION = {**GOOD, "partner_secret_keys": RING}


@pytest.fixture(autouse=True)
def _temporal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TEMPORAL.items():
        monkeypatch.setenv(name, value)


def settings(**changes: object) -> Settings:
    return Settings(_env_file=None, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"partner_secret_keys": settings().partner_secret_keys}, "SEATHOLD_PARTNER_SECRET_KEYS"),
        ({"partner_private_networks": "10.0.0.0/8"}, "SEATHOLD_PARTNER_PRIVATE_NETWORKS"),
    ],
)
def test_production_refuses_what_is_for_development(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        settings(**{**PRODUCTION, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"partner_secret_keys": "x"},
        {"partner_private_networks": "10.0.0.0/40"},
        {"partner_private_networks": "here"},
        {**PRODUCTION, "partner_ports": "https"},
    ],
)
def test_what_makes_no_sense_is_refused_and_not_repeated(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="Settings") as refused:
        settings(**changes)
    assert RING not in str(refused.value)


def test_production_sends_to_the_public_by_https_alone() -> None:
    policy = settings(**PRODUCTION).partner_policy
    assert target_of("https://partner.example/", policy).port == 443
    for url in ("http://partner.example/", "https://127.0.0.1/", "https://partner.example:22/"):
        with pytest.raises(Invalid):
            target_of(url, policy)


def test_development_sends_to_this_machine_and_no_other_of_the_network() -> None:
    policy = settings().partner_policy
    assert target_of("http://127.0.0.1:5000/", policy).port == 5000
    with pytest.raises(Invalid):
        target_of("http://192.168.0.1/", policy)
    with pytest.raises(Invalid):
        target_of("http://127.0.0.1/", settings(partner_private_networks="").partner_policy)
