"""A receiver whose TLS breaks after the handshake: no answer, like any other that does not come."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from domain.outbound import OutboundPolicy
from infra.outbound import Outbound, Unanswered
from infra.partner_sender import SignedSender
from infra.postgres.partner_delivery import PostgresDeliveryQueue
from infra.sealing import SealRing
from infra.settings import DEV_PARTNER_KEYS
from loops.partner_delivery import PartnerDeliveryLoop
from tests.helpers.broken_tls import broken_tls
from tests.partner.town import Partner

LOCAL = OutboundPolicy(ports=None, exempt=(ip_network("127.0.0.0/8"),))
NAME = "partner.example"


async def resolve(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with broken_tls(tmp_path, NAME) as port:
        yield port


@pytest.fixture
async def outbound(tmp_path: Path, port: int) -> AsyncIterator[Outbound]:
    trusting = ssl.create_default_context(cafile=tmp_path / "cert.pem")
    outbound = Outbound(LOCAL, resolve=resolve, ssl_context=trusting, total_seconds=5)
    yield outbound
    await outbound.aclose()


async def test_what_is_no_tls_any_more_is_no_answer(outbound: Outbound, port: int) -> None:
    with pytest.raises(Unanswered, match="TLS failed"):
        await outbound.post(f"https://{NAME}:{port}/", {}, b"{}")


async def test_its_delivery_is_logged_and_waits_like_any_other_that_failed(
    outbound: Outbound, port: int, partner: Partner
) -> None:
    """Lost, it would be tried every minute for ever, and its endpoint never count as failing."""
    endpoint, _ = await partner.listen("any")
    await partner.change(
        "UPDATE partner_endpoints SET url = :url WHERE id = :id",
        id=endpoint,
        url=f"https://{NAME}:{port}/",
    )
    sender = SignedSender(SealRing(DEV_PARTNER_KEYS), outbound)
    loop = PartnerDeliveryLoop(PostgresDeliveryQueue(partner.database), sender)
    await replace(partner, loop=loop).tell()
    [row] = await partner.deliveries(endpoint)
    assert (row.state, row.sending, row.reason[:10]) == ("pending", False, "TLS failed")
    assert (await partner.endpoint(endpoint)).failing_since is not None
