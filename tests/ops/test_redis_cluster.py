"""A Redis Cluster under load: a master dies, slots in use move; nothing is lost, and all of it works again."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from copilot_cli.checks.redis import check_redis
from copilot_common.base.ids import TenantId, new_id
from copilot_common.platform.redis import connect_redis
from copilot_common.queue.jobs import CONTEXT_QUEUE, WORKFLOW_QUEUE
from copilot_common.tenancy.watermarks import Lsn, NoWatermark, Watermarks
from copilot_domain.workflows.runs.nudging import NudgeListener, Nudger
from support.api import StartApi, make_site, start_api
from support.api import wait_ready as wait_api_ready
from support.clients import eventually
from support.redis_servers import RedisCluster, RedisServer, make_cluster, redis_servers
from support.redis_traffic import Traffic, doorbell_rings, felt, limits_are_shared
from support.simulator import SimulatorHandle
from support.stack import StackUrls, clone_template, drop
from support.workers import CONTEXT, ENGINE, Workers, wait_ready, workers

__all__ = ["start_api", "workers"]

_QUEUE_KEYS = {queue: f"arq:{{{queue}}}" for queue in (WORKFLOW_QUEUE, CONTEXT_QUEUE)}


@pytest.fixture
def cluster() -> Iterator[RedisCluster]:
    with redis_servers() as servers:
        yield make_cluster(servers)


async def test_nothing_is_lost_with_a_master_and_moving_slots(
    cluster: RedisCluster, stack: StackUrls, simulator: SimulatorHandle, start_api: StartApi, workers: Workers
) -> None:
    database = clone_template(stack.admin_url)
    site = make_site(database, f"redis+cluster://{cluster.hosts}", simulator)
    environ = site.environ()
    engines = [workers(environ, ENGINE, ready=False) for _ in range(2)]
    searcher = workers(environ, CONTEXT, ready=False)
    apis = [start_api(environ, ready=False) for _ in range(2)]
    wait_ready(*engines, searcher)
    for api in apis:
        wait_api_ready(api)
    async with apis[0].client(site.acme) as near, apis[1].client(site.acme) as far:
        traffic = Traffic(site, near, far)
        async with asyncio.TaskGroup() as group:
            group.create_task(traffic.run())
            await traffic.goes_on()
            victim = cluster.owner(_QUEUE_KEYS[WORKFLOW_QUEUE])
            victim.kill()
            await doorbell_rings(await promoted(cluster, victim), WORKFLOW_QUEUE)
            assert all("ConnectionError" in felt(engine, "Queue not connected") for engine in engines)
            for key in _QUEUE_KEYS.values():
                target = next(node for node in cluster.masters if node != cluster.owner(key))
                cluster.move(key, target)
            await doorbell_rings(cluster.owner(_QUEUE_KEYS[WORKFLOW_QUEUE]), WORKFLOW_QUEUE)
            await traffic.goes_on()
            traffic.is_over = True
        wait_ready(*engines, searcher)
        for client in (near, far):
            await limits_are_shared(client)
        await traffic.check_nothing_is_lost()
        assert (await far.call("POST", "/context/search", {"query": "paragraph"})).status_code == 200
    drop(database, stack.admin_url)


@pytest.mark.parametrize("told", ["ip", "unknown-endpoint"])
async def test_a_client_follows_a_slot_on_its_way(cluster: RedisCluster, told: str) -> None:
    """Before it has moved, what is still at the old node is read there, and what is not is written at the new one.
    Transactions wait until it has. Nodes that tell no name are where they were asked."""
    for node in cluster.nodes:
        with node.client() as direct:
            direct.config_set("cluster-preferred-endpoint-type", told)
    async with connected(cluster) as client, connected(cluster) as late, connected(cluster) as later:
        await client.set("copilot:{way}:old", b"here")
        assert [await each.get("copilot:{way}:old") for each in (late, later)] == [b"here", b"here"]
        source = cluster.owner("copilot:{way}:old")
        target = next(node for node in cluster.masters if node != source)
        cluster.begin_move("copilot:{way}:old", target)
        await client.set("copilot:{way}:new", b"there")
        pipeline = client.pipeline(transaction=False)
        for name in ("old", "new", "none"):
            pipeline.get(f"copilot:{{way}}:{name}")
        pipeline.get("copilot:{other}")
        assert await pipeline.execute() == [b"here", b"there", None, None]
        cluster.end_move("copilot:{way}:old", source, target)
        assert await late.get("copilot:{way}:new") == b"there"
        pipeline = later.pipeline(transaction=False)
        for name in ("{way}:new", "{other}"):
            pipeline.get(f"copilot:{name}")
        assert await pipeline.execute() == [b"there", None]
        transaction = client.pipeline()
        transaction.append("copilot:{way}:old", b"!")
        transaction.get("copilot:{way}:old")
        assert await transaction.execute() == [5, b"here!"]


async def test_a_node_that_a_slot_goes_to_and_that_is_away_is_the_fault_of_its_commands_alone(
    cluster: RedisCluster,
) -> None:
    async with connected(cluster) as client:
        source = cluster.owner("copilot:{way}:new")
        target = next(node for node in cluster.masters if node != source)
        stays = next(f"copilot:{{{n}}}" for n in range(100) if cluster.owner(f"copilot:{{{n}}}") == source)
        await client.set(stays, b"1")
        cluster.begin_move("copilot:{way}:new", target)
        target.kill()
        pipeline = client.pipeline(transaction=False)
        pipeline.get("copilot:{way}:new")
        pipeline.get(stays)
        away, found = await pipeline.execute(raise_on_error=False)
        assert isinstance(away, RedisConnectionError)
        assert found == b"1"


async def test_what_is_in_other_slots_does_not_mind_a_dead_master(cluster: RedisCluster) -> None:
    """Until the Cluster itself stops; and connections to the others stay."""
    async with connected(cluster) as client:
        keys = [f"copilot:{{{number}}}" for number in range(30)]
        for key in keys:
            await client.set(key, b"1")
        victim = cluster.owner(keys[0])
        lost = {key for key in keys if cluster.owner(key) == victim}
        victim.kill()
        pipeline = client.pipeline(transaction=False)
        for key in keys:
            pipeline.get(key)
        found = dict(zip(keys, await pipeline.execute(raise_on_error=False), strict=True))
        assert {key for key, value in found.items() if isinstance(value, RedisConnectionError)} == lost
        assert {value for key, value in found.items() if key not in lost} == {b"1"}

        async def followed() -> bool:
            """What was just written the new master need not have: replicas get it later than whoever wrote it."""
            try:
                return all([await client.set(key, b"2") for key in keys])
            except RedisError:
                return False

        await eventually(followed, seconds=20, what="the new master")
        assert {await client.get(key) for key in keys} == {b"2"}


async def test_a_seed_that_is_silent_costs_no_caller_its_time(
    cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of the URL accepts connections and says nothing: who asks gives up sooner than it, and is answered all
    the same at another try."""
    monkeypatch.setattr("random.shuffle", lambda _: None)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = connect_redis(f"redis+cluster://127.0.0.1:{silent.getsockname()[1]},{cluster.hosts}")

        async def answered() -> bool:
            try:
                async with asyncio.timeout(0.1):
                    return bool(await client.ping())
            except TimeoutError:
                return False

        await eventually(answered)
        await client.aclose()


async def test_whoever_follows_a_run_is_nudged_through_any_node(cluster: RedisCluster) -> None:
    run = new_id()
    async with connected(cluster) as near, connected(cluster) as far:
        nudger, listener = Nudger(near), NudgeListener(far)
        await nudger.start()
        await listener.start()

        async def nudged() -> bool:
            nudger(run)
            await asyncio.sleep(0.1)
            return is_nudged.is_set()

        with listener.watch(run) as is_nudged:
            await eventually(nudged)
        await listener.stop()
        await nudger.stop()


async def test_the_doctor_looks_at_a_cluster(cluster: RedisCluster) -> None:
    checks = await check_redis(f"redis+cluster://{cluster.hosts}")
    assert [check.status for check in checks] == ["ok", "ok"]
    assert cluster.hosts.replace(",", ", ") in checks[0].finding


async def test_writes_of_other_tenants_are_published_while_a_master_hangs(cluster: RedisCluster) -> None:
    """And one of whom it has the watermark is owed."""
    tenants = [TenantId(new_id()) for _ in range(30)]
    owners = {tenant: cluster.owner(f"copilot:{{{tenant}}}:lsn") for tenant in tenants}
    stuck = tenants[0]
    others = [tenant for tenant in tenants if owners[tenant] != owners[stuck]]
    async with connected(cluster) as near, connected(cluster) as far:
        here, elsewhere = Watermarks(near), Watermarks(far)
        for tenant in tenants:
            await make_watermark(elsewhere, tenant)
            assert await here.find(tenant) == 1
        with owners[stuck].frozen():
            await here.publish(stuck, Lsn(2))
            for tenant in others[:3]:
                await here.publish(tenant, Lsn(2))
                assert await elsewhere.find(tenant) == 2
            assert await here.find(stuck) == NoWatermark("unpublished")
        await here.aclose()


async def make_watermark(marks: Watermarks, tenant: TenantId) -> None:
    async def is_made() -> bool:
        found = await marks.find(tenant)
        if isinstance(found, NoWatermark) and found.token:
            await marks.set(tenant, found.token, Lsn(1))
        return found == 1

    await eventually(is_made)


@asynccontextmanager
async def connected(cluster: RedisCluster) -> AsyncIterator[Redis]:
    client = connect_redis(f"redis+cluster://{cluster.hosts}")
    try:
        yield client
    finally:
        await client.aclose()


async def promoted(cluster: RedisCluster, victim: RedisServer) -> RedisServer:
    """The replica that has taken the place of the master that is dead."""

    async def found() -> RedisServer | None:
        owner = cluster.owner(_QUEUE_KEYS[WORKFLOW_QUEUE])
        return owner if owner != victim and cluster.is_whole() else None

    master = await eventually(found, seconds=20, what="a new master")
    assert isinstance(master, RedisServer)
    return master
