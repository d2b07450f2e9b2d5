"""Log-in, refresh with reuse detection, log-out."""

import asyncio

import pytest

from copilot_common.auth.passwords import Passwords
from copilot_common.auth.signed_ids import refresh_tokens
from copilot_common.base.errors import InvalidInput, RateLimited, Unauthenticated
from copilot_common.base.ids import PLATFORM_TENANT, new_id
from integration.tenants.world import ADDRESS, JWT_SECRET, PASSWORD, World


async def refused(world: World, name: str, password: str = PASSWORD, **more: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await world.services().sessions.log_in(name, password, tenant=more.get("tenant"), address=ADDRESS)
    return caught.value.message


async def age_spent_tokens(world: World) -> None:
    """As if all had been spent more than 10 s ago."""
    await world.as_owner("UPDATE refresh_tokens SET spent_at = spent_at - interval '11 seconds'")


@pytest.mark.parametrize("name", ["ann", "ANN", " ann@ACME.example "])
async def test_a_user_logs_in_by_username_or_email_however_written(world: World, name: str) -> None:
    session = await world.log_in(name)
    assert session.user.username == "ann"
    assert session.user.roles == ["owner"]
    assert session.user.last_login_at is not None
    principal = await world.by_token(session.access_token)
    assert (principal.tenant_id, principal.user_id, principal.role) == (world.tenant_id, world.acme.user_id, "owner")


async def test_every_refused_log_in_reads_the_same(world: World) -> None:
    await world.other_tenant()
    await world.add_member("bob", "member")
    await world.as_owner("UPDATE users SET is_active = false WHERE username = 'bob'")
    answers = {
        await refused(world, "nobody"),
        await refused(world, "nul\0byte"),
        await refused(world, "ann", "wrong password, but long"),
        await refused(world, "ann", "x" * 1_000),
        await refused(world, "bob"),
        await refused(world, "ann", tenant="no-such-tenant"),
    }
    assert len(answers) == 1


async def test_an_unknown_user_costs_the_same_hash_as_a_wrong_password(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[bool] = []
    original = Passwords._verify

    def count(self: Passwords, stored: str | None, password: str) -> bool:
        verified.append(stored is None)
        return original(self, stored, password)

    monkeypatch.setattr(Passwords, "_verify", count)
    await refused(world, "nobody")
    await refused(world, "ann", "wrong password, but long")
    assert verified == [True, False]


async def test_refused_log_ins_are_audited_known_users_in_their_tenant(world: World) -> None:
    await refused(world, "ann", "wrong password, but long")
    await refused(world, "nobody")
    assert await world.audited("session.refused") == [
        (world.tenant_id, "system", world.acme.user_id, world.acme.user_id, ADDRESS),
        (PLATFORM_TENANT, "system", None, None, ADDRESS),
    ]


async def test_without_a_tenant_the_oldest_membership_counts_with_one_that_tenant(world: World) -> None:
    other = await world.other_tenant()
    await world.join(world.acme.user_id, "viewer", other.tenant_id)
    assert (await world.log_in("ann")).user.tenant_id == world.tenant_id
    chosen = await world.log_in("ann", tenant=str(other.tenant_id))
    assert (chosen.user.tenant_id, chosen.user.roles) == (other.tenant_id, ["viewer"])
    assert (await world.log_in("ann", tenant="ACME")).user.tenant_id == world.tenant_id


async def test_a_suspended_tenant_lets_nobody_in_and_ends_what_is_open(world: World) -> None:
    session = await world.log_in("ann")
    await world.as_owner("UPDATE tenants SET status = 'suspended'")
    await refused(world, "ann")
    with pytest.raises(Unauthenticated):
        await world.by_token(session.access_token)
    with pytest.raises(Unauthenticated):
        await world.services().sessions.refresh(session.refresh_token, address=None)


async def test_parallel_guesses_do_not_get_past_the_lock_out(world: World) -> None:
    guesses = [
        world.services().sessions.log_in("ann", f"wrong password {n}", tenant=None, address=f"203.0.113.{n}")
        for n in range(30)
    ]
    results = await asyncio.gather(*guesses, return_exceptions=True)
    assert sum(isinstance(result, Unauthenticated) for result in results) == 10
    assert sum(isinstance(result, RateLimited) for result in results) == 20
    with pytest.raises(RateLimited):
        await world.log_in("ann")


async def test_an_unknown_user_is_locked_out_like_a_known_one(world: World) -> None:
    for _ in range(10):
        await refused(world, "nobody")
    with pytest.raises(RateLimited):
        await world.log_in("nobody")


async def test_a_right_password_opens_the_account_again(world: World) -> None:
    for _ in range(9):
        await refused(world, "ann", "wrong password, but long")
    await world.log_in("ann")
    for _ in range(10):
        await refused(world, "ann", "wrong password, but long")


async def test_a_password_hashed_with_old_parameters_is_hashed_anew_at_log_in(world: World) -> None:
    query = "SELECT password_hash FROM users WHERE username = 'ann'"
    [(before,)] = await world.as_owner(query)
    await world.log_in("ann")
    [(after,)] = await world.as_owner(query)
    assert world.passwords.needs_rehash(str(before))
    assert not world.passwords.needs_rehash(str(after))
    await world.log_in("ann")


async def test_a_refresh_token_gives_its_successor(world: World) -> None:
    sessions, first = world.services().sessions, await world.log_in("ann")
    second = await sessions.refresh(first.refresh_token, address=None)
    third = await sessions.refresh(second.refresh_token, address=None)
    assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3
    assert (await world.by_token(third.access_token)).user_id == world.acme.user_id


async def test_within_ten_seconds_a_spent_token_gives_the_same_successor(world: World) -> None:
    sessions, first = world.services().sessions, await world.log_in("ann")
    pairs = await asyncio.gather(*(sessions.refresh(first.refresh_token, address=None) for _ in range(8)))
    assert len({pair.refresh_token for pair in pairs}) == 1
    assert await world.as_owner("SELECT count(*) FROM refresh_tokens") == [(2,)]


async def test_of_two_uses_at_the_same_moment_the_second_gets_what_the_first_got(world: World) -> None:
    sessions, first = world.services().sessions, await world.log_in("ann")
    _, _, token_id = refresh_tokens(JWT_SECRET).read(first.refresh_token)
    async with world.db.transaction(await world.by_token(first.access_token)) as tx:
        pair = await sessions._rotate(tx, token_id)
        other = asyncio.create_task(sessions.refresh(first.refresh_token, address=None))
        await world.until_blocked(other)
    assert pair is not None
    assert (await other).refresh_token == pair.refresh_token


async def test_a_spent_token_used_later_ends_the_session_for_both(world: World) -> None:
    sessions, first = world.services().sessions, await world.log_in("ann")
    second = await sessions.refresh(first.refresh_token, address=None)
    await age_spent_tokens(world)
    for stolen in (first.refresh_token, second.refresh_token):
        with pytest.raises(Unauthenticated):
            await sessions.refresh(stolen, address=ADDRESS)
    [(tenant_id, _, user_id, _, address)] = await world.audited("session.revoked")
    assert (tenant_id, user_id, address) == (world.tenant_id, world.acme.user_id, ADDRESS)


async def test_another_session_of_the_user_survives_a_reuse(world: World) -> None:
    sessions, stolen, other = world.services().sessions, await world.log_in("ann"), await world.log_in("ann")
    await sessions.refresh(stolen.refresh_token, address=None)
    await age_spent_tokens(world)
    with pytest.raises(Unauthenticated):
        await sessions.refresh(stolen.refresh_token, address=None)
    assert await sessions.refresh(other.refresh_token, address=None)


async def test_expired_forged_and_foreign_refresh_tokens_are_refused(world: World) -> None:
    sessions, session = world.services().sessions, await world.log_in("ann")
    forged = refresh_tokens("another secret, just as long as ours").render(
        world.tenant_id, world.acme.user_id, new_id()
    )
    tampered = session.refresh_token[:-1] + ("A" if session.refresh_token[-1] != "A" else "B")
    await world.as_owner("UPDATE refresh_tokens SET expires_at = now()")
    for bad in (session.refresh_token, forged, tampered, session.access_token, "", "cpr_", "cpr_é"):
        with pytest.raises(Unauthenticated):
            await sessions.refresh(bad, address=None)


async def test_a_removed_member_cannot_refresh(world: World) -> None:
    await world.add_member("bob", "member")
    session = await world.log_in("bob")
    await world.as_owner("DELETE FROM memberships WHERE user_id = %s", session.user.id)
    with pytest.raises(Unauthenticated):
        await world.services().sessions.refresh(session.refresh_token, address=None)


@pytest.mark.parametrize("by", ["refresh_token", "access_token"])
async def test_a_log_out_ends_the_whole_family_of_tokens(world: World, by: str) -> None:
    sessions, session = world.services().sessions, await world.log_in("ann")
    successor = await sessions.refresh(session.refresh_token, address=None)
    given = {"refresh_token": None, "access_token": None} | {by: getattr(session, by)}
    async with world.db.transaction(await world.by_token(session.access_token)) as tx:
        await sessions.log_out(tx, **given)
    with pytest.raises(Unauthenticated):
        await sessions.refresh(successor.refresh_token, address=None)
    assert len(await world.audited("session.ended")) == 1


async def test_nobody_logs_another_user_out(world: World) -> None:
    await world.add_member("bob", "member")
    victim = await world.log_in("ann")
    async with world.db.transaction(await world.principal("bob")) as tx:
        with pytest.raises(InvalidInput):
            await world.services().sessions.log_out(tx, refresh_token=victim.refresh_token, access_token=None)
    assert await world.services().sessions.refresh(victim.refresh_token, address=None)


async def test_me_is_the_user_behind_any_credential(world: World) -> None:
    for principal in (await world.owner(), await world.by_key(world.acme.api_key or "")):
        async with world.db.transaction(principal) as tx:
            me = await world.services().sessions.me(tx)
        assert (me.email, me.roles, me.tenant_id) == ("ann@acme.example", ["owner"], world.tenant_id)
