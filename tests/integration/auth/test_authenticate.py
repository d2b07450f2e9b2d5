"""From headers to a principal."""

import asyncio
from typing import LiteralString
from uuid import uuid4

import pytest
from psycopg.rows import TupleRow

from copilot_common.auth.api_keys import new_key
from copilot_common.auth.authority import ROLE_SCOPES, ROUTES, Access, require
from copilot_common.base.errors import Forbidden, Unauthenticated
from copilot_common.base.ids import UserId
from copilot_common.platform.db import Params
from copilot_common.tenancy import Principal, Role
from integration.tenants.world import World


async def refused(world: World, authorization: str | None, api_key: str | None = None) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await world.authenticator.authenticate(authorization=authorization, api_key=api_key)
    return caught.value.message


@pytest.mark.parametrize("role", ["owner", "admin", "member", "viewer"])
async def test_a_user_has_the_scopes_of_their_role(world: World, role: Role) -> None:
    await world.add_member("bob", role)
    principal = await world.principal("bob")
    assert (principal.kind, principal.role, principal.scopes) == ("user", role, ROLE_SCOPES[role])
    assert principal.credential_id == principal.user_id


async def test_an_api_key_is_taken_as_a_bearer_token_too(world: World) -> None:
    key = world.acme.api_key or ""
    assert await world.by_token(key) == await world.by_key(key)


async def test_the_schemes_name_is_not_case_sensitive(world: World) -> None:
    token = (await world.log_in("ann")).access_token
    for scheme in ("bearer", "BEARER"):
        assert await world.authenticator.authenticate(authorization=f"{scheme} {token}", api_key=None)


async def test_two_credentials_at_once_are_refused(world: World) -> None:
    token = (await world.log_in("ann")).access_token
    assert "either" in await refused(world, f"Bearer {token}", world.acme.api_key)


async def test_every_refused_credential_reads_the_same(world: World) -> None:
    token = (await world.log_in("ann")).access_token
    stranger = world.access_tokens.issue(UserId(uuid4()), world.tenant_id, uuid4())
    answers = {
        await refused(world, None),
        await refused(world, ""),
        await refused(world, "Bearer"),
        await refused(world, "Bearer  "),
        await refused(world, f"Basic {token}"),
        await refused(world, token),
        await refused(world, f"Bearer {token}x"),
        await refused(world, f"Bearer {stranger}"),
        await refused(world, f"Bearer {new_key('live').secret}"),
        await refused(world, None, new_key("live").secret),
        await refused(world, None, new_key("platform").secret),
        await refused(world, None, token),
        await refused(world, None, ""),
        await refused(world, None, "\x00"),
        await refused(world, None, "é" * 52),
    }
    assert len(answers) == 1


async def test_a_token_for_another_tenant_needs_a_membership_there(world: World) -> None:
    other = await world.other_tenant()
    await refused(world, f"Bearer {world.access_tokens.issue(world.acme.user_id, other.tenant_id, uuid4())}")


async def test_an_inactive_user_is_refused_with_every_credential(world: World) -> None:
    token = (await world.log_in("ann")).access_token
    await world.as_owner("UPDATE users SET is_active = false")
    await refused(world, f"Bearer {token}")
    await refused(world, None, world.acme.api_key)


async def test_the_use_of_a_key_is_noted(world: World) -> None:
    await world.by_key(world.acme.api_key or "")
    assert await world.as_owner("SELECT count(*) FROM api_keys WHERE last_used_at IS NOT NULL") == [(1,)]


@pytest.fixture
def looked_up(world: World, monkeypatch: pytest.MonkeyPatch) -> list[LiteralString]:
    """The statements that the database is asked outside of transactions."""
    queries: list[LiteralString] = []
    fetch_row, fetch_rows = world.database.fetch_row, world.database.fetch_rows

    async def one(query: LiteralString, params: Params) -> TupleRow | None:
        queries.append(query)
        return await fetch_row(query, params)

    async def several(query: LiteralString, params: Params) -> list[TupleRow]:
        queries.append(query)
        return await fetch_rows(query, params)

    monkeypatch.setattr(world.database, "fetch_row", one)
    monkeypatch.setattr(world.database, "fetch_rows", several)
    return queries


async def burst(world: World, credentials: list[str]) -> list[Principal | BaseException]:
    return await asyncio.gather(
        *(world.authenticator.authenticate(authorization=f"Bearer {one}", api_key=None) for one in credentials),
        return_exceptions=True,
    )


async def test_a_burst_is_looked_up_by_one_statement_of_each_kind_and_each_request_gets_its_own(
    world: World, looked_up: list[LiteralString]
) -> None:
    await world.add_member("bob", "viewer")
    bob, ann = (await world.log_in("bob")).access_token, (await world.log_in("ann")).access_token
    key, wrong = world.acme.api_key or "", new_key("live").secret
    looked_up.clear()
    found = await burst(world, [ann, key, wrong, bob] * 3)
    assert len(looked_up) == 2
    for user, by_key, refusal, other in (found[first : first + 4] for first in range(0, 12, 4)):
        assert isinstance(user, Principal)
        assert isinstance(by_key, Principal)
        assert isinstance(other, Principal)
        assert (user.kind, by_key.kind, other.kind) == ("user", "api_key", "user")
        assert (user.role, other.role) == ("owner", "viewer")
        assert user.user_id == by_key.user_id != other.user_id
        assert isinstance(refusal, Unauthenticated)


async def test_a_burst_with_one_credential_is_looked_up_once(world: World, looked_up: list[LiteralString]) -> None:
    ann, key, wrong = (await world.log_in("ann")).access_token, world.acme.api_key or "", new_key("live").secret
    for credential, kind in ((ann, "user"), (key, "api_key"), (wrong, None)):
        looked_up.clear()
        found = await burst(world, [credential] * 3)
        assert len(looked_up) == 1
        assert [one.kind if isinstance(one, Principal) else None for one in found] == [kind] * 3


@pytest.mark.parametrize("role", ["admin", "member", "viewer"])
async def test_what_only_owners_may_nobody_else_may(world: World, role: Role) -> None:
    await world.add_member("bob", role)
    with pytest.raises(Forbidden):
        require(await world.principal("bob"), ROUTES["PATCH", "/api/v1/tenants/current"])
    require(await world.owner(), ROUTES["PATCH", "/api/v1/tenants/current"])


async def test_a_tenants_principal_never_reaches_the_platform(world: World) -> None:
    for principal in (await world.owner(), await world.by_key(world.acme.api_key or "")):
        with pytest.raises(Forbidden):
            require(principal, Access("platform"))
