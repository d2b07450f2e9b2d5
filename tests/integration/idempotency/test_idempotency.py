"""The same request twice is one effect and one answer, whichever process dies."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from uuid import UUID, uuid4

import psycopg
import pytest

from copilot_common.base.errors import Conflict, InvalidInput
from copilot_common.base.ids import ProcessId, new_id
from copilot_common.tenancy import Principal
from copilot_domain.idempotency import (
    Claim,
    Fresh,
    IdempotentRequest,
    Outcome,
    Replay,
    claim,
    discard,
    finish,
    idempotent_request,
    release,
    settle_failure,
)
from copilot_domain.tenants import rename_current_tenant
from integration.tenants.world import World
from support.stack import eventually

REQUEST = idempotent_request("POST", "/api/v1/things", "a key", b'{"a": 1}')


async def living_process(world: World) -> ProcessId:
    process_id = ProcessId(new_id())
    await world.database.fetch_row("SELECT dispatch.renew_process(%s, 'api', interval '1 hour')", [process_id])
    return process_id


def dead_process(world: World) -> ProcessId:
    """A process whose lease has lapsed. For 6 s after PostgreSQL came up nobody counts as dead."""

    def judged() -> bool:
        with psycopg.connect(world.urls.app_url) as connection:
            row = connection.execute("SELECT dispatch.process_is_alive(%s)", [uuid4()]).fetchone()
        return row is not None and not row[0]

    eventually(judged, what="a missing lease counting as lapsed")
    return ProcessId(new_id())


async def begin(
    world: World, principal: Principal, process_id: ProcessId, request: IdempotentRequest = REQUEST
) -> Outcome:
    return await claim(world.db, principal, request, process_id)


async def begin_fresh(world: World, principal: Principal, process_id: ProcessId) -> Claim:
    outcome = await begin(world, principal, process_id)
    assert isinstance(outcome, Fresh)
    return outcome.claim


async def do(world: World, principal: Principal, mine: Claim, body: bytes | None = b"done", **more: UUID) -> None:
    async with world.db.transaction(principal) as tx:
        await rename_current_tenant(tx, "Renamed")
        await finish(tx, mine, status=201, body=body, **more)


async def conflict(code: str, world: World, principal: Principal, request: IdempotentRequest = REQUEST) -> None:
    with pytest.raises(Conflict) as caught:
        await begin(world, principal, await living_process(world), request)
    assert caught.value.code == code


async def test_a_repeat_gets_the_first_answer(world: World) -> None:
    owner, process_id = await world.owner(), await living_process(world)
    await do(world, owner, await begin_fresh(world, owner, process_id), resource_id=world.tenant_id)
    repeat = await begin(world, owner, process_id)
    assert repeat == Replay(status=201, body=b"done", resource_id=world.tenant_id)


async def test_of_parallel_repeats_one_does_the_work(world: World) -> None:
    owner, process_id = await world.owner(), await living_process(world)
    results = await asyncio.gather(*(begin(world, owner, process_id) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(result, Fresh) for result in results) == 1
    codes = {result.code for result in results if isinstance(result, Conflict)}
    assert codes == {"IDEMPOTENCY_IN_PROGRESS"}


async def test_another_body_is_a_mismatch_while_it_runs_and_after(world: World) -> None:
    owner, other = await world.owner(), replace(REQUEST, body_hash=b"another")
    mine = await begin_fresh(world, owner, await living_process(world))
    await conflict("IDEMPOTENCY_MISMATCH", world, owner, other)
    await do(world, owner, mine)
    await conflict("IDEMPOTENCY_MISMATCH", world, owner, other)


@pytest.mark.parametrize(
    "other",
    [replace(REQUEST, method="PUT"), replace(REQUEST, path="/api/v1/others"), replace(REQUEST, key="another")],
    ids=["method", "path", "key"],
)
async def test_another_method_path_or_key_is_another_request(world: World, other: IdempotentRequest) -> None:
    owner, process_id = await world.owner(), await living_process(world)
    await begin_fresh(world, owner, process_id)
    assert isinstance(await begin(world, owner, process_id, other), Fresh)


async def test_another_principal_and_another_tenant_are_other_requests(world: World) -> None:
    process_id = await living_process(world)
    await begin_fresh(world, await world.owner(), process_id)
    await begin_fresh(world, await world.by_key(world.acme.api_key or ""), process_id)
    await begin_fresh(world, await world.by_key((await world.other_tenant()).api_key or ""), process_id)


async def test_a_dead_process_does_not_block_and_cannot_finish_any_more(world: World) -> None:
    owner = await world.owner()
    lost = await begin_fresh(world, owner, dead_process(world))
    taken = await begin_fresh(world, owner, await living_process(world))
    with pytest.raises(Conflict):
        await do(world, owner, lost)
    assert await world.as_owner("SELECT name FROM tenants") == [("Acme",)]
    await do(world, owner, taken)
    with pytest.raises(Conflict):
        await do(world, owner, lost)


async def test_work_that_is_rolled_back_keeps_no_answer(world: World) -> None:
    owner, process_id = await world.owner(), await living_process(world)
    mine = await begin_fresh(world, owner, process_id)
    with suppress(ZeroDivisionError):
        async with world.db.transaction(owner) as tx:
            await finish(tx, mine, status=201, body=b"done")
            raise ZeroDivisionError
    await conflict("IDEMPOTENCY_IN_PROGRESS", world, owner)
    await release(world.db, owner, mine)
    await begin_fresh(world, owner, process_id)


@pytest.mark.parametrize("status", [409, 429, 500, 502, 503, 504])
async def test_an_answer_that_may_be_better_next_time_is_not_kept(world: World, status: int) -> None:
    owner, process_id = await world.owner(), await living_process(world)
    mine = await begin_fresh(world, owner, process_id)
    await settle_failure(world.db, owner, mine, status=status, body=b"refused")
    await begin_fresh(world, owner, process_id)


async def test_a_refusal_of_the_request_itself_is_kept(world: World) -> None:
    owner, process_id = await world.owner(), await living_process(world)
    mine = await begin_fresh(world, owner, process_id)
    await settle_failure(world.db, owner, mine, status=422, body=b"refused")
    assert await begin(world, owner, process_id) == Replay(status=422, body=b"refused", resource_id=None)


async def test_an_answer_with_a_secret_is_not_kept_and_its_repeat_names_the_id(world: World) -> None:
    owner, process_id, made = await world.owner(), await living_process(world), new_id()
    await do(world, owner, await begin_fresh(world, owner, process_id), body=None, resource_id=made)
    repeat = await begin(world, owner, process_id)
    assert isinstance(repeat, Replay)
    assert repeat.resource_id == made
    with pytest.raises(Conflict) as caught:
        repeat.kept_body()
    assert caught.value.details == {"id": str(made)}


async def test_release_and_settling_leave_a_finished_claim_alone(world: World) -> None:
    owner, process_id = await world.owner(), await living_process(world)
    mine = await begin_fresh(world, owner, process_id)
    await do(world, owner, mine)
    await release(world.db, owner, mine)
    assert isinstance(await begin(world, owner, process_id), Replay)


async def test_a_discarded_answer_frees_the_key(world: World) -> None:
    owner, process_id = await world.owner(), await living_process(world)
    mine = await begin_fresh(world, owner, process_id)
    await do(world, owner, mine)
    async with world.db.transaction(owner) as tx:
        await discard(tx, mine)
    await begin_fresh(world, owner, process_id)


async def test_after_a_day_the_key_is_free_for_any_body(world: World) -> None:
    owner, process_id = await world.owner(), await living_process(world)
    await do(world, owner, await begin_fresh(world, owner, process_id))
    await world.as_owner("UPDATE idempotency_keys SET created_at = created_at - interval '25 hours'")
    assert isinstance(await begin(world, owner, process_id, replace(REQUEST, body_hash=b"another")), Fresh)


async def test_kept_answers_are_sealed(world: World) -> None:
    owner = await world.owner()
    body = b'{"content": "nobody may read this"}'
    await do(world, owner, await begin_fresh(world, owner, await living_process(world)), body=body)
    [(sealed,)] = await world.as_owner("SELECT body_sealed FROM idempotency_keys")
    assert isinstance(sealed, bytes)
    assert b"nobody" not in sealed


async def test_the_platforms_requests_are_kept_under_a_key_of_its_own(world: World) -> None:
    platform, process_id = await world.platform(), await living_process(world)
    mine = await begin_fresh(world, platform, process_id)
    async with world.db.transaction(platform) as tx:
        await world.services().platform.create(tx, "Globex", "globex", owner_email=None)
        await finish(tx, mine, status=201, body=b"made")
    assert await begin(world, platform, process_id) == Replay(status=201, body=b"made", resource_id=None)


@pytest.mark.parametrize("key", ["", "x" * 256, "a\0b", "a\nb"])
def test_a_key_that_will_not_do_names_its_header(key: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        idempotent_request("POST", "/", key, b"")
    assert list(caught.value.fields) == ["Idempotency-Key"]
