"""Where partners' webhooks may go, and the ring that seals their secrets: refused at the start."""

from __future__ import annotations

import base64
import os

import pytest
from pydantic import ValidationError

from domain.errors import Invalid
from domain.outbound import target_of
from infra.settings import Settings, refusals
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
    ("name", "value"),
    [
        # Named, for each process of a parallel run makes another ring.
        pytest.param("partner_secret_keys", f"{RING},x", id="a key without a name"),
        ("partner_private_networks", "10.0.0.0/40"),
        ("partner_private_networks", "here"),
        ("partner_ports", "443,https"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_name_and_not_repeated(name: str, value: str) -> None:
    with pytest.raises(ValidationError) as refused:
        settings(**{name: value})
    assert [said.partition(":")[0] for said in refusals(refused.value)] == [
        f"SEATHOLD_{name.upper()}"
    ]
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
