"""Members, roles, invites and API keys of a tenant."""

import asyncio
from uuid import uuid4

import pytest

from copilot_common.base.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated
from copilot_common.tenancy import Principal, Role, Scope
from copilot_domain.pagination import PageRequest
from copilot_domain.tenants import (
    CreatedApiKey,
    Member,
    change_role,
    create_api_key,
    list_api_keys,
    list_members,
    remove_member,
    revoke_api_key,
)
from integration.tenants.world import World

FIRST_PAGE = PageRequest(limit=20)


async def set_role(world: World, principal: Principal, user_id: object, role: Role) -> Member:
    async with world.db.transaction(principal) as tx:
        return await change_role(tx, user_id, role)  # type: ignore[arg-type]


async def make_key(world: World, principal: Principal, scopes: list[Scope], days: int | None = None) -> CreatedApiKey:
    async with world.db.transaction(principal) as tx:
        return await create_api_key(tx, "a key", scopes, expires_in_days=days)


async def test_a_demoted_member_has_less_from_the_next_request_on_with_every_credential(world: World) -> None:
    bob = await world.add_member("bob", "admin")
    session = await world.log_in("bob")
    key = await make_key(world, await world.by_token(session.access_token), ["read", "write", "admin"])
    changed = await set_role(world, await world.owner(), bob, "viewer")
    assert (changed.user_id, changed.role) == (bob, "viewer")
    for principal in (await world.by_token(session.access_token), await world.by_key(key.key)):
        assert principal.scopes == {"read"}


async def test_a_removed_member_is_cut_off_at_once_with_every_credential(world: World) -> None:
    bob = await world.add_member("bob", "member")
    session = await world.log_in("bob")
    key = await make_key(world, await world.by_token(session.access_token), ["read"])
    async with world.db.transaction(await world.owner()) as tx:
        await remove_member(tx, bob)
    with pytest.raises(Unauthenticated):
        await world.by_token(session.access_token)
    with pytest.raises(Unauthenticated):
        await world.by_key(key.key)


@pytest.mark.parametrize("role", ["owner", "member"])
async def test_an_admin_touches_no_owner_and_makes_none(world: World, role: Role) -> None:
    bob = await world.add_member("bob", "admin")
    admin = await world.principal("bob")
    with pytest.raises(Forbidden):
        await set_role(world, admin, world.acme.user_id, role)
    with pytest.raises(Forbidden):
        await set_role(world, admin, bob, "owner")
    async with world.db.transaction(admin) as tx:
        with pytest.raises(Forbidden):
            await remove_member(tx, world.acme.user_id)
        with pytest.raises(Forbidden):
            await world.services().invites.create(tx, "eve@acme.example", "owner")


async def test_the_last_owner_stays(world: World) -> None:
    owner = await world.owner()
    with pytest.raises(Conflict):
        await set_role(world, owner, world.acme.user_id, "admin")
    async with world.db.transaction(owner) as tx:
        with pytest.raises(Conflict):
            await remove_member(tx, world.acme.user_id)


async def test_two_owners_cannot_remove_each_other_at_the_same_time(world: World) -> None:
    bob = await world.add_member("bob", "owner")
    ann, as_bob = world.acme.user_id, await world.principal("bob")
    async with world.db.transaction(await world.principal("ann")) as tx:
        await change_role(tx, bob, "member")
        other = asyncio.create_task(set_role(world, as_bob, ann, "member"))
        await world.until_blocked(other)
    with pytest.raises(Conflict):
        await other
    assert await world.as_owner("SELECT count(*) FROM memberships WHERE role = 'owner'") == [(1,)]


async def test_members_of_another_tenant_do_not_exist(world: World) -> None:
    stranger = (await world.other_tenant()).user_id
    owner = await world.owner()
    for user_id in (stranger, uuid4()):
        with pytest.raises(NotFound):
            await set_role(world, owner, user_id, "viewer")
        async with world.db.transaction(owner) as tx:
            with pytest.raises(NotFound):
                await remove_member(tx, user_id)


async def test_members_come_in_pages_that_miss_nobody(world: World) -> None:
    await world.other_tenant()
    expected = [world.acme.user_id] + [await world.add_member(f"user{n}", "member") for n in range(4)]
    seen, request = [], PageRequest(limit=2)
    async with world.db.transaction(await world.owner()) as tx:
        while True:
            found = await list_members(tx, request)
            seen += [member.user_id for member in found.items]
            assert found.total == 5
            if found.next_cursor is None:
                break
            request = PageRequest(limit=2, cursor=found.next_cursor)
        skipped = await list_members(tx, PageRequest(limit=2, offset=3))
    assert seen == expected
    assert [member.user_id for member in skipped.items] == expected[3:]


async def test_a_bad_cursor_is_the_callers_fault(world: World) -> None:
    async with world.db.transaction(await world.owner()) as tx:
        with pytest.raises(InvalidInput) as caught:
            await list_members(tx, PageRequest(limit=2, cursor="nonsense"))
    assert "cursor" in caught.value.fields


async def test_an_api_key_has_what_it_was_given_and_nothing_else(world: World) -> None:
    made = await make_key(world, await world.owner(), ["read", "chat"])
    principal = await world.by_key(made.key)
    assert principal.scopes == {"read", "chat"}
    assert (principal.kind, principal.credential_id, principal.user_id) == ("api_key", made.id, world.acme.user_id)
    assert made.key.startswith(made.prefix)


async def test_nobody_gives_a_key_more_than_they_have(world: World) -> None:
    await world.add_member("bob", "member")
    for scope in ("admin", "platform"):
        with pytest.raises(Forbidden):
            await make_key(world, await world.principal("bob"), ["read", scope])
    narrow = await world.by_key((await make_key(world, await world.principal("bob"), ["read", "write"])).key)
    with pytest.raises(Forbidden):
        await make_key(world, narrow, ["chat"])


@pytest.mark.parametrize("days", [0, -1, 3_651])
async def test_a_key_expires_in_a_sensible_time(world: World, days: int) -> None:
    with pytest.raises(InvalidInput):
        await make_key(world, await world.owner(), ["read"], days)


async def test_an_expired_key_is_refused(world: World) -> None:
    made = await make_key(world, await world.owner(), ["read"], 1)
    await world.by_key(made.key)
    await world.as_owner("UPDATE api_keys SET expires_at = now() WHERE id = %s", made.id)
    with pytest.raises(Unauthenticated):
        await world.by_key(made.key)


async def test_a_revoked_key_is_refused_and_gone_from_the_list(world: World) -> None:
    owner = await world.owner()
    made = await make_key(world, owner, ["read"])
    async with world.db.transaction(owner) as tx:
        await revoke_api_key(tx, made.id)
        listed = await list_api_keys(tx, FIRST_PAGE)
    assert made.id not in {key.id for key in listed.items}
    with pytest.raises(Unauthenticated):
        await world.by_key(made.key)
    async with world.db.transaction(owner) as tx:
        with pytest.raises(NotFound):
            await revoke_api_key(tx, made.id)


async def test_members_handle_their_own_keys_and_admins_all(world: World) -> None:
    await world.add_member("bob", "member")
    bob, owner = await world.principal("bob"), await world.owner()
    his, hers = await make_key(world, bob, ["read"]), await make_key(world, owner, ["read"])
    async with world.db.transaction(bob) as tx:
        listed = await list_api_keys(tx, FIRST_PAGE)
        assert [key.id for key in listed.items] == [his.id]
        with pytest.raises(NotFound):
            await revoke_api_key(tx, hers.id)
    async with world.db.transaction(owner) as tx:
        listed = await list_api_keys(tx, FIRST_PAGE)
        assert {his.id, hers.id} <= {key.id for key in listed.items}
        await revoke_api_key(tx, his.id)


async def test_another_tenants_key_does_not_exist(world: World) -> None:
    made = await make_key(world, await world.owner(), ["read"])
    stranger = await world.by_key((await world.other_tenant()).api_key or "")
    async with world.db.transaction(stranger) as tx:
        with pytest.raises(NotFound):
            await revoke_api_key(tx, made.id)


async def test_no_key_is_stored_readably(world: World) -> None:
    made = await make_key(world, await world.owner(), ["read"])
    [(row,)] = await world.as_owner("SELECT api_keys::text FROM api_keys WHERE id = %s", made.id)
    assert made.key not in str(row)
    assert made.key.encode().hex() not in str(row)


async def test_every_change_is_audited(world: World) -> None:
    owner = await world.owner()
    bob = await world.add_member("bob", "member")
    await set_role(world, owner, bob, "viewer")
    async with world.db.transaction(owner) as tx:
        made = await create_api_key(tx, "a key", ["read"], expires_in_days=None)
        await revoke_api_key(tx, made.id)
        invite = await world.services().invites.create(tx, "eve@acme.example", "member")
        await world.services().invites.withdraw(tx, invite.id)
        await remove_member(tx, bob)
    expected = {"api_key.revoked": made.id, "invite.created": invite.id, "invite.deleted": invite.id}
    for action, resource in {**expected, "member.updated": bob, "member.removed": bob}.items():
        [(tenant_id, actor, user_id, resource_id, _)] = await world.audited(action)
        assert (tenant_id, actor, user_id, resource_id) == (world.tenant_id, "user", world.acme.user_id, resource)
