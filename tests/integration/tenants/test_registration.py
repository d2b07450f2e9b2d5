"""Registration: closed, by invite, open."""

import asyncio

import pytest

from copilot_common.auth.signed_ids import invite_tokens
from copilot_common.base.errors import Conflict, Forbidden, InvalidInput, RateLimited, Unauthenticated
from copilot_common.base.ids import new_id
from copilot_common.encryption import Purpose
from copilot_common.tenancy import Role
from copilot_domain.tenants import CreatedInvite, User
from integration.tenants.world import ADDRESS, PASSWORD, World


async def invite(world: World, email: str = "bob@acme.example", role: Role = "member") -> CreatedInvite:
    async with world.db.transaction(await world.owner()) as tx:
        return await world.services().invites.create(tx, email, role)


async def register(
    world: World,
    token: str | None,
    *,
    email: str = "bob@acme.example",
    username: str = "bob",
    password: str = PASSWORD,
    mode: str = "invite",
) -> User:
    return await world.services(registration=mode).registration.register(
        username=username, email=email, password=password, invite_token=token, address=ADDRESS
    )


async def test_an_invited_person_registers_and_logs_in_with_the_invited_role(world: World) -> None:
    user = await register(world, (await invite(world, role="admin")).token)
    assert (user.tenant_id, user.roles) == (world.tenant_id, ["admin"])
    assert (await world.log_in("bob")).user.id == user.id


async def test_an_invite_is_good_once_even_in_parallel(world: World) -> None:
    token = (await invite(world)).token
    results = await asyncio.gather(*(register(world, token) for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(result, User) for result in results) == 1
    with pytest.raises(Conflict):
        await register(world, token)


async def test_expired_withdrawn_forged_and_missing_invites_name_the_field(world: World) -> None:
    expired, withdrawn = await invite(world), await invite(world)
    await world.as_owner("UPDATE invites SET expires_at = now() WHERE id = %s", expired.id)
    async with world.db.transaction(await world.owner()) as tx:
        await world.services().invites.withdraw(tx, withdrawn.id)
    forged = invite_tokens("another secret, just as long as ours").render(world.tenant_id, new_id())
    for token in (expired.token, withdrawn.token, forged, "", "cpi_x", None):
        with pytest.raises(InvalidInput) as caught:
            await register(world, token)
        assert "invite_token" in caught.value.fields


async def test_a_refresh_token_is_no_invite(world: World) -> None:
    with pytest.raises(InvalidInput):
        await register(world, (await world.log_in("ann")).refresh_token)


async def test_an_invite_is_for_its_email_only_and_says_nothing_about_accounts(world: World) -> None:
    token = (await invite(world)).token
    for password in (PASSWORD, "wrong password, but long"):
        with pytest.raises(InvalidInput) as caught:
            await register(world, token, email="ann@acme.example", password=password)
        assert "email" in caught.value.fields


async def test_a_known_user_joins_another_tenant_with_their_password(world: World) -> None:
    other = await world.other_tenant()
    await world.join(world.acme.user_id, "owner", other.tenant_id)
    user_id = await world.add_member("bob", "member", tenant_id=other.tenant_id)
    user = await register(world, (await invite(world)).token, username="ignored")
    assert (user.id, user.username, user.tenant_id) == (user_id, "bob", world.tenant_id)


async def test_a_known_users_wrong_password_neither_joins_nor_uses_the_invite(world: World) -> None:
    other = await world.other_tenant()
    await world.add_member("bob", "member", tenant_id=other.tenant_id)
    token = (await invite(world)).token
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            await register(world, token, password="wrong password, but long")
    with pytest.raises(RateLimited):
        await register(world, token)


async def test_a_member_cannot_be_invited_twice(world: World) -> None:
    await register(world, (await invite(world)).token)
    with pytest.raises(Conflict):
        await register(world, (await invite(world)).token)


async def test_closed_registration_takes_no_invite_either(world: World) -> None:
    with pytest.raises(Forbidden):
        await register(world, (await invite(world)).token, mode="closed")


async def test_open_registration_gives_a_tenant_of_ones_own_with_a_data_key(world: World) -> None:
    user = await register(world, None, mode="open")
    assert user.roles == ["owner"]
    assert user.tenant_id != world.tenant_id
    principal = await world.principal("bob")
    async with world.db.transaction(principal) as tx:
        assert (await tx.cipher()).seal_text(Purpose.CONVERSATION_TITLE, new_id(), "x")


@pytest.mark.parametrize(
    ("email", "username", "field"),
    [("ann@acme.example", "bob", "email"), ("bob@acme.example", "ANN", "username")],
)
async def test_a_taken_email_or_username_is_a_conflict_that_names_it(
    world: World, email: str, username: str, field: str
) -> None:
    with pytest.raises(Conflict) as caught:
        await register(world, None, mode="open", email=email, username=username)
    assert caught.value.details == {"field": field}
    assert await world.as_owner("SELECT count(*) FROM tenants") == [(1,)]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"email": "no address"}, "email"),
        ({"email": "é@acme.example"}, "email"),
        ({"email": "bob@acme.example\0"}, "email"),
        ({"username": "b"}, "username"),
        ({"username": "bob@acme"}, "username"),
        ({"password": "short"}, "password"),
        ({"password": "aaaaaaaaaaaaaaaa"}, "password"),
        ({"password": "bob@acme.example"}, "password"),
        ({"password": "x1y2z3" * 50}, "password"),
    ],
)
async def test_bad_input_names_the_field(world: World, given: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await register(world, None, mode="open", **given)
    assert list(caught.value.fields) == [field]


async def test_every_step_of_a_registration_is_audited(world: World) -> None:
    user = await register(world, (await invite(world)).token)
    for action in ("user.created", "invite.accepted", "member.added"):
        [(tenant_id, _, user_id, _, address)] = await world.audited(action)
        assert (tenant_id, user_id, address) == (world.tenant_id, user.id, ADDRESS)
