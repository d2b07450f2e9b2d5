"""Redis over TLS: verified against a certificate authority of one's own, and refused where it is another's."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
from redis.asyncio import Connection, Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from copilot_cli.checks.redis import check_redis
from copilot_common.platform.redis import REDIS_TIMEOUT_SECONDS, KeyPools, connect_redis, name_fault
from copilot_common.platform.redis.cluster import ClusterRedis
from copilot_common.platform.redis.owners import Owners
from copilot_common.platform.redis.pools import OwnerPool, WatchedTlsConnection
from copilot_common.platform.redis_url import Address
from copilot_common.platform.tasks import end_tasks
from copilot_common.queue.arq_adapter import ArqLine
from copilot_common.queue.jobs import WORKFLOW_QUEUE
from support.api import Site, StartApi, make_site, start_api
from support.clients import Client, eventually
from support.redis_servers import (
    SERVICE,
    Certificates,
    RedisServer,
    RedisServers,
    make_certificates,
    make_cluster,
    make_watched_master,
    redis_servers,
    wait_ready,
)
from support.redis_traffic import felt
from support.simulator import SimulatorHandle
from support.stack import StackUrls, clone_template, drop

__all__ = ["start_api"]

LOCAL = "Rate limits are local: Redis is away"
_PASSWORD = "password-of-redis-and-its-sentinels"


@pytest.fixture(scope="module")
def servers() -> Iterator[RedisServers]:
    with redis_servers() as started:
        yield started


@pytest.fixture(scope="module")
def certificates(servers: RedisServers) -> Certificates:
    return make_certificates(servers)


@pytest.fixture(scope="module")
def server(servers: RedisServers, certificates: Certificates) -> RedisServer:
    started = servers.start(tls=certificates)
    wait_ready(started)
    return started


@pytest.fixture
def site(stack: StackUrls, simulator: SimulatorHandle, server: RedisServer) -> Iterator[Site]:
    database = clone_template(stack.admin_url)
    yield make_site(database, f"rediss://127.0.0.1:{server.port}", simulator)
    drop(database, stack.admin_url)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Redis]:
    client = connect_redis(url)
    try:
        yield client
    finally:
        await client.aclose()


async def patiently(call: Callable[[], Awaitable[object]]) -> object:
    """Half a second may be too little on a busy machine; what goes wrong for long is not that."""
    for _ in range(20):
        try:
            return await call()
        except (RedisError, TimeoutError):
            await asyncio.sleep(0.2)
    return await call()


async def test_a_service_trusts_its_authority_and_says_why_it_does_not_trust_another(
    site: Site, servers: RedisServers, certificates: Certificates, start_api: StartApi
) -> None:
    other = make_certificates(servers).authority
    right, wrong = (
        start_api(site.environ(redis_url=f"{site.redis_url}?ssl_ca_certs={authority}"))
        for authority in (certificates.authority, other)
    )
    async with right.client(site.acme) as client, wrong.client(site.acme) as without:
        await eventually(lambda: cache_is("healthy", client))
        assert await cache_is("degraded", without)
        for each in (client, without):
            await each.get("/models")  # limits are local, and it serves
    assert not [fault for fault in felt(right, LOCAL) if fault.startswith("SSL")]
    assert any(fault.startswith("SSLCertVerificationError: ") for fault in felt(wrong, LOCAL))


async def cache_is(state: str, client: Client) -> bool:
    return bool((await client.http.get("/health")).json()["components"]["cache"] == state)


async def test_doorbells_ring_over_tls(server: RedisServer, certificates: Certificates) -> None:
    line = ArqLine(f"rediss://127.0.0.1:{server.port}?ssl_ca_certs={certificates.authority}")
    rung = asyncio.Event()
    listening = asyncio.create_task(
        line.listen(WORKFLOW_QUEUE, on_ring=rung.set, on_connection=lambda is_connected: None)
    )
    await patiently(lambda: line.ring(WORKFLOW_QUEUE))
    async with asyncio.timeout(10):
        await rung.wait()
    await end_tasks([listening])
    await line.aclose()


async def test_a_certificate_for_another_host_is_refused_unless_names_are_not_checked(servers: RedisServers) -> None:
    certificates = make_certificates(servers, name="192.0.2.1")
    started = servers.start(tls=certificates)
    wait_ready(started)
    url = f"rediss://127.0.0.1:{started.port}?ssl_ca_certs={certificates.authority}"
    async with connected(url) as client, connected(f"{url}&ssl_check_hostname=false") as lenient:

        async def reason() -> bool:
            with pytest.raises(RedisError) as refused:
                await client.ping()
            return "IP address mismatch" in name_fault(refused.value)

        await eventually(reason)
        assert await patiently(lenient.ping)


async def test_the_doctor_names_the_reason(server: RedisServer) -> None:
    async def named() -> bool:
        (check,) = await check_redis(f"rediss://127.0.0.1:{server.port}")
        return "SSLCertVerificationError" in check.finding

    await eventually(named)


async def test_a_cluster_is_reached_over_tls(servers: RedisServers, certificates: Certificates) -> None:
    cluster = make_cluster(servers, tls=certificates)
    async with connected(f"rediss+cluster://{cluster.hosts}?ssl_ca_certs={certificates.authority}") as client:
        assert await patiently(client.ping)
        pipeline = client.pipeline(transaction=False)
        for number in range(20):
            pipeline.set(f"copilot:{{{number}}}", number)
            pipeline.get(f"copilot:{{{number}}}")
        assert await pipeline.execute() == [answer for number in range(20) for answer in (True, b"%d" % number)]
        assert isinstance(client, ClusterRedis)
        with cluster.masters[0].frozen():
            await client.aclose()
        pools = [client.connection_pool, *(each.connection_pool for each in client._masters.values())]
        assert len(pools) == 4
        assert not any(connection.is_connected for pool in pools for connection in pool._available_connections)
    async with connected(f"rediss+cluster://{cluster.hosts}") as stranger:
        with pytest.raises(RedisConnectionError):
            await stranger.get("copilot:{1}")


async def test_a_server_that_hangs_does_not_keep_a_client_from_closing_all_it_has(
    servers: RedisServers, certificates: Certificates
) -> None:
    started = servers.start(tls=certificates)
    wait_ready(started)
    url = f"rediss://127.0.0.1:{started.port}?ssl_ca_certs={certificates.authority}"
    client, line, pools = connect_redis(url), ArqLine(url), KeyPools(url, max_connections=2, socket_timeout=5)
    await patiently(lambda: line.ring(WORKFLOW_QUEUE))
    taken = [await patiently(pool.get_connection) for pool in (pools.of("a"), client.connection_pool)]
    with started.frozen():
        await line.aclose()
        await pools.aclose()
        await client.aclose()
    assert not any(cast(Connection, connection).is_connected for connection in taken)


async def test_connections_to_a_former_master_that_hangs_cost_no_caller_its_time(
    servers: RedisServers, certificates: Certificates
) -> None:
    former, next_one = (servers.start(tls=certificates) for _ in range(2))
    wait_ready(former, next_one)
    owners = Chosen(former.address)
    pool = OwnerPool(owners, 0, connection_class=WatchedTlsConnection, ssl_ca_certs=str(certificates.authority))
    client = Redis.from_pool(pool)
    idle = [cast(Connection, await patiently(pool.get_connection)) for _ in range(10)]
    for connection in idle:
        connection.socket_connect_timeout = REDIS_TIMEOUT_SECONDS
        await pool.release(connection)
    with former.frozen():
        owners.master = next_one.address
        async with asyncio.timeout(len(idle) * REDIS_TIMEOUT_SECONDS / 2):
            assert all(await asyncio.gather(*(client.ping() for _ in idle)))
        await client.aclose()


class Chosen(Owners):
    """By the test."""

    def __init__(self, master: Address) -> None:
        super().__init__()
        self.master = master

    @property
    def masters(self) -> frozenset[Address]:
        return frozenset([self.master])

    def _find(self, slot: int) -> Address:
        return self.master

    async def _ask(self) -> None:
        """It is known."""


async def test_a_master_that_hangs_over_tls_is_left_for_the_one_that_sentinels_name(
    servers: RedisServers, certificates: Certificates
) -> None:
    watched = make_watched_master(servers, password=_PASSWORD, tls=certificates)
    options = f"ssl_ca_certs={certificates.authority}&sentinel_password={_PASSWORD}"
    url = f"rediss+sentinel://:{_PASSWORD}@{watched.hosts}/{SERVICE}?{options}"
    async with connected(url) as client:
        await patiently(lambda: asyncio.gather(*(client.set("who", "was") for _ in range(5))))
        with watched.master.frozen():

            async def followed() -> bool:
                try:
                    async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                        await client.set("who", "is")
                except (RedisError, TimeoutError):
                    return False
                return True

            await eventually(followed, seconds=20, what="a new master")
            with watched.replica.client() as direct:
                assert direct.get("who") == "is"
