"""Sums of calls, and the audit log as its readers see it."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from copilot_common.base.errors import InvalidInput
from copilot_common.base.ids import TenantId, UserId, new_id
from copilot_common.tenancy import Principal
from copilot_common.tenancy.audit import record_audit
from copilot_domain.audit import AuditEntry, AuditFilter, list_audit
from copilot_domain.pagination import PageRequest
from copilot_domain.usage import GroupBy, UsageSum, sum_usage
from integration.tenants.world import ADDRESS, World

MONDAY = datetime(2026, 1, 5, 23, 30, tzinfo=UTC)
TUESDAY = MONDAY + timedelta(hours=1)


@dataclass(frozen=True)
class Call:
    tenant_id: TenantId
    user_id: UserId
    at: datetime = MONDAY
    model: str = "small"
    api_key_id: UUID | None = None
    cost_usd: Decimal | None = Decimal("0.25")


async def record(world: World, *calls: Call) -> None:
    insert = """
        INSERT INTO llm_calls (
            tenant_id, id, at, user_id, api_key_id, provider, model, outcome, input_tokens, output_tokens,
            cached_tokens, reasoning_tokens, cost_usd, estimated, total_ms
        ) VALUES (%s, %s, %s, %s, %s, 'local', %s, 'completed', 10, 5, 2, 0, %s, false, 1)
    """
    for call in calls:
        row = (call.tenant_id, new_id(), call.at, call.user_id, call.api_key_id, call.model, call.cost_usd)
        await world.as_owner(insert, *row)


async def usage(world: World, principal: Principal, group_by: GroupBy) -> list[UsageSum]:
    async with world.db.transaction(principal) as tx:
        report = await sum_usage(tx, since=MONDAY, until=MONDAY + timedelta(days=7), group_by=group_by)
    return report.items


async def test_calls_are_summed_by_utc_day_model_user_and_key(world: World) -> None:
    ann = Call(world.tenant_id, world.acme.user_id)
    bob = replace(ann, user_id=await world.add_member("bob", "member"), at=TUESDAY, api_key_id=new_id())
    await record(world, ann, replace(ann, model="large"), bob)
    owner = await world.owner()
    assert await usage(world, owner, "day") == [
        UsageSum("2026-01-05", 2, 20, 10, 4, Decimal("0.5")),
        UsageSum("2026-01-06", 1, 10, 5, 2, Decimal("0.25")),
    ]
    expected = {
        "model": [("small", 2), ("large", 1)],
        "user": [(str(ann.user_id), 2), (str(bob.user_id), 1)],
        "api_key": [(None, 2), (str(bob.api_key_id), 1)],
    }
    for group_by, sums in expected.items():
        found = await usage(world, owner, group_by)  # type: ignore[arg-type]
        assert [(each.key, each.requests) for each in found] == sums


async def test_the_cost_of_unknown_prices_is_unknown_and_adds_nothing(world: World) -> None:
    known = Call(world.tenant_id, world.acme.user_id)
    await record(world, replace(known, model="mystery", cost_usd=None), known, replace(known, cost_usd=None))
    found = {each.key: each.cost_usd for each in await usage(world, await world.owner(), "model")}
    assert found == {"mystery": None, "small": Decimal("0.25")}


async def test_who_is_no_admin_sees_their_own_calls_only(world: World) -> None:
    bob = await world.add_member("bob", "member")
    await record(world, Call(world.tenant_id, world.acme.user_id), Call(world.tenant_id, bob))
    assert [each.key for each in await usage(world, await world.principal("bob"), "user")] == [str(bob)]


async def test_another_tenants_calls_are_not_counted(world: World) -> None:
    other = await world.other_tenant()
    await record(world, Call(other.tenant_id, other.user_id))
    assert await usage(world, await world.owner(), "day") == []


async def test_a_span_takes_its_begin_in_and_leaves_its_end_out(world: World) -> None:
    call = Call(world.tenant_id, world.acme.user_id)
    await record(world, call, replace(call, at=TUESDAY))
    async with world.db.transaction(await world.owner()) as tx:
        report = await sum_usage(tx, since=MONDAY, until=TUESDAY, group_by="day")
    assert [each.requests for each in report.items] == [1]


@pytest.mark.parametrize(("days", "field"), [(-1, "to"), (367, "from")])
async def test_a_span_that_makes_no_sense_names_the_field(world: World, days: int, field: str) -> None:
    async with world.db.transaction(await world.owner()) as tx:
        with pytest.raises(InvalidInput) as caught:
            await sum_usage(tx, since=MONDAY, until=MONDAY + timedelta(days=days), group_by="day")
    assert list(caught.value.fields) == [field]


async def read_audit(world: World, **wanted: object) -> list[AuditEntry]:
    async with world.db.transaction(await world.by_key(world.acme.api_key or "")) as tx:
        found = await list_audit(tx, AuditFilter(**wanted), PageRequest(limit=100))  # type: ignore[arg-type]
    return found.items


async def test_the_audit_log_says_who_did_what_from_where(world: World) -> None:
    thing = new_id()
    async with world.db.transaction(await world.owner()) as tx:
        await record_audit(tx, "thing.changed", thing, details={"to": "blue"})
    [entry] = await read_audit(world, action="thing.changed")
    assert (entry.actor.type, entry.actor.id, entry.actor.user_id) == ("user", world.acme.user_id, world.acme.user_id)
    assert (entry.resource_type, entry.resource_id, entry.address) == ("thing", thing, ADDRESS)
    assert entry.details == {"to": "blue"}


async def test_every_filter_narrows_the_audit_log(world: World) -> None:
    bob = await world.add_member("bob", "member")
    thing = new_id()
    async with world.db.transaction(await world.principal("bob")) as tx:
        await record_audit(tx, "thing.changed", thing)
    [entry] = await read_audit(world, action="thing.changed")
    for wanted in (
        {"actor": bob},
        {"user": bob},
        {"resource_type": "thing"},
        {"resource_id": thing},
        {"address": ADDRESS},
        {"since": entry.at},
        {"until": entry.at + timedelta(seconds=1)},
    ):
        assert entry in await read_audit(world, **wanted)
    for wanted in (
        {"actor": new_id()},
        {"user": new_id()},
        {"resource_type": "other"},
        {"resource_id": new_id()},
        {"address": "192.0.2.1"},
        {"since": entry.at + timedelta(seconds=1)},
        {"until": entry.at},
    ):
        assert entry not in await read_audit(world, **wanted)


async def test_audit_pages_run_from_the_newest_to_the_oldest_and_miss_nothing(world: World) -> None:
    things = [new_id() for _ in range(5)]
    async with world.db.transaction(await world.owner()) as tx:
        for thing in things:
            await record_audit(tx, "thing.changed", thing)
    seen, request = [], PageRequest(limit=2)
    async with world.db.transaction(await world.owner()) as tx:
        while True:
            found = await list_audit(tx, AuditFilter(action="thing.changed"), request)
            seen += [entry.resource_id for entry in found.items]
            assert found.total == 5
            if found.next_cursor is None:
                break
            request = PageRequest(limit=2, cursor=found.next_cursor)
    assert seen == things[::-1]


async def test_another_tenants_audit_rows_do_not_exist(world: World) -> None:
    await world.other_tenant()
    assert {entry.resource_id for entry in await read_audit(world, action="tenant.created")} == {world.tenant_id}
