"""Endpoints of an account that may not hear what partners are told: they hear nothing more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest

from api.middleware.guard import admitted
from api.policy import POLICY
from domain.errors import Forbidden
from domain.user import Role
from infra.postgres.api_key import PostgresApiKeys
from infra.postgres.profile import PostgresProfiles
from infra.postgres.staff import PostgresStaff
from infra.tokens import Principal
from services.partner import Wish
from services.staff import Act
from tests.partner.town import Partner

Ends = Callable[[Partner], Awaitable[object]]
KEY = """
INSERT INTO api_keys (id, account_id, name, prefix, secret_hash, scopes, per_minute)
VALUES (:id, :account_id, 'Machines', :prefix, '', CAST(:scopes AS text[]), 600)
"""


def act() -> Act:
    return Act(uuid4(), "It is over.", None)


async def give_role(partner: Partner, role: Role) -> None:
    await partner.change(
        "UPDATE users SET role = :role WHERE id = :id", role=role.value, id=partner.owner.id
    )


async def give_key(partner: Partner, *scopes: str) -> None:
    """The account is a partner's, and has one key."""
    await give_role(partner, Role.USER)
    await partner.change("DELETE FROM api_keys WHERE account_id = :id", id=partner.owner.id)
    await partner.change(
        KEY,
        id=uuid4(),
        account_id=partner.owner.id,
        prefix=uuid4().hex[:12],
        scopes=list(scopes),
    )


async def block(partner: Partner) -> object:
    return await PostgresStaff(partner.database).change(partner.owner.id, act(), blocked=True)


async def take_the_role(partner: Partner) -> object:
    return await PostgresStaff(partner.database).change(partner.owner.id, act(), role=Role.AUDITOR)


async def revoke(partner: Partner) -> object:
    await give_key(partner, "events:read")
    await partner.tell()
    [key] = await partner.rows(
        "SELECT id FROM api_keys WHERE account_id = :id", id=partner.owner.id
    )
    return await PostgresApiKeys(partner.database).revoke(key.id, act())


async def let_the_key_run_out(partner: Partner) -> None:
    await give_key(partner, "events:read")
    await partner.tell()
    await partner.change(
        "UPDATE api_keys SET expires_at = now() WHERE account_id = :id", id=partner.owner.id
    )


@pytest.mark.parametrize("ends", [block, take_the_role, revoke, let_the_key_run_out])
async def test_who_may_not_hear_any_more_hears_nothing_more(partner: Partner, ends: Ends) -> None:
    endpoint, _ = await partner.listen("former")
    await partner.tell()
    await ends(partner)
    heard = len(partner.receiver.at("former"))
    assert heard >= 1
    await partner.tell()
    assert len(partner.receiver.at("former")) == heard
    row = await partner.endpoint(endpoint)
    assert (row.state, row.disabled_reason) == ("disabled", "no_access")
    [case] = await partner.rows(
        "SELECT summary FROM cases WHERE dedupe LIKE :of", of=f"partner_endpoint:{endpoint}:%"
    )
    assert "nor a key" in case.summary


@pytest.mark.parametrize("ends", [block, take_the_role])
async def test_what_was_waiting_then_is_not_sent(partner: Partner, ends: Ends) -> None:
    """The feed may be a moment late: each try asks for itself."""
    endpoint, _ = await partner.listen("waiting")
    await partner.happens()
    await partner.catch_up()
    await ends(partner)
    await partner.deliver()
    assert partner.receiver.at("waiting") == []
    await partner.catch_up()
    [row] = await partner.deliveries(endpoint)
    assert (row.state, row.reason) == ("skipped", "endpoint_disabled")


async def test_a_key_that_makes_endpoints_is_none_that_hears(partner: Partner) -> None:
    await give_key(partner, "endpoints:write")
    await partner.listen("curious")
    await partner.tell()
    assert partner.receiver.at("curious") == []


async def test_let_in_again_it_is_enabled_and_told_what_it_missed(partner: Partner) -> None:
    await give_key(partner, "events:read")
    endpoint, _ = await partner.listen("back")
    await block(partner)
    [missed] = await partner.tell()
    await PostgresStaff(partner.database).change(partner.owner.id, act(), blocked=False)
    await partner.desk.change(partner.owner, endpoint, None, Wish(enabled=True))
    [delivery] = [one for one in await partner.deliveries(endpoint) if str(missed) in one.body]
    await partner.desk.replay(partner.owner, delivery.id)
    await partner.deliver()
    assert len(partner.receiver.at("back")) == 1


async def test_of_an_erased_account_nothing_hears_that_was_made_meanwhile(
    partner: Partner,
) -> None:
    await PostgresProfiles(partner.database).erase(partner.owner.id, request_id=None)
    await partner.listen("late")
    await partner.tell()
    assert partner.receiver.at("late") == []


@pytest.mark.parametrize("role", list(Role))
async def test_those_hear_who_may_read_the_feed(partner: Partner, role: Role) -> None:
    await give_role(partner, role)
    await partner.listen("told")
    await partner.tell()
    rule = POLICY["GET /api/partner/events"]
    try:
        admitted(rule, Principal(partner.owner.id, role.value, uuid4()))
        may_read = True
    except Forbidden:
        may_read = False
    assert bool(partner.receiver.at("told")) is may_read
