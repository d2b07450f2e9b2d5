"""Tenants made and removed by platform keys, and the first one by bootstrap."""

import asyncio
from uuid import UUID, uuid4

import pytest

from copilot_common.auth.authority import ALL_SCOPES, Access, require
from copilot_common.base.errors import Conflict, Forbidden, InvalidInput, NotFound, SettingsError, Unauthenticated
from copilot_common.base.ids import PLATFORM_TENANT
from copilot_domain.pagination import PageRequest
from copilot_domain.tenants import CreatedTenant, rename_current_tenant
from copilot_domain.tenants.bootstrap import (
    bootstrap,
    create_platform_key,
    list_platform_keys,
    revoke_platform_key,
)
from integration.tenants.world import ENCRYPTION_KEY, PASSWORD, World, make_tenant


async def create(world: World, slug: str = "globex", owner_email: str | None = None) -> CreatedTenant:
    async with world.db.transaction(await world.platform()) as tx:
        return await world.services().platform.create(tx, "Globex", slug, owner_email=owner_email)


async def test_a_platform_key_makes_a_tenant_whose_first_owner_registers_with_the_invite(world: World) -> None:
    made = await create(world, owner_email="hank@globex.example")
    user = await world.services().registration.register(
        username="hank",
        email="hank@globex.example",
        password=PASSWORD,
        invite_token=made.owner_invite_token,
        address=None,
    )
    assert (user.tenant_id, user.roles) == (made.id, ["owner"])
    async with world.db.transaction(await world.principal("hank")) as tx:
        assert (await rename_current_tenant(tx, "Globex Corporation")).name == "Globex Corporation"
        assert await tx.cipher()


async def test_a_platform_key_lists_changes_and_deletes_tenants(world: World) -> None:
    made = await create(world)
    platform = world.services().platform
    async with world.db.transaction(await world.platform()) as tx:
        listed = await platform.list(tx, PageRequest(limit=20))
        assert {tenant.id for tenant in listed.items} == {made.id, world.tenant_id}
        changed = await platform.update(tx, world.tenant_id, name=None, status="suspended")
        assert (changed.name, changed.status) == ("Acme", "suspended")
        await platform.delete(tx, world.tenant_id)
        with pytest.raises(NotFound):
            await platform.get(tx, world.tenant_id)
    with pytest.raises(Unauthenticated):
        await world.by_key(world.acme.api_key or "")
    for action in ("tenant.updated", "tenant.deleted"):
        [(tenant_id, actor, _, _, _)] = await world.audited(action)
        assert (tenant_id, actor) == (world.tenant_id, "platform_key")


async def test_after_working_in_a_tenant_the_platform_sees_no_rows_of_it(world: World) -> None:
    async with world.db.transaction(await world.platform()) as tx:
        await world.services().platform.update(tx, world.tenant_id, name="Acme Inc", status=None)
        assert await tx.fetch_value("SELECT count(*) FROM memberships") == 0
        assert await tx.fetch_value("SELECT count(*) FROM audit_log WHERE tenant_id <> %s", [PLATFORM_TENANT]) == 0


async def test_a_taken_slug_is_a_conflict_and_a_bad_one_names_the_field(world: World) -> None:
    with pytest.raises(Conflict):
        await create(world, "acme")
    for slug in ("", "-acme", "acme-", "Acme", "a b", "a" * 64, "acme\0", "äcme"):
        with pytest.raises(InvalidInput) as caught:
            await create(world, slug)
        assert list(caught.value.fields) == ["slug"]


async def test_a_tenant_that_is_not_there_is_not_found(world: World) -> None:
    platform = world.services().platform
    async with world.db.transaction(await world.platform()) as tx:
        with pytest.raises(NotFound):
            await platform.update(tx, uuid4(), name="x", status=None)
        with pytest.raises(NotFound):
            await platform.delete(tx, uuid4())


async def test_a_platform_key_reaches_nothing_but_the_platform(world: World) -> None:
    platform = await world.platform()
    require(platform, Access("platform"))
    for access in (Access(), *(Access(scope) for scope in ALL_SCOPES)):
        with pytest.raises(Forbidden):
            require(platform, access)


async def test_a_revoked_platform_key_is_refused(world: World) -> None:
    key_id, key = await create_platform_key(world.urls.owner_url, "ops")
    assert (await world.by_key(key)).credential_id == key_id
    await revoke_platform_key(world.urls.owner_url, key_id)
    with pytest.raises(Unauthenticated):
        await world.by_key(key)
    with pytest.raises(NotFound):
        await revoke_platform_key(world.urls.owner_url, key_id)
    [listed] = await list_platform_keys(world.urls.owner_url)
    assert listed.revoked_at is not None
    assert key not in repr(listed)


async def test_bootstrap_makes_a_tenant_once_even_in_parallel(world: World) -> None:
    made = await asyncio.gather(*(make_tenant(world.urls.owner_url, "initech") for _ in range(4)))
    assert len({(each.tenant_id, each.user_id) for each in made}) == 1
    assert [each.api_key for each in made].count(None) == 3
    assert await world.as_owner("SELECT count(*) FROM tenants WHERE slug = 'initech'") == [(1,)]


async def test_bootstrap_of_an_existing_tenant_gives_nobody_anything(world: World) -> None:
    again = await make_tenant(world.urls.owner_url, "acme", admin="mallory")
    assert (again.tenant_id, again.user_id, again.api_key) == (world.acme.tenant_id, world.acme.user_id, None)
    assert await world.as_owner("SELECT count(*) FROM users") == [(1,)]


async def test_the_first_key_has_every_scope_of_a_tenant_and_shows_in_no_repr(world: World) -> None:
    assert (await world.by_key(world.acme.api_key or "")).scopes == ALL_SCOPES
    assert str(world.acme.api_key) not in repr(world.acme)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"admin_password": "short"}, "admin_password"),
        ({"admin_email": "nowhere"}, "admin_email"),
        ({"tenant_slug": "A"}, "tenant_slug"),
        ({"tenant_name": ""}, "tenant_name"),
    ],
)
async def test_bootstrap_names_what_will_not_do_and_leaves_nothing(
    world: World, given: dict[str, str], field: str
) -> None:
    wanted = {
        "tenant_slug": "hooli",
        "tenant_name": "Hooli",
        "admin_email": "gavin@hooli.example",
        "admin_username": "gavin",
        "admin_password": PASSWORD,
    }
    with pytest.raises(InvalidInput) as caught:
        await bootstrap(world.urls.owner_url, encryption_key=ENCRYPTION_KEY, **(wanted | given))
    assert list(caught.value.fields) == [field]
    assert await world.as_owner("SELECT count(*) FROM tenants") == [(1,)]


async def test_bootstrap_without_a_database_names_the_variable_and_shows_no_secret() -> None:
    with pytest.raises(SettingsError) as caught:
        await revoke_platform_key("postgresql://copilot_owner:hidden@127.0.0.1:1/copilot", UUID(int=1))
    assert "MIGRATION_DATABASE_URL" in caught.value.message
    assert "hidden" not in str(caught.value)


async def test_bootstrap_under_another_key_than_the_databases_makes_nothing(world: World) -> None:
    with pytest.raises(SettingsError, match=r"^ENCRYPTION_KEY"):
        await bootstrap(
            world.urls.owner_url,
            encryption_key=bytes(range(1, 33)),
            tenant_slug="second",
            tenant_name="Second",
            admin_email="sue@second.example",
            admin_username="sue",
            admin_password=PASSWORD,
        )
    made = await make_tenant(world.urls.owner_url, "second", admin="sue")
    assert made.api_key is not None
